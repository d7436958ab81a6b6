"""The remote tier on a real server: what it leaves there, for how long, and what it makes of trouble."""

from __future__ import annotations

import asyncio
import math
import pickle

import pytest
from redis.asyncio import Redis

from perfkit.cache import RemoteTier, TieredCache
from perfkit.cache.envelope import Envelope, pack, unpack
from perfkit.cache.remote import RemoteClient, Stored
from perfkit.errors import RealServerRequired, SettingsError, Unavailable
from perfkit.events import Event, RemoteFailed
from perfkit.pools import Endpoint, PoolsSettings, PoolType, RedisPools
from perfkit.pools.server import RedisServer
from tests.cache.on_redis import NOW_S, Time, connected, put, value_of


@pytest.mark.parametrize(
    "value",
    [None, True, 7, -0.5, "é\ud800", b"\x00\xff", [1, [2.5, None]], (1, ("a", b"b")), {"$tuple": [(1,)]}],
    ids=ascii,
)
async def test_what_is_set_is_found_with_its_types(tier: RemoteTier, value: object) -> None:
    """None and False are answers and not misses; a tuple is no list."""
    stored = await put(tier, "k", value)

    assert stored is True
    assert repr(await value_of(tier, "k")) == repr(value)
    assert tier.failures == 0


async def test_an_entry_brings_its_times_in_epoch_seconds(tier: RemoteTier, clock: Time) -> None:
    """Born when the origin was asked, fresh, kept to be served stale; and what it depends on."""
    await tier.set(
        *("k", "v"), ttl_seconds=60, born_epoch_s=NOW_S, stale_seconds=30, load_seconds=1.5, tags=["a", "b"]
    )
    clock.now += 75

    assert await tier.get("k") == Stored("v", NOW_S, NOW_S + 60, NOW_S + 90, 1.5, ("a", "b"))


async def test_what_is_absent_is_a_miss_and_no_failure(tier: RemoteTier, heard: list[Event]) -> None:
    """The usual case must not fill the log."""
    assert await tier.get("k") is None
    assert await tier.get_many(["k", "l"]) == {}
    assert (tier.failures, heard) == (0, [])
    assert (tier.counts.hits, tier.counts.misses) == (0, 3)


async def test_what_is_invalidated_leaves_a_tombstone_that_is_a_miss_and_goes_by_itself(
    tier: RemoteTier, redis: Redis
) -> None:
    """Once or twice, and where nothing stood as well; it is no failure to find it."""
    await put(tier, "k", "v")
    invalidated = [await tier.invalidate(key, at_epoch_s=NOW_S + 1) for key in ("k", "k", "other")]

    assert invalidated == [True, True, True]
    assert [await tier.get("k"), await tier.get_many(["k", "other"])] == [None, {}]
    assert unpack(await redis.get("t:k")).kind == b"X"
    assert await redis.strlen("t:k") == 40
    assert 50_000 < await redis.pttl("t:k") <= 60_000
    assert tier.failures == 0


async def test_what_is_set_again_is_replaced_with_its_time_to_live(tier: RemoteTier, redis: Redis) -> None:
    """The old value's longer life does not pass on to the new one."""
    await put(tier, "k", "old", ttl_seconds=10_000)
    await put(tier, "k", "new", ttl_seconds=60)

    assert await value_of(tier, "k") == "new"
    assert 0 < await redis.pttl("t:k") <= 60_000


@pytest.mark.parametrize("ttl_seconds", [30.0, 90.5, 3_600, 2_592_000.0])
async def test_the_server_itself_will_remove_it(tier: RemoteTier, redis: Redis, ttl_seconds: float) -> None:
    """PTTL says when: the time to live in milliseconds, less what has passed since."""
    await put(tier, "k", "v", ttl_seconds)
    left_ms = await redis.pttl("t:k")

    assert ttl_seconds * 1_000 - 10_000 < left_ms <= ttl_seconds * 1_000


@pytest.mark.parametrize("ttl_seconds", [0.0, 1e-9, -5.0])
async def test_a_time_to_live_below_a_millisecond_is_one(tier: RemoteTier, ttl_seconds: float) -> None:
    """The server refuses 0, and without a time an entry would stay for ever."""
    assert await put(tier, "k", "v", ttl_seconds) is True
    assert tier.failures == 0


async def test_nothing_is_ever_stored_without_an_end(tier: RemoteTier, redis: Redis) -> None:
    """-1 is what PTTL says of a key that stays."""
    for number in range(20):
        await put(tier, str(number), "v", ttl_seconds=10.0 ** (number / 3) + 10)

    assert await redis.dbsize() == 20
    assert all([await redis.pttl(name) > 0 for name in await redis.keys()])


async def test_an_entry_past_its_own_time_is_a_miss_whatever_the_server_says(
    tier: RemoteTier, redis: Redis, clock: Time, heard: list[Event]
) -> None:
    """The last moment counts as fresh, the next does not; the server still has it and nothing has failed."""
    await put(tier, "k", "v", ttl_seconds=60)
    clock.now = NOW_S + 60
    at_the_end = await value_of(tier, "k")
    clock.now = math.nextafter(NOW_S + 60, math.inf)

    assert at_the_end == "v"
    assert await tier.get("k") is None
    assert await redis.exists("t:k") == 1
    assert (tier.failures, heard) == (0, [])


@pytest.mark.parametrize("prefix", ["", "perfkit:", "é:", "a b\n"], ids=ascii)
@pytest.mark.parametrize("key", ["k", "", "a:b*?[", "\ud800", "x" * 10_000], ids=lambda key: ascii(key[:9]))
async def test_the_name_on_the_server_is_the_prefix_and_the_key(redis: Redis, prefix: str, key: str) -> None:
    """Nothing more, nothing less, and no text that cannot be a key."""
    tier = RemoteTier(redis, prefix=prefix, epoch=Time())
    await put(tier, key, "v")

    assert await redis.keys() == [(prefix + key).encode("utf-8", "surrogatepass")]
    assert await value_of(tier, key) == "v"
    assert list(await tier.get_many([key])) == [key]
    assert await tier.invalidate(key, at_epoch_s=NOW_S) is True
    assert await value_of(tier, key) == "nothing"


async def test_tiers_of_different_prefixes_do_not_see_each_other(redis: Redis) -> None:
    """One server serves two services; what one invalidates the other keeps."""
    one, other = (RemoteTier(redis, prefix=prefix, epoch=Time()) for prefix in ("one:", "other:"))
    await put(one, "k", 1)
    unseen = await value_of(other, "k")
    await put(other, "k", 2)
    await put(other, "only", 2)

    assert unseen == "nothing"
    assert [await value_of(one, "k"), await value_of(other, "k")] == [1, 2]
    assert await value_of(one, "only") == "nothing"
    assert await one.invalidate("k", at_epoch_s=NOW_S) is True
    assert [await value_of(one, "k"), await value_of(other, "k")] == ["nothing", 2]


async def test_tiers_of_one_prefix_share_all(server: RedisServer, tier: RemoteTier) -> None:
    """Two instances, two connections, one cache."""
    async with connected(server) as second:
        other = RemoteTier(second, prefix="t:", epoch=Time())
        await put(tier, "k", {"a": 1})

        assert await value_of(other, "k") == {"a": 1}


async def test_what_is_large_is_smaller_on_the_server(redis: Redis) -> None:
    """From the bound on, and not below it."""
    text = "perfkit " * 1_000
    for bound, names in [(8_002, "small"), (8_003, "large")]:
        tier = RemoteTier(redis, prefix=names, epoch=Time(), compress_min_bytes=bound)
        await put(tier, "", text)
        assert await value_of(tier, "") == text

    assert await redis.strlen("large") == 40 + 8_002
    assert await redis.strlen("small") < 200


WHOLE = pack(Envelope(b"J", b"-", NOW_S, NOW_S + 60, b"[1]", NOW_S + 60))


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"text of another service",
        pickle.dumps({"a": 1}),
        WHOLE[:-1],
        WHOLE[:-1] + b"}",
        pack(Envelope(b"Q", b"-", NOW_S, NOW_S + 60, b"a kind of tomorrow", NOW_S + 60)),
        pack(Envelope(b"J", b"-", NOW_S, NOW_S + 60, b"no json", NOW_S + 60)),
        pack(Envelope(b"J", b"b", NOW_S, NOW_S + 60, b"no brotli", NOW_S + 60)),
        pack(Envelope(b"J", b"z", NOW_S, NOW_S + 60, b"no zstd", NOW_S + 60)),
        b"pk\x03" + WHOLE[3:],
    ],
    ids=["empty", "text", "pickle", "cut", "altered", "kind", "json", "brotli", "zstd", "version"],
)
async def test_foreign_bytes_are_a_miss_that_is_told_and_can_be_overwritten(
    tier: RemoteTier, redis: Redis, heard: list[Event], foreign: bytes
) -> None:
    """Counted once for each look-up; the key is usable again at the next set."""
    await redis.set("t:k", foreign)
    found = await tier.get("k")
    told = [(event.operation, event.error.partition(":")[0]) for event in heard]  # type: ignore[union-attr]

    assert found is None
    assert (tier.failures, tier.counts.torn, tier.counts.misses) == (1, 1, 1)
    assert told == [("get", "TornEnvelope")]
    assert await put(tier, "k", "v") is True
    assert await value_of(tier, "k") == "v"


async def test_a_key_of_another_type_is_a_miss_too(tier: RemoteTier, redis: Redis) -> None:
    """The server answers GET of a list with an error, and MGET with nothing; the next set replaces it."""
    await redis.rpush("t:k", "a", "b")

    assert await tier.get("k") is None
    assert await tier.get_many(["k"]) == {}
    assert tier.failures == 1
    assert await put(tier, "k", "v") is True
    assert await value_of(tier, "k") == "v"


async def test_what_the_tier_stores_is_an_envelope(tier: RemoteTier, redis: Redis) -> None:
    """With its times inside."""
    await put(tier, "k", [1], ttl_seconds=60)

    assert await redis.get("t:k") == WHOLE
    assert unpack(WHOLE).fresh_until_s == NOW_S + 60


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, {1: "number"}, 10**5_000], ids=lambda v: type(v).__name__
)
async def test_a_value_that_would_not_come_back_is_not_stored_and_not_raised(
    tier: RemoteTier, redis: Redis, heard: list[Event], value: object
) -> None:
    """It is counted and told, with the type that was refused."""
    stored = await put(tier, "k", value)

    assert stored is False
    assert await tier.get("k") is None
    assert unpack(await redis.get("t:k")).kind == b"X"
    assert (tier.failures, tier.counts.refused) == (1, 1)
    assert isinstance(heard[0], RemoteFailed)
    assert heard[0].operation == "set"
    assert heard[0].error.startswith("NotEncodable: ")
    assert type(value).__name__ in heard[0].error


async def test_a_dead_server_counts_and_does_not_raise(
    mortal: RedisServer, heard: list[Event], clock: Time
) -> None:
    """A look-up is a miss, a write is forgotten, and whoever invalidates is told that it did not arrive."""
    async with connected(mortal) as client:
        tier = RemoteTier(client, prefix="t:", epoch=clock, probe=heard.append)
        await put(tier, "k", "v")
        alive = await value_of(tier, "k")
        mortal.close()
        answers = [
            *(await tier.get("k"), await tier.get_many(["k"])),
            *(await put(tier, "k", "v"), await tier.invalidate("k", at_epoch_s=NOW_S)),
        ]

    assert alive == "v"
    assert answers == [None, {}, False, False]
    assert tier.failures == 4
    assert [event.operation for event in heard] == ["get", "get", "set", "delete"]  # type: ignore[union-attr]
    assert all("Error: " in event.error for event in heard)  # type: ignore[union-attr]


async def test_a_dead_server_behind_the_pools_counts_and_does_not_raise(mortal: RedisServer) -> None:
    """The client a service has: its own errors, Unavailable among them, are failures like any other."""
    pools = RedisPools(PoolsSettings(), Endpoint.from_url(mortal.url), probe=lambda _event: None)
    tier = RemoteTier(
        pools.client(PoolType.CACHE).raising, prefix="t:", epoch=Time(), probe=lambda _event: None
    )
    stored = await put(tier, "k", "v")
    alive = await value_of(tier, "k")
    mortal.close()
    answers = [
        *(await tier.get("k"), await tier.get_many(["k"])),
        *(await put(tier, "k", "v"), await tier.invalidate("k", at_epoch_s=NOW_S)),
    ]
    await pools.aclose()

    assert (stored, alive) == (True, "v")
    assert answers == [None, {}, False, False]
    assert tier.failures == 4


async def test_a_full_server_forgets_the_write_and_still_answers(tier: RemoteTier, redis: Redis) -> None:
    """It refuses SET for want of memory."""
    await put(tier, "k", "old")
    await redis.config_set("maxmemory", "1")
    try:
        stored = await put(tier, "k", "new")
        found = await value_of(tier, "k")
    finally:
        await redis.config_set("maxmemory", "0")

    assert (stored, found) == (False, "old")
    assert tier.failures == 1


async def test_a_client_is_opened_when_it_is_first_needed_and_tried_again_after_a_failure(
    redis: Redis, heard: list[Event]
) -> None:
    """Not at construction, and not a second time once it is there."""
    opened: list[str] = []

    async def opener() -> RemoteClient:
        opened.append("tried")
        if len(opened) == 1:
            raise Unavailable("not yet", dependency="redis")
        return redis

    tier = RemoteTier(opener, prefix="t:", epoch=Time(), probe=heard.append)
    before = list(opened)
    answers = [await put(tier, "k", "v"), await put(tier, "k", "v"), await value_of(tier, "k")]

    assert before == []
    assert answers == [False, True, "v"]
    assert len(opened) == 2
    assert heard == [RemoteFailed("set", "Unavailable: not yet")]


@pytest.mark.parametrize(
    "mistake", [RealServerRequired("toys are forbidden"), SettingsError("no URL", path="PERFKIT_REDIS_URL")]
)
async def test_a_mistake_of_configuration_passes_through(mistake: Exception, heard: list[Event]) -> None:
    """It would otherwise look like an empty cache for ever."""

    async def opener() -> RemoteClient:
        raise mistake

    tier = RemoteTier(opener, prefix="t:", probe=heard.append)
    operations = (tier.get("k"), tier.get_many("k"), put(tier, "k", "v"), tier.invalidate("k", at_epoch_s=0))
    for operation in operations:
        with pytest.raises(type(mistake)):
            await operation

    assert (tier.failures, heard) == (0, [])


async def test_cancellation_is_the_caller_s_and_no_failure(heard: list[Event]) -> None:
    """Whoever gives up waiting has not found the server away."""

    async def opener() -> RemoteClient:
        await asyncio.Event().wait()
        raise AssertionError

    tier = RemoteTier(opener, prefix="t:", probe=heard.append)
    asking = asyncio.create_task(tier.get("k"))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])

    assert asking.cancelled()
    assert (tier.failures, heard) == (0, [])


@pytest.mark.parametrize("ttl_seconds", [math.inf, math.nan])
async def test_a_time_to_live_without_end_fails_soft_like_everything_else(
    tier: RemoteTier, ttl_seconds: float
) -> None:
    """The memory tier allows `math.inf`, so `TieredCache.set(..., l2_ttl_seconds=math.inf)` gets this far."""
    assert isinstance(await put(tier, "k", "v", ttl_seconds), bool)


async def test_a_value_that_is_not_stored_does_not_bring_back_the_one_before(redis: Redis) -> None:
    """What was replaced is served again as soon as memory has let go of what replaced it."""
    cache = TieredCache(remote=RemoteTier(redis, prefix="t:", probe=lambda _event: None))
    await cache.set("k", "old")
    await cache.set("k", {"new", "and a set"})
    cache.memory.clear()

    assert await cache.get("k", "nothing") == "nothing"


async def test_commands_that_come_at_once_open_one_client(redis: Redis) -> None:
    """All clients but the last would be nobody's to close."""
    opened: list[str] = []

    async def opener() -> RemoteClient:
        opened.append("opened")
        await asyncio.sleep(0)
        return redis

    tier = RemoteTier(opener, prefix="t:", epoch=Time())
    await asyncio.gather(*(tier.get("k") for _ in range(10)))

    assert len(opened) == 1


async def test_many_are_asked_for_at_once(server: RedisServer, heard: list[Event], clock: Time) -> None:
    """One MGET for all; each answer as a single look-up would have it, torn ones left out and counted."""
    async with connected(server) as redis:
        await redis.flushall()
        tier = RemoteTier(redis, prefix="t:", epoch=clock, probe=heard.append)
        for number in range(10):
            await put(tier, f"k{number}", number)
        await redis.set("t:torn", b"no envelope")
        before = (await redis.info("commandstats")).get("cmdstat_mget", {}).get("calls", 0)
        found = await tier.get_many([*(f"k{number}" for number in range(12)), "k3", "torn"])
        after = (await redis.info("commandstats"))["cmdstat_mget"]["calls"]

    assert {key: stored.value for key, stored in found.items()} == {
        f"k{number}": number for number in range(10)
    }
    assert after - before == 1
    assert (tier.counts.hits, tier.counts.misses, tier.counts.torn) == (10, 3, 1)


async def test_nothing_is_asked_for_when_there_are_no_keys(heard: list[Event]) -> None:
    """MGET without a key is an error."""

    async def opener() -> RemoteClient:
        raise AssertionError

    assert await RemoteTier(opener, prefix="t:", probe=heard.append).get_many([]) == {}
