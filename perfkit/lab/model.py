"""The exact hit ratios of a two-tier cache for every size and TTL, in one pass over a workload.

One tier
--------
With LRU, an object asked for again is still there when the number of different objects asked for since (its
*stack distance*) is at most the size [1]. Distances are computed once, for all sizes.

Time to live
------------
Expiry is lazy: an expired entry keeps its place in the order and is filled again there. So whether an object
is *present* does not depend on the TTL, and each object's requests fall into stretches of presence. Within a
stretch the entry is filled at the first request, then at the first request more than one TTL after that, and
so on. From any request the next such jump is the same whatever the size; it is looked up once per TTL,
and all stretches are followed side by side.

Two tiers
---------
Memory never keeps an entry longer than Redis has it fresh, so the origin is asked at the first request more
than `l2_ttl` after the last time it was: jumps again, the same whatever memory does. Each of them also begins
a new stretch for memory.

Exact, and tested so request by request, for one instance with policy `lru`, a Redis that never evicts, and
answers that take no time. Requests in flight at the same moment are the difference that remains.

[1] Mattson, Gecsei, Slutz, Traiger, *Evaluation techniques for storage hierarchies*, 1970.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from perfkit.lab.scenario import World
from perfkit.lab.workload import Workload

__all__ = ["CacheModel", "Cell", "stack_distances"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_TICK_S = 1e-6
"""Times are compared in whole microseconds, so that no sum of floats decides what has expired."""

_KEPT_TTLS = 16
_BLOCK = 32
_AGE_SAMPLE = 8
"""Ages are read off the requests of one object in eight."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting of the modelled knobs."""

    max_entries: int
    l1_ttl_seconds: float
    l2_ttl_seconds: float


class CacheModel:
    """A workload prepared for modelling: stack distances and each object's requests side by side."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        order = np.argsort(workload.objects, kind="stable")
        objects = workload.objects[order]
        self._order = order
        self._ticks = np.rint(workload.times_s[order] / _TICK_S).astype(np.int64)
        self._span = int(self._ticks.max(initial=0)) + 1
        self._distances = stack_distances(workload.objects)[order]
        self._new_object = np.ones(len(order), dtype=bool)
        self._new_object[1:] = objects[1:] != objects[:-1]
        self._objects = objects
        self._first_expired = lru_cache(_KEPT_TTLS)(self._find_first_expired)

    def reads(self, cell: Cell) -> Mask:
        """Tell of each request, in the order they came, whether Redis was read for it."""
        return self._in_time_order(self._filled(cell.max_entries, cell.l1_ttl_seconds, self._asked(cell)))

    def loads(self, cell: Cell) -> Mask:
        """Tell of each request, in the order they came, whether the origin was asked for it."""
        return self._in_time_order(self._asked(cell))

    def grid(
        self, cells: Sequence[tuple[int, float, float]], *, start: int, world: World
    ) -> list[dict[str, float]]:
        """Return every cell's metrics over the requests from `start` on, warmed by those before."""
        by_l2: dict[float, tuple[Mask, float]] = {}
        counted = self._order >= start
        n = int(counted.sum())
        metrics = []
        for max_entries, l1_ttl, l2_ttl in cells:
            if l2_ttl not in by_l2:
                asked = self._jumps(self._new_object, l2_ttl)
                by_l2[l2_ttl] = asked, self._age_p95(asked, counted)
            asked, age_p95 = by_l2[l2_ttl]
            filled = self._filled(max_entries, l1_ttl, asked)
            loads, reads = int((asked & counted).sum()) / n, int((filled & counted).sum()) / n
            call_ms = world.origin_ms * math.exp(world.origin_sigma**2 / 2) + world.round_trip_ms
            metrics.append(
                {
                    "response_mean_ms": reads * world.round_trip_ms + loads * call_ms,
                    "origin_calls_per_request": loads,
                    "redis_reads_per_request": reads,
                    "hit_ratio": 1 - loads,
                    "l1_hit_ratio": 1 - reads,
                    "age_p95_seconds": age_p95,
                    "l1_age_p95_seconds": self._age_p95(filled, counted),
                    "l1_peak_bytes": self._bytes_bound(max_entries),
                }
            )
        return metrics

    def surface(
        self, sizes: Sequence[int], l1_ttls: Sequence[float], l2_ttl: float = math.inf, *, start: int = 0
    ) -> Floats:
        """Return the memory hit ratio of every size (rows) and TTL (columns)."""
        counted = self._order >= start
        n = int(counted.sum())
        asked = self._jumps(self._new_object, l2_ttl)
        ratios = np.empty((len(sizes), len(l1_ttls)))
        for row, size in enumerate(sizes):
            stretches = self._new_object | (self._distances > size) | asked
            begins = int(np.count_nonzero(stretches & counted))
            for column, ttl in enumerate(l1_ttls):
                later = sum(int(np.count_nonzero(counted[at])) for at in self._later_fills(stretches, ttl))
                ratios[row, column] = 1 - (begins + later) / n
        return ratios

    def _asked(self, cell: Cell) -> Mask:
        return self._jumps(self._new_object, cell.l2_ttl_seconds)

    def _filled(self, max_entries: int, l1_ttl: float, asked: Mask) -> Mask:
        return self._jumps(self._new_object | (self._distances > max_entries) | asked, l1_ttl)

    def _jumps(self, stretches: Mask, ttl: float) -> Mask:
        """Mark each stretch's first request, then every first one more than a TTL after the last marked."""
        marked = stretches.copy()
        for fills in self._later_fills(stretches, ttl):
            marked[fills] = True
        return marked

    def _later_fills(self, stretches: Mask, ttl: float) -> Iterator[Ints]:
        """Yield the second fill of every stretch that has one, then the third, and so on."""
        if not math.isfinite(ttl):
            return
        expired = self._first_expired(round(ttl / _TICK_S))
        current = np.flatnonzero(stretches)
        ends = np.append(current[1:], len(stretches))
        while len(current):
            following = expired[current]
            within = following < ends
            current, ends = following[within], ends[within]
            yield current

    def _find_first_expired(self, reach: int) -> Ints:
        """Each request's first later one of the same object that is more than `reach` ticks away.

        All requests lie on one line, each object farther from the next than any TTL reaches, so that one
        binary search serves every object at once. Where there is none, it is the next object's first.
        """
        line = (np.cumsum(self._new_object) - 1) * (2 * self._span) + self._ticks
        return np.searchsorted(line, line + min(reach, self._span), side="right")

    def _age_p95(self, born: Mask, counted: Mask) -> float:
        """The 95th percentile of the time since the last mark, over one object in eight."""
        since = np.maximum.accumulate(np.where(born, np.arange(len(born)), 0))
        sample = np.flatnonzero(counted & self._sampled)
        if not len(sample):
            sample = np.flatnonzero(counted)
        ages = self._ticks[sample] - self._ticks[since[sample]]
        return float(np.quantile(ages, 0.95)) * _TICK_S

    @cached_property
    def _sampled(self) -> Mask:
        mixed = self._objects.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        chosen: Mask = (mixed >> np.uint64(40)) % np.uint64(_AGE_SAMPLE) == 0
        return chosen

    def _bytes_bound(self, max_entries: int) -> float:
        """The entries that fit times the mean size of a request's object, at most all objects together."""
        return min(max_entries * self._mean_bytes, self._all_bytes)

    @cached_property
    def _mean_bytes(self) -> float:
        return float(self._workload.sizes.mean())

    @cached_property
    def _all_bytes(self) -> float:
        return float(self._workload.sizes[self._order][self._new_object].sum())

    def _in_time_order(self, mask: Mask) -> Mask:
        ordered = np.empty_like(mask)
        ordered[self._order] = mask
        return ordered


def stack_distances(objects: Ints) -> Ints:
    """Return each request's LRU stack distance: 1 for the object asked for last, n + 1 for a new one.

    The distance is what lies between a request and the object's previous one, less what in between was
    itself asked for twice: a count of inversions, made block by block with sorts instead of a tree, so that
    no step is taken in Python per request.

    >>> stack_distances(np.array([7, 8, 7, 7, 8])).tolist()
    [6, 6, 2, 1, 2]
    """
    n = len(objects)
    previous = _previous_requests(objects)
    again = np.flatnonzero(previous >= 0)
    before = previous[again]
    distances = np.full(n, n + 1, dtype=np.int64)
    distances[again] = again - before - _larger_before(before)
    return distances


def _previous_requests(objects: Ints) -> Ints:
    previous = np.full(len(objects), -1, dtype=np.int64)
    order = np.argsort(objects, kind="stable")
    same = objects[order][1:] == objects[order][:-1]
    previous[order[1:][same]] = order[:-1][same]
    return previous


def _larger_before(values: Ints) -> Ints:
    """Count for each value how many earlier ones are larger: within blocks, then block against block."""
    n = len(values)
    padding = -n % _BLOCK
    blocks = np.concatenate([values, np.full(padding, -1, dtype=np.int64)]).reshape(-1, _BLOCK)
    counts = np.zeros_like(blocks)
    for column in range(1, _BLOCK):
        counts[:, column] = (blocks[:, :column] > blocks[:, column : column + 1]).sum(axis=1)
    total = counts.reshape(-1)[:n].copy()
    span = int(values.max(initial=0)) + 2
    position = np.arange(n)
    width = _BLOCK
    while width < n:
        pair = position // (2 * width)
        left = (position // width) % 2 == 0
        sorted_left = np.sort(pair[left] * span + values[left], kind="stable")
        right = ~left
        upper_end = np.searchsorted(sorted_left, (pair[right] + 1) * span)
        not_larger = np.searchsorted(sorted_left, pair[right] * span + values[right], side="right")
        total[right] += upper_end - not_larger
        width *= 2
    return total
