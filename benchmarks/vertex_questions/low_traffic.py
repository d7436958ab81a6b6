"""What batching costs when there is nothing to batch: 5.5 texts a second, each by itself."""

from __future__ import annotations

from harness import table
from perfkit.lab.virtual import run_virtual
from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.plan import EmulatorPlan
from perfkit.vertex.settings import VertexSettings
from perfkit.vertex.stats import BatchStats
from vertex_questions.arrivals import GENERATED, Arrivals, named, stand_ins
from vertex_questions.played import play
from vertex_questions.service import serving
from vertex_questions.texts import Writer

__all__ = ["untaxed"]

SPAN_S = 600.0
AT_MOST_MS = 1.0
PLAN = EmulatorPlan(latency="study", requests_per_minute=1_500, vectors="cheap", seed=1)
OURS = "adaptive"
ARMS = {
    OURS: VertexSettings(),
    "adaptive, a request worth 100 ms": VertexSettings(request_worth_ms=100),
    "fixed, 10 ms": VertexSettings(batch_policy="fixed", batch_window_ms=10),
    "off": VertexSettings(batch_policy="off"),
}


async def untaxed(_rounds: int) -> str:
    """Play ten minutes of conversations as they were recorded, and look at what was added to each text."""
    found = named("conv")
    arrivals = (found or stand_ins()[0]).head(SPAN_S)
    rows = []
    for name, settings in ARMS.items():
        stats = run_virtual(_served(arrivals, settings))
        added = stats.added_wait_ms
        ours = name == OURS
        rows.append(
            [
                name,
                f"{stats.requests / stats.texts:.3f}",
                *(f"{ms:.2f}" for ms in (added.p50, added.p95, added.p99)),
                f"p95 ≤ {AT_MOST_MS:g} ms" if ours else "",
                ("yes" if added.p95 <= AT_MOST_MS else "**no**") if ours else "",
            ]
        )
    what = f"simulated: {len(arrivals):,} texts, {arrivals.rate_per_s:.1f}/s"
    header = [what, "requests a text", "added wait, p50 ms", "p95 ms", "p99 ms", "target", "met"]
    return "\n\n".join([table(header, rows), *([] if found else [GENERATED])])


async def _served(arrivals: Arrivals, settings: VertexSettings) -> BatchStats:
    vertex = EmulatedVertex(PLAN)
    async with serving(vertex, settings) as serves:
        await play(arrivals, serves.embed, Writer(vertex.counted), deadline_s=30)
        return await serves.service.get_batch_stats()
