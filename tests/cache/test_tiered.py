"""The tiered cache asks the origin as seldom as it can, and never serves what was taken back."""

import asyncio
from typing import Any

import fakeredis

from perfkit.cache import RemoteTier, TieredCache
from perfkit.cache.settings import CacheSettings
from perfkit.events import Event, RemoteFailed, null_probe
from tests.cache.imitated import Dictionary, Origin, virtually


def two_instances(redis: Dictionary, **settings: Any) -> tuple[TieredCache, TieredCache]:
    one, other = (
        TieredCache(CacheSettings(**settings), remote=RemoteTier(redis, prefix="t:", probe=null_probe))
        for _ in range(2)
    )
    return one, other


@virtually
async def test_a_hundred_who_ask_at_once_cost_one_call() -> None:
    cache, origin = TieredCache(), Origin()
    answers = await asyncio.gather(*(cache.get_or_load("k", origin) for _ in range(100)))
    stats = await cache.get_stats()

    assert answers == ["answer"] * 100
    assert origin.calls == 1
    assert (stats.requests, stats.loads, stats.joined) == (100, 1, 99)


@virtually
async def test_the_first_caller_cancelled_takes_nobody_with_it() -> None:
    cache, origin = TieredCache(), Origin()
    first = asyncio.create_task(cache.get_or_load("k", origin))
    others = [asyncio.create_task(cache.get_or_load("k", origin)) for _ in range(3)]
    await asyncio.sleep(0.5)
    first.cancel()

    assert await asyncio.gather(*others) == ["answer"] * 3
    assert first.cancelled()
    assert origin.calls == 1


@virtually
async def test_when_the_last_caller_leaves_the_origin_is_left_alone() -> None:
    cache = TieredCache()
    ended: list[str] = []

    async def endless() -> str:
        try:
            await asyncio.sleep(1e6)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return "never"

    callers = [asyncio.create_task(cache.get_or_load("k", endless)) for _ in range(3)]
    await asyncio.sleep(1)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    await asyncio.sleep(0)

    assert ended == ["cancelled"]


@virtually
async def test_a_failure_reaches_all_who_waited_and_is_not_remembered() -> None:
    cache, origin = TieredCache(), Origin(ValueError("broken"))
    failures = await asyncio.gather(
        *(cache.get_or_load("k", origin) for _ in range(5)), return_exceptions=True
    )
    origin.answer = "mended"

    assert [str(failure) for failure in failures] == ["broken"] * 5
    assert await cache.get_or_load("k", origin) == "mended"
    assert origin.calls == 2


@virtually
async def test_none_is_an_answer_and_is_kept() -> None:
    cache, origin = TieredCache(), Origin(None)
    await cache.get_or_load("k", origin)

    assert await cache.get_or_load("k", origin) is None
    assert origin.calls == 1
    assert await cache.get("k", "absent") is None
    assert await cache.get("other", "absent") == "absent"


@virtually
async def test_what_one_instance_loaded_another_finds_in_redis() -> None:
    one, other = two_instances(Dictionary())
    origin = Origin({"data": [1, 2.5, None, True, "é"]})
    loaded = await one.get_or_load("k", origin)
    found = await other.lookup("k", origin)

    assert found.tier == "l2"
    assert found.value == loaded
    assert origin.calls == 1


@virtually
async def test_memory_never_keeps_an_answer_longer_than_redis_has_it_fresh() -> None:
    one, other = two_instances(Dictionary(), l1_ttl_seconds=1_000, l2_ttl_seconds=100)
    origin = Origin(wait_s=0)
    await one.get_or_load("k", origin)
    await asyncio.sleep(90)
    found = await other.lookup("k", origin)
    await asyncio.sleep(11)
    late = await other.lookup("k", origin)

    assert (found.tier, round(found.age_seconds)) == ("l2", 90)
    assert late.tier == "origin"


@virtually
async def test_an_answer_is_as_old_as_the_question_to_the_origin() -> None:
    cache = TieredCache()
    await cache.get_or_load("k", Origin(wait_s=3))
    await asyncio.sleep(4)
    answer = await cache.lookup("k", Origin())

    assert (answer.tier, answer.age_seconds, answer.l1_age_seconds) == ("l1", 7.0, 4.0)


@virtually
async def test_redis_away_makes_the_cache_slower_and_not_wrong() -> None:
    heard: list[Event] = []
    redis = Dictionary()
    redis.away = True
    cache = TieredCache(remote=RemoteTier(redis, prefix="t:", probe=heard.append))
    origin = Origin()
    answers = [await cache.get_or_load("k", origin) for _ in range(3)]
    stats = cache.stats()

    assert answers == ["answer"] * 3
    assert origin.calls == 1
    assert stats.remote_errors == 2
    assert all(isinstance(event, RemoteFailed) for event in heard)


@virtually
async def test_what_is_deleted_while_it_is_being_loaded_is_not_kept() -> None:
    redis = Dictionary()
    cache, other = two_instances(redis)
    origin = Origin("old", wait_s=2)
    asking = asyncio.create_task(cache.get_or_load("k", origin))
    await asyncio.sleep(1)
    await cache.invalidate("k")

    assert await asking == "old"
    assert await cache.get("k") is None
    assert await other.get("k") is None


@virtually
async def test_what_is_set_while_it_is_being_loaded_stands() -> None:
    redis = Dictionary()
    cache, other = two_instances(redis)
    asking = asyncio.create_task(cache.get_or_load("k", Origin("old", wait_s=2)))
    await asyncio.sleep(1)
    await cache.set("k", "new")
    await asking

    assert await cache.get("k") == "new"
    assert await other.get("k") == "new"


@virtually
async def test_who_looks_while_redis_is_being_told_of_a_delete_keeps_nothing_old() -> None:
    redis = Dictionary()
    cache, _other = two_instances(redis)
    await cache.set("k", "old")
    redis.slow_s = 1.0
    deleting = asyncio.create_task(cache.invalidate("k"))
    await asyncio.sleep(0.1)
    seen = await cache.get_or_load("k", Origin("new", wait_s=0))
    await deleting

    assert seen in ("old", "new")
    assert await cache.get_or_load("k", Origin("new", wait_s=0)) == "new"


async def test_foreign_bytes_in_redis_are_a_miss() -> None:
    heard: list[Event] = []
    async with fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(version=(7,))) as redis:
        cache = TieredCache(remote=RemoteTier(redis, prefix="t:", probe=heard.append))
        await cache.set("k", "v")
        for name in await redis.keys():
            await redis.set(name, b"\x80\x04\x95 a pickle, or anything")
        cache.memory.clear()

        assert await cache.get("k", "nothing") == "nothing"
        assert [type(event) for event in heard] == [RemoteFailed]
