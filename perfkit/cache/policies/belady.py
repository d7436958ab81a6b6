"""Belady's clairvoyant policy: the bound that no policy with one eye on the past can beat.

How it works
------------
When room is needed, the object whose next use is farthest in the future leaves [1]. Among policies that
must take in what they fetched this is optimal for objects of one size [2], so the gap to it is what any
other policy still leaves on the table. It needs the whole future, hence a function over a trace and not an
`EvictionPolicy`.

A heap holds (−next use, object). An object that is used again gets a new pair and its old one is left to be
skipped: it no longer agrees with the object's known next use.

[1] L. A. Belady: A study of replacement algorithms for a virtual-storage computer.
    IBM Systems Journal 5(2), 1966.
[2] R. L. Mattson, J. Gecsei, D. R. Slutz, I. L. Traiger: Evaluation techniques for storage hierarchies.
    IBM Systems Journal 9(2), 1970.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["belady_miss_ratio"]

ObjectT = TypeVar("ObjectT", int, str)


def belady_miss_ratio(objects: Sequence[ObjectT], max_entries: int) -> float:
    """Return the smallest share of misses a cache of `max_entries` can have over these requests.

    >>> belady_miss_ratio([1, 2, 3, 1, 2, 3], max_entries=2)  # LRU would miss all six
    0.6666666666666666
    """
    next_use = _next_uses(objects)
    resident: dict[ObjectT, int] = {}
    by_next_use: list[tuple[int, int]] = []
    misses = 0
    for now, item in enumerate(objects):
        if item not in resident:
            misses += 1
            if len(resident) >= max_entries:
                _evict_farthest(resident, by_next_use, objects)
        resident[item] = next_use[now]
        heapq.heappush(by_next_use, (-next_use[now], now))
    return misses / len(objects) if objects else 0.0


def _evict_farthest(
    resident: dict[ObjectT, int], by_next_use: list[tuple[int, int]], objects: Sequence[ObjectT]
) -> None:
    while True:
        minus_next_use, used_at = heapq.heappop(by_next_use)
        if resident.get(objects[used_at]) == -minus_next_use:
            del resident[objects[used_at]]
            return


def _next_uses(objects: Sequence[ObjectT]) -> list[int]:
    """Return for each request when its object is asked for again; the trace's length for never."""
    never = len(objects)
    seen: dict[ObjectT, int] = {}
    uses = [never] * never
    for now in range(never - 1, -1, -1):
        uses[now] = seen.get(objects[now], never)
        seen[objects[now]] = now
    return uses
