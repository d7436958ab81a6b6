"""Whether the simulation tells what happens: the same arrivals on the virtual clock and over real gRPC."""

from __future__ import annotations

from typing import NamedTuple

from harness import table
from perfkit.lab.virtual import run_virtual
from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.plan import EmulatorPlan
from perfkit.vertex.google import GoogleTransport
from perfkit.vertex.protocols import Transport
from perfkit.vertex.settings import VertexSettings
from vertex_questions.arrivals import GENERATED, Arrivals, named, stand_ins
from vertex_questions.played import play
from vertex_questions.served import emulator
from vertex_questions.service import serving
from vertex_questions.texts import Writer

__all__ = ["agree"]

SPAN_S = 20.0
WITHIN = 0.1
PLAN = EmulatorPlan(latency="study", requests_per_minute=1_500, vectors="cheap", seed=1)
SETTINGS = VertexSettings(requests_per_minute=1_500)


class Found(NamedTuple):
    """What came of the arrivals."""

    requests: float
    p50_ms: float
    p95_ms: float


async def agree(_rounds: int) -> str:
    """Play 20 s of busy conversations through the shipping service, simulated and measured."""
    found = named("conv")
    arrivals = (found or stand_ins()[0]).faster(20).head(SPAN_S)
    simulated = run_virtual(_played(arrivals, EmulatedVertex(PLAN)))
    async with emulator(PLAN) as served:
        transport = GoogleTransport("local", "us-central1", endpoint=served.grpc)
        await transport.warm()
        measured = await _played(arrivals, transport)
    rows = []
    for what, one, other in zip(("requests", "p50 ms", "p95 ms"), simulated, measured, strict=True):
        apart = other / one - 1
        judged = what != "p50 ms"
        rows.append(
            [
                what,
                f"{one:,.0f}",
                f"{other:,.0f}",
                f"{100 * apart:+.1f} %",
                f"± {100 * WITHIN:.0f} %" if judged else "",
                ("yes" if abs(apart) <= WITHIN else "**no**") if judged else "",
            ]
        )
    what = f"{arrivals.name}, {len(arrivals):,} texts in {SPAN_S:g} s"
    shown = table([what, "simulated", "measured", "measured − simulated", "target", "met"], rows)
    return "\n\n".join([shown, *([] if found else [GENERATED])])


async def _played(arrivals: Arrivals, transport: Transport) -> Found:
    writer = Writer(EmulatedVertex(PLAN).tokens_of)
    async with serving(transport, SETTINGS) as serves:
        outcome = await play(arrivals, serves.embed, writer, deadline_s=30)
        stats = await serves.service.get_batch_stats()
    p50_ms, p95_ms, _p99_ms = outcome.percentiles()
    return Found(stats.requests, p50_ms, p95_ms)
