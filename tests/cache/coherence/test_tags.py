"""A tag voids what was born before, at the price of one number, and never less than once it did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError

from perfkit.cache.coherence import EVERYTHING, TagTimes, full_tag
from perfkit.cache.coherence.names import Names
from perfkit.lab.virtual import run_virtual
from perfkit.pools import OptimizedRedis
from perfkit.pools.server import RedisServer
from perfkit.pools.server.cluster import ClusterServer
from tests.cache.coherence.hearing import others

NOW_S = 1_000_000.0
TAG = full_tag("team 7", "users")


class Counting:
    """A Redis that counts what it is asked and can be away or slow."""

    def __init__(self, redis: Any) -> None:
        self.redis = redis
        self.commands: list[str] = []
        self.away = False
        self.slow_s = 0.0

    async def execute_command(self, *args: Any) -> Any:
        self.commands.append(args[0])
        await asyncio.sleep(self.slow_s)
        if self.away:
            raise RedisConnectionError("gone")
        return await self.redis.execute_command(*args)


@pytest.fixture
def redis() -> Counting:
    """A stand-in, empty."""
    return Counting(fakeredis.FakeAsyncRedis())


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


def times(client: object, hands: Hands | None = None, **options: Any) -> TagTimes:
    """A table whose clocks stand, or go as the test says."""
    hands = hands or Hands()
    return TagTimes(client, prefix="p:", epoch=hands, clock=hands, **options)  # type: ignore[arg-type]


async def test_what_was_born_before_is_void_and_what_is_born_after_is_not(redis: Counting) -> None:
    """At the very time of the invalidation counts as before: the origin may have been asked just then."""
    here = times(redis)
    assert await here.invalidate(TAG)

    assert here.is_void([TAG], NOW_S - 1)
    assert here.is_void(["users:other", TAG], NOW_S)
    assert not here.is_void([TAG], NOW_S + 0.001)
    assert not here.is_void(["users:other"], NOW_S - 1)
    assert not here.is_void([], NOW_S - 1)


async def test_an_invalidation_costs_one_command_whatever_it_voids(redis: Counting) -> None:
    """The first one tidies up as well."""
    here = times(redis)
    await here.invalidate(TAG)
    redis.commands.clear()

    await here.invalidate(TAG, NOW_S + 1)

    assert redis.commands == ["ZADD"]


async def test_another_instance_learns_of_it_when_it_reads(redis: Counting) -> None:
    """Nothing was said: Redis is asked, once for all tags, and not again while the answer is good."""
    hands = Hands()
    here, there = times(redis), times(redis, hands, ttl_seconds=5.0)
    await here.invalidate(TAG)
    redis.commands.clear()

    assert await there.void([TAG, "users:*", "users:a"], NOW_S - 1)
    assert not await there.void([TAG, "users:*", "users:a"], NOW_S + 1)
    hands.now_s += 5.0
    assert not await there.void(["users:a"], NOW_S - 1)
    assert redis.commands == ["ZMSCORE"]

    await here.invalidate("users:a", NOW_S + 2)
    redis.commands.clear()
    hands.now_s += 0.1
    assert await there.void(["users:a", "users:*"], NOW_S + 1)
    assert redis.commands == ["ZMSCORE"]


async def test_what_is_asked_at_once_is_asked_once(redis: Counting) -> None:
    """A hundred readers of the same tags, and of one more."""
    redis.slow_s = 0.01
    there = times(redis)

    await asyncio.gather(*(there.void(["a:1", "a:2"], NOW_S) for _ in range(100)))
    await asyncio.gather(there.void(["a:1", "a:3"], NOW_S), there.void(["a:3"], NOW_S))

    assert redis.commands == ["ZMSCORE", "ZMSCORE"]


async def test_a_reader_that_is_cancelled_takes_no_other_with_it(redis: Counting) -> None:
    """Who waits on still learns, and closing ends what is asked."""
    await times(redis).invalidate(TAG)
    redis.slow_s = 0.01
    there = times(redis)
    first = asyncio.create_task(there.void([TAG], NOW_S - 1))
    await asyncio.sleep(0)
    second = asyncio.create_task(there.void([TAG], NOW_S - 1))
    await asyncio.sleep(0.001)
    first.cancel()

    assert await second
    before = others()
    late = asyncio.create_task(there.void(["a:1"], NOW_S - 1))
    await asyncio.sleep(0.001)
    await there.aclose()
    assert not await late
    assert others() - before == set()


async def test_the_younger_invalidation_stands_in_whatever_order_they_come(redis: Counting) -> None:
    """A replayed one never takes a later one back."""
    here, there = times(redis), times(redis)
    await here.invalidate(TAG, NOW_S + 10)
    await there.invalidate(TAG, NOW_S - 10)

    assert await there.void([TAG], NOW_S + 5)
    assert here.is_void([TAG], NOW_S + 5)


async def test_an_invalidation_of_long_ago_counts_as_of_half_a_minute_ago(redis: Counting) -> None:
    """Those who hear by tracking look back a minute; voiding more is right, voiding less is not."""
    here = times(redis)
    await here.invalidate(TAG, NOW_S - 3_000)

    assert here.is_void([TAG], NOW_S - 30)
    assert not here.is_void([TAG], NOW_S - 29)


async def test_while_redis_is_away_what_is_known_counts_and_redis_is_told_later(redis: Counting) -> None:
    """An invalidation made here holds here; the next one to ask puts it right in Redis too."""
    hands = Hands()
    here = times(redis, hands)
    redis.away = True
    assert not await here.invalidate(TAG)
    assert await here.void([TAG], NOW_S - 1)
    assert not await here.void(["users:unknown"], NOW_S - 1)
    assert here.failures == 2

    redis.away = False
    assert not await here.void([TAG], NOW_S + 1)
    there = times(redis)
    assert await there.void([TAG], NOW_S - 1)


async def test_a_flushed_redis_is_told_again_by_who_knows(redis: Counting) -> None:
    """Entries elsewhere in memory are as old as they were."""
    hands = Hands()
    here = times(redis, hands)
    await here.invalidate(TAG)
    await redis.redis.flushall()
    hands.now_s += 6
    await here.void([TAG], NOW_S + 1)

    assert await times(redis).void([TAG], NOW_S - 1)


async def test_doubt_makes_it_ask_again(redis: Counting) -> None:
    """After messages may have been missed."""
    here, there = times(redis), times(redis)
    assert not await there.void([TAG], NOW_S - 1)
    await here.invalidate(TAG)
    assert not await there.void([TAG], NOW_S - 1)

    there.doubt()

    assert await there.void([TAG], NOW_S - 1)


async def test_what_was_heard_counts_at_once(redis: Counting) -> None:
    """And an older time heard later changes nothing."""
    there = times(redis)
    there.learn(TAG, NOW_S)
    there.learn(TAG, NOW_S - 5)

    assert there.is_void([TAG], NOW_S - 1)
    assert redis.commands == []


async def test_the_table_stays_within_its_bound_and_forgets_the_oldest_first(redis: Counting) -> None:
    """A tag that was never invalidated goes before one that was."""
    here = times(redis, max_tags=100)
    for number in range(1_000):
        here.learn(f"users:{number}", NOW_S + number)
        await here.void([f"quiet:{number}"], NOW_S + 2_000)
        assert len(here) <= 100

    assert here.is_void(["users:999"], NOW_S + 998)
    assert not here.is_void(["users:1"], NOW_S)


async def test_redis_keeps_a_time_for_as_long_as_entries_live_and_not_much_longer(redis: Counting) -> None:
    """Nothing is left behind by a service that is gone."""
    hands = Hands()
    here = times(redis, hands, keep_seconds=1_000.0)
    await here.invalidate("users:old")
    hands.now_s += 999
    await here.invalidate("users:new")
    assert await redis.redis.zcard(b"p:%tags") == 2
    hands.now_s += 61
    await here.invalidate("users:new")

    assert await redis.redis.zrange(b"p:%tags", 0, -1) == [b"users:new"]
    assert 1_000 <= await redis.redis.ttl(b"p:%tags") <= 1_200


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(-20, 20)),
        min_size=1,
        max_size=20,
    )
)
def test_two_instances_that_asked_agree_whatever_was_invalidated_where(
    invalidations: list[tuple[str, str, int]],
) -> None:
    """The latest time of each tag, for both."""

    async def play() -> None:
        redis = Counting(fakeredis.FakeAsyncRedis())
        tables = {"a": times(redis), "b": times(redis)}
        for where, tag, late_s in invalidations:
            await tables[where].invalidate(tag, NOW_S + late_s)
        for table in tables.values():
            table.doubt()
        for tag in "xyz":
            latest = max((late_s for _where, name, late_s in invalidations if name == tag), default=None)
            for table in tables.values():
                await table.void([tag], NOW_S + 100)
                for born in range(-21, 22):
                    assert await table.void([tag], NOW_S + born) == (latest is not None and born <= latest)

    run_virtual(play())


async def test_a_real_server_and_a_cluster_answer_as_the_stand_in(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """Through the pools, over several instances."""
    with ClusterServer.start() as cluster:
        for url in (server.url, cluster.url):
            here, there = times(instance(url)), times(instance(url))
            assert await here.invalidate(TAG, NOW_S + 0.123456)
            assert await here.invalidate("users:ü *", NOW_S)
            assert await there.void([TAG, "users:none"], NOW_S + 0.123456)
            assert not await there.void([TAG, "users:none"], NOW_S + 0.1234561)
            assert await there.void(["users:ü *"], NOW_S)
            assert (here.failures, there.failures) == (0, 0)


def test_a_namespace_s_tags_are_its_own_and_one_stands_for_all_of_it() -> None:
    """`clear` is the tag `*`."""
    assert full_tag(EVERYTHING, "users") == "users:*"
    assert full_tag("a", "b:c") != full_tag("c:a", "b")


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_namespace_or_key_can_be_mistaken_for_what_stands_beside_the_entries(
    namespace: str, key: str
) -> None:
    """Locks, the tags and the channel."""
    names, full_key = Names("p:"), full_tag(key, namespace)

    assert names.full_key(names.entry(full_key)) == full_key
    assert names.full_key(names.lock(full_key)) is None
    assert names.entry(full_key) not in (names.tags, names.channel, names.lock(full_key))
    assert names.full_key(names.tags) is None
    assert names.full_key(b"p:\xff") is None
