"""1,500 requests a minute and a deadline of 5 s: who keeps both, and how late texts are then.

The shipping service and the peers' ways (`peers.py`) send to the same emulator on the virtual clock: 60 ms
with a spread of 0.25 and 0.8 ms a text (the preset `study`), 1,500 requests in each fixed minute, which
begins at a moment nobody was told.
"""

from __future__ import annotations

from typing import NamedTuple

from harness import table
from perfkit.lab.virtual import run_virtual
from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.plan import EmulatorPlan
from vertex_questions.arrivals import GENERATED, Arrivals, named, recorded, stand_ins
from vertex_questions.played import play
from vertex_questions.shares import in_processes
from vertex_questions.texts import Writer
from vertex_questions.ways import DEADLINE_S, NEVER_FAILS, OURS, PER_MINUTE, absent_ways, ways

__all__ = ["kept"]

PLAN = EmulatorPlan(latency="study", requests_per_minute=PER_MINUTE, vectors="cheap", seed=1)
NEAR = 1.05
STUDIED = (
    ("conv", 1, 1, 91.0),
    ("conv", 20, 1, 119.0),
    ("conv", 80, 8, 132.0),
    ("code", 20, 1, 102.0),
    ("code", 80, 8, 107.0),
)
"""Trace, speed, by what its tokens are divided, and the p95 in ms of the study the policy came from."""


class Found(NamedTuple):
    """What came of one way to send."""

    requests: int
    refused: int
    in_time: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


async def kept(_rounds: int) -> str:
    """Play each case in each way, each in an emulator of its own."""
    cases, said = _cases()
    names = list(ways())
    jobs = [(arrivals, name) for arrivals, _figure in cases for name in names]
    found = iter(in_processes(_sent, jobs))
    parts = [
        _table(arrivals, figure_ms, {name: next(found) for name in names}) for arrivals, figure_ms in cases
    ]
    notes = [
        "Simulated; percentiles are of the texts that came in time. The peers' ways are imitations, as "
        "`benchmarks/vertex_questions/peers.py` says.",
        *absent_ways(),
        *said,
    ]
    return "\n\n".join([*parts, "\n".join(notes)])


def _cases() -> tuple[list[tuple[Arrivals, float | None]], list[str]]:
    cases: list[tuple[Arrivals, float | None]] = []
    for word, speed, tokens_by, figure_ms in STUDIED:
        if (found := named(word)) is not None:
            cases.append((found.faster(speed, tokens_by=tokens_by), figure_ms))
    if cases:
        return cases, []
    others = list(recorded())
    return [(trace, None) for trace in others or [found.faster(20) for found in stand_ins()]], (
        [] if others else [GENERATED]
    )


def _sent(arrivals: Arrivals, name: str) -> Found:
    return run_virtual(_sending(arrivals, name))


async def _sending(arrivals: Arrivals, name: str) -> Found:
    vertex = EmulatedVertex(PLAN)
    async with ways()[name](vertex) as embed:
        outcome = await play(arrivals, embed, Writer(vertex.tokens_of), deadline_s=DEADLINE_S)
    counts = vertex.counts
    refused = vertex.counts.refused.get("RESOURCE_EXHAUSTED", 0)
    return Found(counts.requests, refused, outcome.in_time, *outcome.percentiles())


def _table(arrivals: Arrivals, figure_ms: float | None, found: dict[str, Found]) -> str:
    bound_ms = found[NEVER_FAILS].p95_ms
    if figure_ms is not None:
        bound_ms = min(bound_ms, NEAR * figure_ms)
    rows = []
    for name, way in found.items():
        target = met = ""
        if name == OURS:
            target = f"0, 100 %, p95 ≤ {bound_ms:.0f}"
            kept_all = way.refused == 0 and way.in_time == 1 and way.p95_ms <= bound_ms
            met = "yes" if kept_all else "**no**"
        rows.append(
            [
                name,
                f"{way.requests:,}",
                f"{way.refused:,}",
                f"{100 * way.in_time:.1f} %".replace("100.0", "100"),
                *(f"{ms:.0f}" for ms in (way.p50_ms, way.p95_ms, way.p99_ms)),
                target,
                met,
            ]
        )
    what = f"{arrivals.name}, {len(arrivals):,} texts, {arrivals.rate_per_s:,.1f}/s"
    header = [what, "requests", "refused (429)", f"within {DEADLINE_S:g} s", "p50 ms", "p95 ms", "p99 ms"]
    return table([*header, "target", "met"], rows)
