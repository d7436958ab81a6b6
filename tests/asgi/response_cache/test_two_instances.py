"""Two instances of a service share what they keep, by way of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import fakeredis
import pytest

from tests.asgi.response_cache.site import Site

MINUTE = ("cache-control", "max-age=60")


@pytest.fixture
async def redis() -> AsyncIterator[fakeredis.FakeAsyncRedis]:
    """A Redis of this test's own."""
    async with fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(version=(7,))) as client:
        yield client


@pytest.fixture
async def pair(redis: fakeredis.FakeAsyncRedis) -> AsyncIterator[tuple[Site, Site]]:
    """Two instances whose clocks agree."""
    one = Site(MINUTE, redis=redis)
    other = Site(MINUTE, redis=redis, site=one)
    yield one, other
    for site in (one, other):
        await site.layer.stages.response_cache().aclose()
        await site.cache.aclose()


async def settled(*sites: Site) -> None:
    """Let what is on its way to Redis arrive."""
    for site in sites:
        for _ in range(20):
            await site.settle()


async def test_what_one_keeps_the_other_serves(pair: tuple[Site, Site]) -> None:
    """Status, fields, body and age survive the way through Redis."""
    one, other = pair
    one.page.fields = (MINUTE, ("x-line", "1"), ("x-line", "2"), ("x-byte", "\\xe9"))
    one.page.status = 404
    one.page.content = bytes(range(256))
    first = await one.get()
    await settled(one)
    one.now_s += 7
    second = await other.get()
    assert (second.status, second.raw, other.calls) == (404, first.raw, 0)
    assert second.all("x-line") == ["1", "2"]
    assert second.get("x-byte") == "\\xe9"
    assert second.get("age") == "7"
    assert (await other.get()).get("age") == "7"


async def test_of_many_who_ask_at_once_one_asks_redis(
    pair: tuple[Site, Site],
) -> None:
    """However large the answer, and though memory has no room for it."""
    one, other = pair
    one.page.content = b"x" * 50_000
    await one.get()
    await settled(one)
    await other.get("/warm")
    other.cache.memory.max_entry_bytes = 1_000
    before, calls = other.cache.tiers.remote.counts.hits, other.calls
    answers = await asyncio.gather(*(other.get() for _ in range(30)))
    assert {len(answer.raw) for answer in answers} == {50_000}
    assert (other.cache.tiers.remote.counts.hits - before, other.calls) == (1, calls)


async def test_variants_are_shared_too(pair: tuple[Site, Site]) -> None:
    """The names they vary by, and each of them."""
    one, other = pair
    one.page.fields = (MINUTE, ("vary", "foo"))
    await one.get("/", ("foo", "1"))
    await settled(one)
    assert (await other.get("/", ("foo", "1"))).body == b"answer 1"
    assert other.calls == 0
    await other.get("/", ("foo", "2"))
    assert other.calls == 1


async def test_an_invalidation_is_heard_by_the_other(pair: tuple[Site, Site]) -> None:
    """Whoever changes something: no instance serves the old."""
    one, other = pair
    await one.get()
    await settled(one)
    await other.get()
    assert other.calls == 0
    one.now_s += 1
    await one.get(method="POST")
    await settled(one, other)
    assert (await other.get()).body == b"answer 1"
    assert other.calls == 1


async def test_what_one_renewed_the_other_does_not_ask_for_again(pair: tuple[Site, Site]) -> None:
    """Past its end it looks in Redis first."""
    one, other = pair
    await one.get()
    await settled(one)
    await other.get()
    one.now_s += 61
    await one.get()
    await settled(one)
    assert (await other.get()).body == b"answer 2"
    assert other.calls == 0


async def test_an_answer_asked_for_before_an_invalidation_elsewhere_is_not_kept(
    pair: tuple[Site, Site],
) -> None:
    """Redis knows which came later."""
    one, other = pair

    async def wait() -> None:
        one.page.wait = None
        one.now_s += 1
        await other.get(method="POST")
        await settled(other)
        one.now_s += 1

    one.page.wait = wait
    await one.get()
    await settled(one)
    assert (await one.get()).body == b"answer 2"


async def test_what_must_be_asked_about_each_time_stays_in_memory(
    pair: tuple[Site, Site], redis: fakeredis.FakeAsyncRedis
) -> None:
    """It saves a body between the application and here, and no instance a call."""
    one, _ = pair
    await one.get("/first")
    await settled(one)
    one.now_s += 1  # what memory held before it heard the others is not trusted
    keys = await redis.keys("test:*responses*")
    one.page.fields = (("cache-control", "no-cache"), ("etag", '"a"'))
    await one.get()
    await settled(one)
    assert await redis.keys("test:*responses*") == keys
    assert (await one.get()).body == b"answer 2"


async def test_a_value_of_another_version_is_a_miss(pair: tuple[Site, Site]) -> None:
    """What is not understood is not served."""
    one, other = pair
    await one.get()
    await settled(one)
    key = next(iter(one.layer.stages.response_cache()._shelf._tiers.memory._entries))
    await one.cache.tiers.put(key, ("response/9", "?"), l1_ttl_seconds=60, l2_ttl_seconds=60)
    assert (await other.get()).status == 200
    assert other.calls == 1


async def test_redis_being_away_costs_a_call_and_no_answer() -> None:
    """The cache fails soft."""

    async def away() -> object:
        raise ConnectionError("refused")

    site = Site(MINUTE, redis=away)
    assert (await site.get()).body == b"answer 1"
    assert (await site.get()).body == b"answer 1"
    await site.get(method="POST")
    assert (await site.get()).body == b"answer 3"
    await site.layer.stages.response_cache().aclose()
    await site.cache.aclose()
