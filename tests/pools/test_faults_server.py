"""A real server that dies, stalls, pauses and comes back: found out in time, nothing mixed up after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from redis.asyncio import Redis
from redis.exceptions import (
    RedisError,
)

from perfkit.errors import Unavailable
from perfkit.pools import Endpoint, PoolType, RedisPools
from perfkit.pools.failures import RedisLost, RedisTimeout
from perfkit.pools.server import RedisServer
from tests.pools.waiting import until
from tests.pools.watched import Traffic, Watched, filled, report

TRANSPORTS = pytest.mark.parametrize("transport", ["mux", "classic"])


@TRANSPORTS
async def test_a_killed_server_is_found_out_at_once_and_found_again_when_it_is_back(
    own_server: RedisServer, watch: Callable[..., Watched], transport: str
) -> None:
    """kill -9: the breaker opens within 50 ms; back on the same port, service goes on after its wait."""
    watched = await filled(
        watch(Endpoint.from_url(own_server.tcp_url), transport=transport, max_connections=32)
    )
    loop = asyncio.get_running_loop()
    traffic = Traffic(watched.client)
    await until(lambda: traffic.right > 500)
    killed_s = loop.time()
    await asyncio.to_thread(own_server.kill)
    await until(lambda: watched.when("open", killed_s) is not None)
    report("breaker open after a kill", watched.when("open", killed_s) - killed_s, 0.05)

    await asyncio.to_thread(own_server.restart)
    back_s = loop.time()
    longest_wait_s = watched.client._breaker.retry_after_seconds
    await until(lambda: watched.when("closed", back_s) is not None)
    report("recovery after a restart", watched.when("closed", back_s) - back_s, longest_wait_s + 0.1)
    seen = traffic.right
    await filled(watched)
    await until(lambda: traffic.right > seen)
    await traffic.end()

    assert traffic.wrong == 0
    assert all(issubclass(failure, Unavailable) for failure in traffic.failures)
    assert all(issubclass(failure, RedisError) for failure in traffic.failures)
    watched.balanced()


@TRANSPORTS
async def test_a_stalled_server_is_found_out_in_one_timeout_and_nothing_is_mixed_up_after(
    own_server: RedisServer, watch: Callable[..., Watched], transport: str
) -> None:
    """SIGSTOP and SIGCONT: late replies are dropped, the breaker opens within the timeout and 50 ms."""
    watched = await filled(
        watch(
            Endpoint.from_url(own_server.url),
            transport=transport,
            max_connections=32,
            command_timeout_seconds=0.3,
            connect_timeout_seconds=0.3,
        )
    )
    loop = asyncio.get_running_loop()
    traffic = Traffic(watched.client)
    await until(lambda: traffic.right > 500)
    stalled_s = loop.time()
    own_server.stall()
    try:
        await until(lambda: watched.when("open", stalled_s) is not None)
        report("breaker open after a stall", watched.when("open", stalled_s) - stalled_s, 0.35)
    finally:
        own_server.resume()
    back_s = loop.time()
    wait_s = watched.client._breaker.retry_after_seconds
    await until(lambda: watched.when("closed", back_s) is not None)
    report("recovery after a stall", watched.when("closed", back_s) - back_s, wait_s + 0.1)
    seen = traffic.right
    await until(lambda: traffic.right > seen + 100)
    await traffic.end()

    assert traffic.wrong == 0
    watched.balanced()


@TRANSPORTS
async def test_incr_is_executed_at_most_once_whatever_happens(
    own_server: RedisServer, watch: Callable[..., Watched], transport: str
) -> None:
    """Through a stall, connections killed and the readers' retries: never more than were asked for."""
    watched = watch(
        Endpoint.from_url(own_server.tcp_url),
        transport=transport,
        max_connections=32,
        retries=3,
        command_timeout_seconds=0.2,
        breaker_open_seconds=0.05,
    )
    asked: dict[str, int] = {}
    succeeded: dict[str, int] = {}
    over = False

    async def count(name: str) -> None:
        while not over:
            asked[name] = asked.get(name, 0) + 1
            try:
                await watched.client.incr(name)
            except (Unavailable, RedisError):
                await asyncio.sleep(0.001)
            else:
                succeeded[name] = succeeded.get(name, 0) + 1

    workers = [asyncio.create_task(count(f"n{n}")) for n in range(32)]
    async with Redis.from_url(own_server.url) as admin:
        for _ in range(3):
            await until(lambda: len(succeeded) == 32)
            await admin.client_kill_filter(_type="normal", skipme=True)
            own_server.stall()
            await until(lambda: watched.client.metrics["circuit_state"] == "open")
            own_server.resume()
            await until(lambda: watched.client.metrics["circuit_state"] == "closed")
        over = True
        await asyncio.gather(*workers)
        executed = {name: int(await admin.get(name) or 0) for name in asked}

    assert all(succeeded[name] <= executed[name] <= asked[name] for name in asked)
    watched.balanced()


@TRANSPORTS
async def test_a_paused_server_is_given_up_and_taken_up_again(
    own_server: RedisServer, watch: Callable[..., Watched], transport: str
) -> None:
    """CLIENT PAUSE holds replies back for longer than a command may take."""
    watched = await filled(
        watch(Endpoint.from_url(own_server.url), transport=transport, command_timeout_seconds=0.1)
    )
    async with Redis.from_url(own_server.tcp_url) as admin:
        await admin.client_pause(300)
    with pytest.raises(RedisTimeout):
        await watched.client.get("k1")
    await until(lambda: watched.client.ready(), within_s=5)

    assert await watched.client.get("k2") == b"value of k2"
    watched.balanced()


@TRANSPORTS
async def test_a_killed_client_connects_again_and_the_breaker_stays_closed(
    own_server: RedisServer, watch: Callable[..., Watched], transport: str
) -> None:
    """CLIENT KILL: whoever was on the line is told; the server is well, so nobody is shut out."""
    watched = await filled(watch(Endpoint.from_url(own_server.url), transport=transport))
    async with Redis.from_url(own_server.tcp_url) as admin:
        for _ in range(20):
            assert await watched.client.get("k1") == b"value of k1"
            await admin.client_kill_filter(_type="normal", skipme=True)
            await until(lambda: _killed(watched, transport))

    assert watched.balanced()["circuit_opened"] == 0


async def _killed(watched: Watched, transport: str) -> bool:
    if transport == "mux":
        return watched.client.metrics["connections"] == 0
    try:  # a lent connection's end is noticed by whoever borrows it
        return bool(await watched.client.get("k1"))
    except RedisLost:
        return False


async def test_the_cache_pool_serves_misses_while_redis_is_killed_and_hits_when_it_is_back(
    own_server: RedisServer,
) -> None:
    """Reads never fail; a removal does, for whoever asked must know."""
    pools = RedisPools(endpoint=Endpoint.from_url(own_server.tcp_url), probe=lambda _event: None)
    cache = pools.client(PoolType.CACHE)
    await cache.batch_set({"a": 1, "b": 2}, ttl_seconds=60)
    await asyncio.to_thread(own_server.kill)

    for _ in range(30):
        assert await cache.get("a") is None
        assert await cache.batch_get(["a", "b"]) == [None, None]
        await cache.batch_set({"a": 1}, ttl_seconds=5)
        with pytest.raises(Unavailable) as lost:
            await cache.delete("a")
        assert isinstance(lost.value, RedisError)

    await asyncio.to_thread(own_server.restart)

    async def stored() -> bool:
        await cache.batch_set({"a": 1}, ttl_seconds=60)
        return await cache.get("a") == b"1"

    await until(stored)
    metrics = cache.metrics
    assert metrics["calls"] == sum(metrics[name] for name in ("ok", "failed", "rejected", "cancelled"))
    await pools.aclose()
