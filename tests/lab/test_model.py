"""The model is exact: it equals a replay, request by request, for every size and TTL of both tiers."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.cache.freshness import jittered_seconds
from perfkit.cache.settings import CacheSettings
from perfkit.lab.generate import generate
from perfkit.lab.model import CacheModel, Cell, stack_distances
from perfkit.lab.replay import replay
from perfkit.lab.scenario import GeneratedWorkload, World
from perfkit.lab.workload import Workload

TRACES = Path(__file__).parents[3] / "shared" / "data" / "traces"


def workload(objects: list[int], gaps: list[int]) -> Workload:
    times = np.cumsum(gaps).astype(np.float64)
    numbered = np.unique(objects, return_inverse=True)[1].astype(np.int64)
    return Workload("test", "test", times - times[0], numbered, np.ones(len(objects), dtype=np.int32))


def replayed(work: Workload, cell: Cell) -> tuple[list[bool], list[bool]]:
    """Which requests read Redis and which asked the origin, by the definition."""
    memory: OrderedDict[int, float] = OrderedDict()
    l1_ttls, l2_ttls = (
        [jittered_seconds(ttl, f":o{number}", cell.ttl_jitter, tier) for number in range(work.n_objects)]
        for ttl, tier in ((cell.l1_ttl_seconds, "l1"), (cell.l2_ttl_seconds, "l2"))
    )
    redis: dict[int, float] = {}
    reads, loads = [], []
    for now, number in zip(work.times_s.tolist(), work.objects.tolist(), strict=True):
        until = memory.get(number)
        if until is not None:
            memory.move_to_end(number)
        served = until is not None and now <= until
        loaded = not served and now > redis.get(number, -1.0)
        if loaded:
            redis[number] = now + l2_ttls[number]
        if not served:
            memory[number] = min(now + l1_ttls[number], redis[number])
            if len(memory) > cell.max_entries:
                memory.popitem(last=False)
        reads.append(not served)
        loads.append(loaded)
    return reads, loads


@given(
    requests=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 4)), min_size=1, max_size=150),
    size=st.integers(1, 14),
    l1_ttl=st.integers(1, 30),
    l2_ttl=st.integers(1, 60),
    jitter=st.sampled_from([0.0, 0.1, 0.5]),
)
@settings(max_examples=300, deadline=None)
def test_every_request_is_modelled_as_a_replay_finds_it(
    requests: list[tuple[int, int]], size: int, l1_ttl: int, l2_ttl: int, jitter: float
) -> None:
    """Whole seconds make ties between a request and an expiry common, so those are compared too."""
    work = workload([number for number, _gap in requests], [gap for _number, gap in requests])
    cell = Cell(size, float(l1_ttl), float(l2_ttl), jitter)
    model = CacheModel(work)

    assert (model.reads(cell).tolist(), model.loads(cell).tolist()) == replayed(work, cell)


def test_the_shipping_memory_tier_replays_to_the_same_ratios() -> None:
    spec = GeneratedWorkload(requests=20_000, objects=1_500, zipf_alpha=0.9, rate_per_s=100)
    work = generate(spec, seed=4)
    model = CacheModel(work)
    for size, l1_ttl, l2_ttl in [(50, 5.0, 60.0), (400, 30.0, 45.0), (2_000, 20.0, 500.0)]:
        cell = Cell(size, l1_ttl, l2_ttl, 0.1)
        knobs = CacheSettings(
            l1_max_entries=size,
            l1_ttl_seconds=l1_ttl,
            l2_ttl_seconds=l2_ttl,
            l1_policy="lru",
            ttl_jitter=0.1,
        )
        found = replay(knobs, work, counted=[range(5_000, len(work))])

        assert found["l1_hit_ratio"] == pytest.approx(1 - model.reads(cell)[5_000:].mean())
        assert found["hit_ratio"] == pytest.approx(1 - model.loads(cell)[5_000:].mean())


def test_a_replay_counts_only_the_stretches_it_is_asked_for() -> None:
    """What lies between them warms the tiers, as it did where it was played."""
    work = generate(GeneratedWorkload(requests=4_000, objects=500, rate_per_s=100), seed=4)
    knobs = CacheSettings(l1_max_entries=50, l1_ttl_seconds=5, l2_ttl_seconds=60, l1_policy="lru")
    reads = CacheModel(work).reads(Cell(50, 5.0, 60.0, knobs.ttl_jitter))
    found = replay(knobs, work, counted=[range(1_000, 1_500), range(3_000, 3_500)])

    counted = np.concatenate([reads[1_000:1_500], reads[3_000:3_500]])
    assert found["l1_hit_ratio"] == pytest.approx(1 - counted.mean())


def test_a_surface_is_its_cells() -> None:
    work = generate(GeneratedWorkload(requests=8_000, objects=800, rate_per_s=50), seed=2)
    model = CacheModel(work)
    sizes, ttls = [10, 100, 500], [1.0, 10.0, 60.0, float("inf")]
    surface = model.surface(sizes, ttls, l2_ttl=120.0, ttl_jitter=0.1, start=1_000)
    cells = [[1 - model.reads(Cell(s, t, 120.0, 0.1))[1_000:].mean() for t in ttls] for s in sizes]

    assert surface == pytest.approx(np.array(cells), abs=1e-12)


def test_the_grid_counts_only_after_the_warm_up_and_keeps_its_own_sums() -> None:
    work = generate(GeneratedWorkload(requests=8_000, objects=800, rate_per_s=50), seed=2)
    model = CacheModel(work)
    (metrics,) = model.grid([Cell(100, 10.0, 60.0)], start=2_000, world=World())
    cell = Cell(100, 10.0, 60.0)

    assert metrics["redis_reads_per_request"] == model.reads(cell)[2_000:].mean()
    assert metrics["origin_calls_per_request"] == model.loads(cell)[2_000:].mean()
    assert 0 <= metrics["l1_age_p95_seconds"] <= 10
    assert 0 <= metrics["age_p95_seconds"] <= 60


@given(st.lists(st.integers(0, 20), min_size=1, max_size=200))
@settings(max_examples=200, deadline=None)
def test_a_stack_distance_counts_the_different_objects_since_the_last_request(objects: list[int]) -> None:
    found = stack_distances(np.array(objects, dtype=np.int64))

    for index, number in enumerate(objects):
        earlier = objects[:index]
        if number not in earlier:
            assert found[index] == len(objects) + 1
            continue
        last = index - 1 - earlier[::-1].index(number)
        assert found[index] == len(set(objects[last:index]))


@pytest.mark.skipif(
    not TRACES.exists(), reason="the recorded traces lie beside the checkout, and are not here"
)
def test_a_recorded_trace_is_modelled_as_it_replays() -> None:
    from perfkit.lab.traces import read_trace

    work = read_trace(TRACES / "twitter_cluster52_10m_sample16.csv.xz").head(120_000)
    model = CacheModel(work)
    for cell in (Cell(558, 10.0, 600.0), Cell(2_792, 60.0, 300.0, 0.1)):
        reads, loads = replayed(work, cell)

        assert model.reads(cell).sum() == sum(reads)
        assert model.loads(cell).sum() == sum(loads)
