"""A workload replayed through the shipping memory tier, request by request, with no time in flight.

Slower than `perfkit.lab.model` by an order of magnitude and as exact; it serves every eviction policy and
the byte limit, where the model knows only LRU counted in entries. The second tier is a plain table of
expiry times: a Redis that never evicts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perfkit.cache import MemoryTier
from perfkit.cache.freshness import jittered_seconds
from perfkit.cache.keys import namespace_prefix
from perfkit.cache.settings import CacheSettings
from perfkit.lab.workload import Workload

__all__ = ["replay"]


def replay(
    settings: CacheSettings,
    workload: Workload,
    *,
    counted: Sequence[range] | None = None,
    dealt: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    """Return `hit_ratio` and `l1_hit_ratio` over stretches of requests (default: all), warmed by the rest.

    `dealt` says which instance each request goes to; each has a memory of its own.
    """
    counted = [range(len(workload))] if counted is None else counted
    counts = np.zeros(max(stretch.stop for stretch in counted), dtype=bool)
    for stretch in counted:
        counts[stretch.start : stretch.stop] = True
    stop = len(counts)
    now = 0.0
    at = [0] * stop if dealt is None else dealt[:stop].tolist()
    memories = [
        MemoryTier(
            max_entries=settings.l1_max_entries,
            max_bytes=settings.l1_max_bytes,
            policy=settings.l1_policy,
            clock=lambda: now,
            weigh=_its_own_size,
        )
        for _ in range(max(at, default=0) + 1)
    ]
    jitter, prefix = settings.ttl_jitter, namespace_prefix("")
    l2_until: dict[int, float] = {}
    keys = workload.keys
    rows = zip(
        workload.times_s[:stop].tolist(),
        workload.objects[:stop].tolist(),
        workload.sizes[:stop].tolist(),
        strict=True,
    )
    reads = loads = 0
    for index, (now, number, size) in enumerate(rows):  # the tier's clock reads `now`
        key, memory = prefix + keys[number], memories[at[index]]
        if memory.get(key, now) is not None:
            continue
        until = l2_until.get(number, -1.0)
        loaded = now > until
        if loaded:
            ttl = jittered_seconds(settings.l2_ttl_seconds, key, jitter, "l2")
            until = l2_until[number] = now + ttl
        ttl = jittered_seconds(settings.l1_ttl_seconds, key, jitter, "l1")
        memory.set(key, size, ttl_seconds=min(ttl, until - now))
        if counts[index]:
            reads += 1
            loads += loaded
    n = int(counts.sum())
    return {"hit_ratio": 1 - loads / n, "l1_hit_ratio": 1 - reads / n}


def _its_own_size(value: object) -> int:
    """The replay stores an object's size in place of its value."""
    assert isinstance(value, int)  # noqa: S101  # for the type checker
    return value
