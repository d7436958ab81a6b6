"""The process-wide pools come from the environment and end with their loop."""

from __future__ import annotations

import asyncio

import pytest

from perfkit.errors import RealServerRequired, SettingsError
from perfkit.pools import Endpoint, OptimizedRedis, PoolType, RedisPools, get_optimized_redis_client, pools
from perfkit.pools.server import RedisServer


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, server: RedisServer) -> None:
    """The module's server is the configured one."""
    monkeypatch.setenv("PERFKIT_REDIS_URL", server.url)


async def connections(server: RedisServer) -> int:
    """Count who is connected, without the one who asks."""
    asker = RedisPools(endpoint=Endpoint.from_url(server.url))
    try:
        return len(await asker.client().client_list()) - 1
    finally:
        await asker.aclose()


def test_a_loop_shares_one_client_a_workload_and_leaves_nothing(server: RedisServer) -> None:
    """`asyncio.run` ends, and with it every connection; the next loop gets pools of its own."""

    async def session() -> OptimizedRedis:
        client = await get_optimized_redis_client(PoolType.CACHE)
        await client.batch_set({"a": 1}, ttl_seconds=60)
        assert await get_optimized_redis_client(pool_type=PoolType.CACHE) is client
        assert await get_optimized_redis_client() is not client
        assert await connections(server) == 1
        return client

    first, second = asyncio.run(session()), asyncio.run(session())

    assert first is not second
    assert asyncio.run(connections(server)) == 0
    assert not pools._of_loop


def test_a_loop_closed_without_a_shutdown_is_forgotten() -> None:
    """What cannot be closed any more is at least not kept."""
    rude = asyncio.new_event_loop()
    rude.run_until_complete(get_optimized_redis_client())
    rude.close()
    assert list(pools._of_loop) == [rude]

    asyncio.run(get_optimized_redis_client())

    assert not pools._of_loop


async def test_many_first_callers_get_the_same_client() -> None:
    """Opening is one step: nobody can come in between."""
    clients = await asyncio.gather(*(get_optimized_redis_client() for _ in range(20)))

    assert len(set(map(id, clients))) == 1


async def test_knobs_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable moves its own pool's knob and no other."""
    monkeypatch.setenv("PERFKIT_POOLS__CACHE__MAX_CONNECTIONS", "3")

    most = [
        (await (await get_optimized_redis_client(kind)).get_metrics())["max_connections"]
        for kind in (PoolType.CACHE, PoolType.DEFAULT)
    ]

    assert most == [3, 8]


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("PERFKIT_POOLS__CACHE__MAX_CONNECTION", "3", "Did you mean 'PERFKIT_POOLS__CACHE__MAX_CONNECTIONS'"),
        ("PERFKIT_POOLS__CACHE__MAX_CONNECTIONS", "0", ">= 1"),
        ("PERFKIT_REDIS_URL", "memcached://x", "not an address of Redis"),
    ],
)
async def test_a_wrong_environment_is_refused_every_time(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, part: str
) -> None:
    """A refusal leaves nothing half made that the next call would use."""
    monkeypatch.setenv(name, text)

    for _ in range(2):
        with pytest.raises(SettingsError) as refused:
            await get_optimized_redis_client()
        assert part in str(refused.value)


async def test_production_refuses_the_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `PERFKIT_REQUIRE_REAL=1` an unconfigured service does not start."""
    monkeypatch.delenv("PERFKIT_REDIS_URL")
    monkeypatch.setenv("PERFKIT_REQUIRE_REAL", "1")

    with pytest.raises(RealServerRequired):
        await get_optimized_redis_client()


async def test_a_pool_that_cannot_be_closed_keeps_no_other_open(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trouble of one is told once all have been closed."""
    every = RedisPools(endpoint=Endpoint.from_url(server.url))
    for kind in PoolType:
        await every.client(kind).ping()
    stubborn = every.client(PoolType.DEFAULT)
    close = stubborn.close_pool

    async def closed_with_trouble() -> None:
        await close()
        raise OSError("no more")

    monkeypatch.setattr(stubborn, "close_pool", closed_with_trouble)

    with pytest.raises(OSError, match="no more"):
        await every.aclose()

    assert await connections(server) == 0
