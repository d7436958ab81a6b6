"""A fleet is modelled as it plays: each instance with its own memory, all with one Redis."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.cache.freshness import jittered_seconds
from perfkit.cache.settings import CacheSettings
from perfkit.knobs import replaced
from perfkit.lab.fleet import by_instances, dealt_to, loads_with_small_redis
from perfkit.lab.generate import generate
from perfkit.lab.line import simulated_lines
from perfkit.lab.model import CacheModel, Cell
from perfkit.lab.replay import replay
from perfkit.lab.rigs import Asked
from perfkit.lab.rigs.cache import CACHE
from perfkit.lab.scenario import GeneratedWorkload, Scenario, World
from perfkit.lab.virtual import run_virtual
from perfkit.lab.workload import Workload
from perfkit.settings import Settings

SPEC = GeneratedWorkload(requests=12_000, objects=1_500, zipf_alpha=0.9, rate_per_s=100, callers=60)


def played(work: Workload, cell: Cell, at: list[int], redis_entries: float) -> tuple[list[bool], list[bool]]:
    """Which requests read Redis and which asked the origin, by the definition."""
    memories: dict[int, OrderedDict[int, float]] = {}
    redis: OrderedDict[int, float] = OrderedDict()
    reads, loads = [], []
    rows = zip(work.times_s.tolist(), work.objects.tolist(), at, strict=True)
    for now, number, instance in rows:
        memory = memories.setdefault(instance, OrderedDict())
        if number in memory:
            memory.move_to_end(number)
        served = number in memory and now <= memory[number]
        loaded = not served and now > redis.get(number, -1.0)
        if loaded:
            redis[number] = now + jittered_seconds(cell.l2_ttl_seconds, f":o{number}", cell.ttl_jitter, "l2")
        if not served:
            redis.move_to_end(number)
            ttl = jittered_seconds(cell.l1_ttl_seconds, f":o{number}", cell.ttl_jitter, "l1")
            memory[number] = min(now + ttl, redis[number])
            if len(memory) > cell.max_entries:
                memory.popitem(last=False)
            if len(redis) > redis_entries:
                redis.popitem(last=False)
        reads.append(not served)
        loads.append(loaded)
    return reads, loads


@given(
    requests=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=150
    ),
    size=st.integers(1, 9),
    l1_ttl=st.integers(1, 30),
    l2_ttl=st.integers(1, 60),
    jitter=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=300, deadline=None)
def test_every_request_of_a_fleet_is_modelled_as_it_plays(
    requests: list[tuple[int, int, int]], size: int, l1_ttl: int, l2_ttl: int, jitter: float
) -> None:
    objects, gaps, at = (list(column) for column in zip(*requests, strict=True))
    times = np.cumsum(gaps).astype(np.float64)
    numbered = np.unique(objects, return_inverse=True)[1].astype(np.int64)
    work = Workload("test", "test", times - times[0], numbered, np.ones(len(at), dtype=np.int32))
    cell = Cell(size, float(l1_ttl), float(l2_ttl), jitter)
    model = CacheModel(work, dealt=np.array(at, dtype=np.int64))

    assert (model.reads(cell).tolist(), model.loads(cell).tolist()) == played(work, cell, at, float("inf"))


def test_the_shipping_memory_tier_replays_a_fleet_to_the_same_ratios() -> None:
    work = generate(SPEC, seed=4)
    dealt = dealt_to(work, 5, sticky=False, seed=1)
    model = CacheModel(work, dealt=dealt)
    knobs = CacheSettings(l1_max_entries=100, l1_ttl_seconds=20, l2_ttl_seconds=60, l1_policy="lru")
    found = replay(knobs, work, counted=[range(3_000, len(work))], dealt=dealt)
    cell = Cell(100, 20.0, 60.0, knobs.ttl_jitter)

    assert found["l1_hit_ratio"] == pytest.approx(1 - model.reads(cell)[3_000:].mean())
    assert found["hit_ratio"] == pytest.approx(1 - model.loads(cell)[3_000:].mean())


def test_more_instances_read_redis_more_often_and_ask_the_origin_no_more() -> None:
    work = generate(SPEC, seed=4)
    rows = by_instances(work, Cell(200, 30.0, 120.0, 0.1), [1, 2, 4, 8], world=World(), start=2_000)
    reads = [row["redis_reads_per_request"] for row in rows]

    assert reads == sorted(reads)
    assert reads[-1] > 1.1 * reads[0]
    assert len({row["origin_calls_per_request"] for row in rows}) == 1


def test_callers_who_stay_bring_what_is_theirs_to_one_instance() -> None:
    work = generate(SPEC.model_copy(update={"own_share": 0.9}), seed=4)
    cell = Cell(400, 60.0, 600.0)
    anywhere, at_home = (
        by_instances(work, cell, [8], world=World(), sticky=sticky)[0] for sticky in (False, True)
    )

    assert at_home["redis_reads_per_request"] < 0.8 * anywhere["redis_reads_per_request"]


def test_without_callers_nobody_stays() -> None:
    work = generate(SPEC.model_copy(update={"callers": 0}), seed=4)
    free, sticky = (dealt_to(work, 8, sticky=way, seed=1) for way in (False, True))

    assert free is not None
    assert sticky is not None
    assert free.tolist() == sticky.tolist()
    assert np.bincount(free, minlength=8).min() > len(work) / 8 * 0.9


@pytest.mark.parametrize("redis_entries", [100, 300, 700])
def test_a_redis_that_evicts_asks_the_origin_as_modelled_within_half_a_point(redis_entries: int) -> None:
    work = generate(SPEC, seed=4)
    dealt = dealt_to(work, 4, sticky=False, seed=1)
    cell = Cell(50, 10.0, 120.0)
    assert dealt is not None
    modelled = loads_with_small_redis(work, cell, redis_entries, dealt)
    _reads, loads = played(work, cell, dealt.tolist(), redis_entries)

    assert modelled.mean() == pytest.approx(np.mean(loads), abs=0.005)


def simulated(question: Scenario, work: Workload, own: Settings) -> dict[str, float]:
    stage = question.simulate

    async def main() -> dict[str, float]:
        line = simulated_lines(CACHE, question).at(None)
        asked = Asked(question, work)
        async with CACHE.open(own, asked, line, seed=question.seed, key_prefix="perfkit:") as rig:
            await rig.warm(stage.warmup)
            observation = await rig.play(stage.warmup + stage.requests, rate_per_s=None)
            return observation.metrics

    return run_virtual(main())


def test_a_simulated_fleet_comes_to_what_is_modelled_within_a_fifth_of_a_point(tiny: Scenario) -> None:
    """What is left is requests in flight at the same moment, and what is renewed a moment early."""
    changes: dict[str, Any] = {
        "world": World(instances=4),
        "workload": SPEC,
        "simulate": tiny.simulate.model_copy(update={"requests": 2_000, "warmup": 3_000}),
    }
    question = tiny.model_copy(update=changes)
    work = generate(SPEC, question.seed)
    own = replaced(
        Settings(),
        {
            "cache.l1_max_entries": 150,
            "cache.l1_ttl_seconds": 20,
            "cache.l2_ttl_seconds": 60,
            "cache.l1_policy": "lru",
        },
    )
    (modelled,) = CACHE.model([own], Asked(question, Workload(**_head(work, 5_000))), rtt_ms=None)
    found = simulated(question, work, own)

    for metric in ("redis_reads_per_request", "origin_calls_per_request"):
        assert found[metric] == pytest.approx(modelled[metric], abs=0.002)


def _head(work: Workload, requests: int) -> dict[str, Any]:
    """The first requests, their objects with the names they have in the whole."""
    return {
        "name": work.name,
        "origin": work.origin,
        "times_s": work.times_s[:requests],
        "objects": work.objects[:requests],
        "sizes": work.sizes[:requests],
        "callers": None if work.callers is None else work.callers[:requests],
    }
