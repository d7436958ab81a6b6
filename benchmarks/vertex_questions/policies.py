"""Waiting and requests together, against the best that could have been done by whoever knew every arrival.

The shipping policies decide on each arrival, without quota and without time in flight; the optimum is found
by dynamic programming over the same arrivals. A cost is what all texts waited, added up, and what a request
is worth for each request.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from harness import table
from perfkit.vertex.batching.adaptive import AdaptivePolicy
from perfkit.vertex.batching.fixed import AtOnce, FixedWindow
from perfkit.vertex.batching.greedy import Greedy
from perfkit.vertex.batching.offline import offline_optimum
from perfkit.vertex.batching.policy import BatchPolicy
from perfkit.vertex.batching.replay import replay
from vertex_questions.arrivals import Arrivals, rows_for_policies
from vertex_questions.shares import in_processes

__all__ = ["against_the_optimum"]

WORTH_S = (0.025, 0.1)
WINDOWS_MS = (5, 10, 25, 50, 100)
AT_MOST = 1.35
INDEPENDENT = (
    "They are independent of each other, so nobody can foresee more than their distribution: "
    f"{AT_MOST} times the optimum is a target for recorded arrivals alone."
)
MAX_TEXT_TOKENS = 2_048
POLICIES: dict[str, Callable[[float], BatchPolicy]] = {
    "0 ms": lambda _worth_s: AtOnce(),
    **{f"{ms} ms": lambda _worth_s, ms=ms: FixedWindow(ms / 1e3) for ms in WINDOWS_MS},
    "greedy": Greedy,
    "adaptive": AdaptivePolicy,
}


async def against_the_optimum(_rounds: int) -> str:
    """Replay each trace with each policy, for two worths of a request."""
    rows, said = rows_for_policies()
    cells = [(trace, worth_s) for trace in rows for worth_s in WORTH_S]
    lines, kept, worst = [], 0, 0.0
    for (trace, worth_s), ratios in zip(cells, in_processes(_ratios, cells), strict=True):
        best = min(ratio for name, ratio in ratios.items() if name.endswith(" ms"))
        bound, ours = min(best, math.inf if said else AT_MOST), ratios["adaptive"]
        met = ours <= bound
        kept += met
        worst = max(worst, ours)
        lines.append(
            [
                f"{trace.name}, {trace.rate_per_s:,.1f}/s, {worth_s * 1e3:g} ms",
                *(f"{ratio:.3f}" for ratio in ratios.values()),
                f"≤ {bound:.3f}",
                "yes" if met else "**no**",
            ]
        )
    beside = "" if said else f" and at most {AT_MOST} times the optimum"
    header = ["simulated: cost ÷ offline optimum", *POLICIES, "target", "met"]
    return "\n\n".join(
        part
        for part in (
            table(header, lines),
            f"The target, to be at most the best fixed window in hindsight{beside}, is met in {kept} of "
            f"{len(cells)} cells; the worst is {worst:.3f}. The milliseconds in the first column are what a "
            "saved request is worth of one text's waiting.",
            said and f"{said} {INDEPENDENT}",
        )
        if part
    )


def _ratios(trace: Arrivals, worth_s: float) -> dict[str, float]:
    tokens = [min(count, MAX_TEXT_TOKENS) for count in trace.tokens]
    optimum = offline_optimum(trace.times_s, tokens, worth_s=worth_s)
    return {
        name: replay(made(worth_s), trace.times_s, tokens).cost_s(worth_s) / optimum.cost_s
        for name, made in POLICIES.items()
    }
