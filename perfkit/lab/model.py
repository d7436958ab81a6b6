"""The exact hit ratios of a two-tier cache for every size and TTL, in one pass over a workload.

One tier
--------
With LRU, an object asked for again is still there when the number of different objects asked for since (its
*stack distance*, `perfkit.lab.distances`) is at most the size. Distances are computed once, for all sizes.

Time to live
------------
Expiry is lazy: an expired entry keeps its place in the order and is filled again there. So whether an object
is *present* does not depend on the TTL, and each object's requests fall into stretches of presence, in which
it is filled again in jumps of a TTL (`perfkit.lab.expiry`). Jitter shortens a TTL by a fixed function of the
key, so each object jumps by a TTL of its own.

Two tiers
---------
Memory never keeps an entry longer than Redis has it fresh, so the origin is asked at the first request more
than `l2_ttl` after the last time it was: jumps again, the same whatever memory does. Each of them also begins
a new stretch for memory.

A fleet
-------
Instances share Redis, each with a memory of its own. The origin's jumps stay what they are: when an answer
ends in Redis it has ended in every memory, so the first request after that, wherever it is dealt, asks. Each
memory sees the requests dealt to it; an object at one instance is a line of its own, with its own distances,
and begins a new stretch with every answer that is born.

A sample
--------
Where only a share R of the objects is modelled, sizes shrink by R. The misses are then held against R times
*all* requests instead of those that were drawn: what a few very hot objects add or lack are hits, not misses
(SHARDS-adj; `perfkit.lab.shards`).

Exact, and tested so request by request, for policy `lru`, answers renewed only when they end, a Redis that
never evicts, and answers that take no time. Requests in flight at the same moment are the difference that
remains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from perfkit.cache.freshness import jittered_seconds
from perfkit.cache.keys import namespace_prefix
from perfkit.cache.settings import CacheSettings
from perfkit.lab.distances import stack_distances
from perfkit.lab.expiry import Lines, ticks
from perfkit.lab.scenario import World
from perfkit.lab.workload import Workload

__all__ = ["CacheModel", "Cell", "stack_distances"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_AGE_SAMPLE = 8
"""Ages are read off the requests of one object in eight."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting of the modelled knobs."""

    max_entries: int
    l1_ttl_seconds: float
    l2_ttl_seconds: float
    ttl_jitter: float = 0.0

    @classmethod
    def of(cls, cache: CacheSettings) -> Cell:
        """Return what the model looks at in a cache's settings."""
        return cls(cache.l1_max_entries, cache.l1_ttl_seconds, cache.l2_ttl_seconds, cache.ttl_jitter)


class CacheModel:
    """A workload prepared for modelling: stack distances and each object's requests side by side."""

    def __init__(
        self,
        workload: Workload,
        *,
        dealt: Ints | None = None,
        chosen: Ints | None = None,
        share: float = 1.0,
    ) -> None:
        """Prepare a workload.

        Args:
            workload: What is asked for.
            dealt: Which instance each request is dealt to; None for a single one.
            chosen: The requests that are modelled, every one for some objects; None for all.
            share: Which share of the workload's objects these are.
        """
        self._workload = workload
        self._share = share * workload.sample_share
        asked_for = workload.objects if chosen is None else workload.objects[chosen]
        order = np.argsort(asked_for, kind="stable")
        objects = asked_for[order]
        self._order = order if chosen is None else chosen[order]
        self._objects = Lines(ticks(workload.times_s[self._order]), _changes(objects))
        self._names = objects[self._objects.begins]
        if dealt is None:
            self._regroup = None
            self._places = self._objects
            self._distances = stack_distances(asked_for)[order]
        else:
            instances = dealt[self._order]
            # Stable by instance within each object: `_places` lines are an object at one instance.
            place = self._objects.number * (int(instances.max(initial=0)) + 1) + instances
            regroup = np.argsort(place, kind="stable")
            self._regroup = regroup
            self._places = Lines(self._objects.at[regroup], _changes(place[regroup]))
            self._distances = self._distances_at_instances(instances[regroup])
        self._shares: dict[str, Floats] = {}
        self._factors: dict[tuple[str, float], Floats] = {}

    def reads(self, cell: Cell) -> Mask:
        """Tell of each request, in the order they came, whether Redis was read for it."""
        filled = self._filled(cell, self._asked(cell))
        ordered = np.empty_like(filled)
        ordered[self._order_of_places] = filled
        return ordered

    def loads(self, cell: Cell) -> Mask:
        """Tell of each request, in the order they came, whether the origin was asked for it."""
        asked = self._asked(cell)
        ordered = np.empty_like(asked)
        ordered[self._order] = asked
        return ordered

    def grid(self, cells: Sequence[Cell], *, start: int, world: World) -> list[dict[str, float]]:
        """Return every cell's metrics over the requests from `start` on, warmed by those before."""
        by_l2: dict[tuple[float, float], tuple[Mask, float, float]] = {}
        counted = self._order >= start
        counted_places = self._order_of_places >= start
        n = self._stands_for(start)
        call_ms = world.origin_ms * math.exp(world.origin_sigma**2 / 2) + world.round_trip_ms
        metrics = []
        for cell in cells:
            l2 = cell.l2_ttl_seconds, cell.ttl_jitter
            if l2 not in by_l2:
                asked = self._asked(cell)
                age = self._age_p95(self._objects, asked, counted, self._sampled)
                by_l2[l2] = asked, int((asked & counted).sum()) / n, age
            asked, loads, age_p95 = by_l2[l2]
            filled = self._filled(cell, asked)
            reads = int((filled & counted_places).sum()) / n
            metrics.append(
                {
                    "response_mean_ms": reads * world.round_trip_ms + loads * call_ms,
                    "origin_calls_per_request": loads,
                    "redis_reads_per_request": reads,
                    "hit_ratio": 1 - loads,
                    "l1_hit_ratio": 1 - reads,
                    "age_p95_seconds": age_p95,
                    "l1_age_p95_seconds": self._age_p95(
                        self._places, filled, counted_places, self._sampled_places
                    ),
                    "l1_peak_bytes": self._bytes_bound(cell.max_entries),
                }
            )
        return metrics

    def surface(
        self,
        sizes: Sequence[int],
        l1_ttls: Sequence[float],
        l2_ttl: float = math.inf,
        *,
        ttl_jitter: float = 0.0,
        start: int = 0,
    ) -> Floats:
        """Return the memory hit ratio of every size (rows) and TTL (columns)."""
        counted = self._order_of_places >= start
        n = self._stands_for(start)
        asked = self._asked(Cell(1, 1.0, l2_ttl, ttl_jitter))
        factors = self._factors_of("l1", ttl_jitter)
        ratios = np.empty((len(sizes), len(l1_ttls)))
        for row, size in enumerate(sizes):
            stretches = self._stretches(size, asked)
            begins = int(np.count_nonzero(stretches & counted))
            for column, ttl in enumerate(l1_ttls):
                fills = self._places.later_fills(stretches, ttl, factors)
                later = sum(int(np.count_nonzero(counted[at])) for at in fills)
                ratios[row, column] = 1 - (begins + later) / n
        return ratios

    def _asked(self, cell: Cell) -> Mask:
        factors = self._factors_of("l2", cell.ttl_jitter)
        return self._objects.jumps(self._objects.begins, cell.l2_ttl_seconds, factors)

    def _filled(self, cell: Cell, asked: Mask) -> Mask:
        factors = self._factors_of("l1", cell.ttl_jitter)
        return self._places.jumps(self._stretches(cell.max_entries, asked), cell.l1_ttl_seconds, factors)

    def _stretches(self, max_entries: int, asked: Mask) -> Mask:
        """Mark where an object comes to an instance's memory anew: unknown, pushed out, or born anew."""
        anew = self._places.begins | (self._distances > max_entries * self._share)
        if self._regroup is None:
            return anew | asked
        births = np.cumsum(asked)[self._regroup]
        anew[1:] |= births[1:] != births[:-1]
        return anew

    def _stands_for(self, start: int) -> float:
        """How many requests the modelled ones stand for: a share of all, not those that were drawn."""
        counted = len(self._workload) - start
        if self._share == 1:
            return counted
        drawn_from = self._share / self._workload.sample_share
        total = self._workload.total_requests
        if total is None:
            return counted * drawn_from
        return counted / len(self._workload) * total * self._share

    def _distances_at_instances(self, instances: Ints) -> Ints:
        """Stack distances within each instance's own requests, all instances after one another."""
        apart = np.lexsort((self._order_of_places, instances))
        distances = np.empty(len(apart), dtype=np.int64)
        distances[apart] = stack_distances(self._places.number[apart])
        return distances

    @cached_property
    def _order_of_places(self) -> Ints:
        return self._order if self._regroup is None else self._order[self._regroup]

    def _factors_of(self, tier: Literal["l1", "l2"], jitter: float) -> Floats | None:
        """By what each line's TTL is multiplied; None where nothing is shortened."""
        if not jitter:
            return None
        if (tier, jitter) not in self._factors:
            factors: Floats = 1 - jitter * self._jitter_shares(tier)
            if tier == "l1" and self._regroup is not None:
                factors = factors[self._objects.number[self._regroup][self._places.begins]]
            self._factors[tier, jitter] = factors
        return self._factors[tier, jitter]

    def _jitter_shares(self, tier: str) -> Floats:
        if tier not in self._shares:
            prefix, key_of = namespace_prefix(""), self._workload.key_of
            left = [jittered_seconds(1.0, prefix + key_of(n), 1.0, tier) for n in self._names.tolist()]
            self._shares[tier] = 1 - np.array(left)
        return self._shares[tier]

    def _age_p95(self, lines: Lines, born: Mask, counted: Mask, sampled: Mask) -> float:
        """The 95th percentile of the time since the last mark, over one object in eight."""
        sample = counted & sampled
        if not sample.any():
            sample = counted
        return float(np.quantile(lines.since(born)[sample], 0.95))

    @cached_property
    def _sampled(self) -> Mask:
        mixed = self._names.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        chosen: Mask = (mixed >> np.uint64(40)) % np.uint64(_AGE_SAMPLE) == 0
        of_requests: Mask = chosen[self._objects.number]
        return of_requests

    @cached_property
    def _sampled_places(self) -> Mask:
        return self._sampled if self._regroup is None else self._sampled[self._regroup]

    def _bytes_bound(self, max_entries: int) -> float:
        """The entries that fit times the mean size of a request's object, at most all objects together."""
        return min(max_entries * self._mean_bytes, self._all_bytes)

    @cached_property
    def _mean_bytes(self) -> float:
        return float(self._workload.sizes.mean())

    @cached_property
    def _all_bytes(self) -> float:
        return float(self._workload.sizes[self._order][self._objects.begins].sum()) / self._share


def _changes(values: Ints) -> Mask:
    """Mark the first of each run of equal values."""
    marks = np.ones(len(values), dtype=bool)
    marks[1:] = values[1:] != values[:-1]
    return marks
