"""The modelled surface of sizes and times to live, beside the replay of its cells."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from typing import TypeVar

from cache_questions.traffic import stand_in
from harness import table
from perfkit.cache.settings import CacheSettings
from perfkit.lab.model import CacheModel
from perfkit.lab.replay import replay

T = TypeVar("T")

SIZES = [round(100 * 2**step) for step in range(12)]
TTLS_S = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0]
L2_TTL_S = 7_200.0
REPLAYED_EVERY = 29


async def modelled(_rounds: int) -> str:
    """Model 144 cells at once, replay some of them one by one, and demand the same hits."""
    workload = stand_in()
    took, ratios = timed(
        lambda: CacheModel(workload).surface(SIZES, TTLS_S, L2_TTL_S, ttl_jitter=CacheSettings().ttl_jitter)
    )
    cells = list(itertools.product(range(len(SIZES)), range(len(TTLS_S))))[::REPLAYED_EVERY]
    replays, worst = [], 0.0
    for row, column in cells:
        settings = CacheSettings(
            l1_max_entries=SIZES[row],
            l1_ttl_seconds=TTLS_S[column],
            l2_ttl_seconds=L2_TTL_S,
            l1_policy="lru",
            l1_max_bytes=1 << 33,
        )
        seconds, found = timed(lambda settings=settings: replay(settings, workload))
        replays.append(seconds)
        worst = max(worst, abs(found["l1_hit_ratio"] - ratios[row, column]) * len(workload))
    whole = statistics.mean(replays) * len(SIZES) * len(TTLS_S)
    rows = [
        [f"modelled, all {len(SIZES) * len(TTLS_S)} cells at once", f"{took:.2f}"],
        [f"replayed cell by cell, from {len(cells)} of them", f"{whole:.1f}"],
        ["ratio", f"{whole / took:.0f}×"],
        ["largest difference, hits", f"{worst:.2f}"],
    ]
    return table([f"{len(workload):,} generated requests", "processor s"], rows)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the processor seconds of a piece of work, and what it returned."""
    start = time.process_time()
    outcome = work()
    return time.process_time() - start, outcome
