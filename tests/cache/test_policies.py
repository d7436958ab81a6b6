"""Every eviction policy keeps its bound, never beats the oracle, and is what its paper says."""

import random
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.cache import MemoryTier
from perfkit.cache.entry import Entry
from perfkit.cache.policies import belady_miss_ratio, make_policy

TRACES = Path(__file__).parents[3] / "shared" / "data" / "traces"


def miss_ratio(policy: str, objects: list[int], max_entries: int) -> float:
    tier = MemoryTier(
        max_entries=max_entries, max_bytes=1 << 40, policy=policy, clock=lambda: 0.0, weigh=lambda _value: 1
    )
    keys = {number: str(number) for number in set(objects)}
    misses = 0
    for number in objects:
        key = keys[number]
        if tier.get(key) is None:
            misses += 1
            tier.set(key, None, ttl_seconds=1)
    return misses / len(objects)


def zipf(requests: int, objects: int, seed: int) -> list[int]:
    rng = random.Random(seed)  # noqa: S311  # a workload, not a secret
    return rng.choices(range(objects), weights=[1 / (rank + 1) for rank in range(objects)], k=requests)


class EvictionPolicyCase:
    """What every policy must do; a new one inherits this."""

    name: str

    @given(
        operations=st.lists(st.tuples(st.sampled_from("agfe"), st.integers(0, 12)), max_size=200),
        room=st.integers(1, 6),
    )
    # The suite is inherited on purpose, which is what that health check warns of.
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    def test_it_evicts_only_what_is_there_and_each_key_once(
        self, operations: list[tuple[str, int]], room: int
    ) -> None:
        policy = make_policy(self.name, room)
        stored: set[str] = set()
        for operation, number in operations:
            key = str(number)
            if operation == "a" and key not in stored:
                if len(stored) == room:
                    victim = policy.evict()[0]
                    assert victim in stored
                    stored.remove(victim)
                policy.admit(key, Entry(None, 0.0, 9.0))
                stored.add(key)
            elif operation == "g" and key in stored:
                policy.touch(key)
            elif operation == "f" and key in stored:
                policy.forget(key)
                stored.remove(key)
            elif operation == "e" and stored:
                stored.remove(policy.evict()[0])
            assert policy.entries.keys() == stored
        while stored:
            stored.remove(policy.evict()[0])

    @pytest.mark.parametrize("room", [1, 7, 60, 300])
    def test_it_never_beats_the_clairvoyant(self, room: int) -> None:
        objects = zipf(6_000, 500, seed=room)

        assert miss_ratio(self.name, objects, room) >= belady_miss_ratio(objects, room)

    def test_it_never_misses_twice_when_all_fits(self) -> None:
        objects = zipf(2_000, 50, seed=1)

        assert miss_ratio(self.name, objects, 50) == len(set(objects)) / len(objects)


class TestLru(EvictionPolicyCase):
    name = "lru"

    def test_the_key_used_longest_ago_leaves(self) -> None:
        objects = zipf(5_000, 300, seed=3)
        order: OrderedDict[int, None] = OrderedDict()
        misses = 0
        for number in objects:
            if number in order:
                order.move_to_end(number)
                continue
            misses += 1
            order[number] = None
            if len(order) > 40:
                order.popitem(last=False)

        assert miss_ratio("lru", objects, 40) == misses / len(objects)


class TestSieve(EvictionPolicyCase):
    name = "sieve"

    def test_a_key_asked_for_again_survives_a_scan(self) -> None:
        policy = make_policy("sieve", 3)
        for key in ("hot", "a", "b"):
            policy.admit(key, Entry(None, 0.0, 9.0))
        policy.touch("hot")

        assert [policy.evict()[0], policy.evict()[0]] == ["a", "b"]


class TestS3Fifo(EvictionPolicyCase):
    name = "s3fifo"

    def test_a_key_that_comes_back_soon_goes_straight_to_main(self) -> None:
        policy = make_policy("s3fifo", 10)
        for number in range(10):
            policy.admit(str(number), Entry(None, 0.0, 9.0))
        assert policy.evict()[0] == "0"
        policy.admit("0", Entry(None, 0.0, 9.0))
        policy.admit("new", Entry(None, 0.0, 9.0))

        left = [policy.evict()[0] for _ in range(11)]
        assert left == ["new", "1", "2", "3", "4", "5", "6", "7", "8", "9", "0"]

    def test_a_tier_that_is_filling_up_tries_a_tenth_and_keeps_the_rest(self) -> None:
        policy = make_policy("s3fifo", 20)
        for number in range(20):
            policy.admit(str(number), Entry(None, 0.0, 9.0))

        assert [policy.evict()[0] for _ in range(3)] == ["0", "1", "2"]
        policy.admit("0", Entry(None, 0.0, 9.0))  # remembered: it stands behind all of main now
        assert [policy.evict()[0] for _ in range(17)][-1] == "19"


class TestAdaptive(EvictionPolicyCase):
    name = "adaptive"


def test_the_oracle_is_right_on_a_case_worked_by_hand() -> None:
    assert belady_miss_ratio([1, 2, 3, 1, 2, 4, 1, 2], 2) == 6 / 8


@pytest.mark.skipif(not TRACES.exists(), reason="the recorded traces lie beside the checkout, not in it")
@pytest.mark.parametrize(
    ("trace", "policy", "theirs"),
    [
        ("twitter_cluster52_1m", "lru", 0.2249),
        ("twitter_cluster52_1m", "sieve", 0.2143),
        ("twitter_cluster52_1m", "s3fifo", 0.2002),
        ("twitter_cluster52_1m", "belady", 0.1585),
        ("twitter_cluster52_10m_sample16", "lru", 0.1094),
        ("twitter_cluster52_10m_sample16", "sieve", 0.1075),
        ("twitter_cluster52_10m_sample16", "s3fifo", 0.1044),
        ("twitter_cluster52_10m_sample16", "belady", 0.0846),
    ],
)
def test_miss_ratios_on_a_recorded_trace_are_those_of_libcachesim(
    trace: str, policy: str, theirs: float
) -> None:
    """10,000 entries; benchmarks/cache.py asks libcachesim 0.3.5 itself and gets these four digits."""
    from perfkit.lab.traces import read_trace

    objects = read_trace(TRACES / f"{trace}.csv.xz").objects.tolist()
    found = belady_miss_ratio(objects, 10_000) if policy == "belady" else miss_ratio(policy, objects, 10_000)

    assert round(found, 4) == theirs
