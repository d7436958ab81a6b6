"""A service of several instances: which request goes to which, and what Redis and the origin then see.

Each instance has a memory of its own, and all share Redis. Requests are dealt at random, or, where clients
are kept to an instance (Cloud Run's session affinity) and the workload knows who asked, by a draw for each
client. `perfkit.lab.model` models a fleet exactly; the rig plays one stack an instance against one Redis.

What more instances cost is read off `by_instances`: every request they share out makes each memory less
likely to have what it is asked for, so Redis is read more often; the origin is asked no more often, because
an answer that Redis has is an answer for all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perfkit.lab.distances import stack_distances
from perfkit.lab.expiry import Lines, ticks
from perfkit.lab.model import CacheModel, Cell
from perfkit.lab.scenario import World
from perfkit.lab.shards import model_of
from perfkit.lab.workload import Workload

__all__ = ["by_instances", "dealt_to", "loads_with_small_redis"]

Ints = NDArray[np.int64]

_STREAM = 0xF1EE7
"""Sets the draw of instances apart from every other draw of the same seed."""


def dealt_to(workload: Workload, instances: int, *, sticky: bool, seed: int) -> Ints | None:
    """Return which instance each request goes to; None when there is only one.

    Args:
        workload: What is asked for; its `callers` matter when they stay.
        instances: How many there are.
        sticky: Whether a caller stays with an instance. Where nobody knows who asked, nobody stays.
        seed: Of the draw.
    """
    if instances == 1:
        return None
    rng = np.random.default_rng([seed, _STREAM])
    if sticky and workload.callers is not None:
        homes = rng.integers(instances, size=int(workload.callers.max(initial=0)) + 1)
        return homes[workload.callers]
    return rng.integers(instances, size=len(workload))


def by_instances(
    workload: Workload,
    cell: Cell,
    instances: Sequence[int],
    *,
    world: World,
    sticky: bool = False,
    seed: int = 1,
    start: int = 0,
) -> list[dict[str, float]]:
    """Return the metrics of one setting at each number of instances, modelled."""
    rows = []
    for number in instances:
        model = model_of(workload, dealt_to(workload, number, sticky=sticky, seed=seed))
        (metrics,) = model.grid([cell], start=start, world=world)
        rows.append({"instances": float(number)} | metrics)
    return rows


def loads_with_small_redis(
    workload: Workload, cell: Cell, redis_entries: int, dealt: Ints | None = None
) -> NDArray[np.bool_]:
    """Tell of each request whether the origin is asked when Redis holds only so many entries.

    Redis evicts the least recently read or written, as `maxmemory-policy allkeys-lru` nearly does. Nearly
    exact: a memory is not told that Redis evicted and filled an entry again, which only matters in the last
    `l1_ttl` of an answer's life. Entries that ended keep their place until asked for again, so that this
    counts a few calls more than Redis would make, which removes some of them by itself.
    """
    reads = np.flatnonzero(CacheModel(workload, dealt=dealt).reads(cell))
    objects = workload.objects[reads]
    order = np.argsort(objects, kind="stable")
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = objects[order][1:] != objects[order][:-1]
    pushed_out = stack_distances(objects)[order] > redis_entries
    lines = Lines(ticks(workload.times_s[reads[order]]), begins)
    asked = lines.jumps(begins | pushed_out, cell.l2_ttl_seconds)
    loads = np.zeros(len(workload), dtype=bool)
    loads[reads[order]] = asked
    return loads
