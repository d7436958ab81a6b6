"""Connections are shared out in turn, and nothing that goes wrong loses one."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable, Iterator

import pytest
from fakeredis import FakeServer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from perfkit.errors import PoolExhausted, Unavailable
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings
from perfkit.pools.fair import FairPool
from perfkit.pools.server import RedisServer

Opened = Callable[..., OptimizedRedis]


@pytest.fixture
def own_server(server: RedisServer) -> Iterator[RedisServer]:
    """A server a test may stop, stall and kill."""
    with RedisServer.start() as started:
        yield started


@pytest.fixture
def pool_of_two() -> FairPool:
    """Two connections to the stand-in, and little patience."""
    settings = PoolSettings(max_connections=2, acquire_timeout_seconds=0.02)
    return FairPool("default", settings, **Endpoint.embedded().connection)


async def test_equal_workers_get_equal_turns(opened: Opened, endpoint: Endpoint) -> None:
    """Of 32 workers over 4 connections none is starved: their turns differ by one round at most."""
    client = opened(endpoint, transport="classic", max_connections=4, acquire_timeout_seconds=30)
    turns = [0] * 32

    async def work(worker: int) -> None:
        while sum(turns) < 1_600:
            await client.ping()
            turns[worker] += 1

    await asyncio.gather(*map(work, range(32)))

    jain = sum(turns) ** 2 / (len(turns) * sum(n * n for n in turns))
    assert jain > 0.99
    assert (await client.get_metrics())["waits"] > 1_000


async def test_whoever_waits_longest_is_next(pool_of_two: FairPool) -> None:
    """A caller that comes when a connection has just been given back stands behind those who wait."""
    held = [await pool_of_two.get_connection() for _ in range(2)]
    order: list[int] = []

    async def turn(number: int) -> None:
        connection = await pool_of_two.get_connection()
        order.append(number)
        await pool_of_two.release(connection)

    tasks = [asyncio.create_task(turn(number)) for number in range(4)]
    await asyncio.sleep(0)
    await pool_of_two.release(held[0])
    await turn(99)
    await asyncio.gather(*tasks)

    assert order == [0, 1, 2, 3, 99]


async def test_patience_ends_with_the_pool_s_name_and_the_time(pool_of_two: FairPool) -> None:
    """A full pool refuses after `acquire_timeout_seconds`, and serves again once there is room."""
    held = [await pool_of_two.get_connection() for _ in range(2)]

    with pytest.raises(PoolExhausted, match="All 2 connections of pool default") as refused:
        await pool_of_two.get_connection()

    assert (refused.value.pool, refused.value.waited_seconds) == ("default", 0.02)
    assert (pool_of_two.refusals, pool_of_two.waits, pool_of_two.waiting) == (1, 1, 0)
    await pool_of_two.release(held[0])
    assert await pool_of_two.get_connection() is held[0]


async def test_a_connection_given_back_twice_frees_one_place_only(pool_of_two: FairPool) -> None:
    """The second time is an error of the caller and must not let a third connection in."""
    first, _second = [await pool_of_two.get_connection() for _ in range(2)]
    await pool_of_two.release(first)

    with pytest.raises(KeyError):
        await pool_of_two.release(first)

    await pool_of_two.get_connection()
    with pytest.raises(PoolExhausted):
        await pool_of_two.get_connection()


async def test_a_closed_pool_refuses_those_who_wait_and_those_who_come(pool_of_two: FairPool) -> None:
    """Nothing is opened after `aclose`, and what is lent out is closed when it comes back."""
    held = [await pool_of_two.get_connection() for _ in range(2)]
    waiter = asyncio.create_task(pool_of_two.get_connection())
    await asyncio.sleep(0)

    await pool_of_two.aclose()
    await pool_of_two.release(held[0])

    for late in (waiter, pool_of_two.get_connection()):
        with pytest.raises(Unavailable, match="is closed"):
            await late
    await pool_of_two.release(held[1])
    assert (pool_of_two.idle, pool_of_two.in_use) == (0, 0)


async def test_a_storm_of_cancellations_loses_nothing(opened: Opened, endpoint: Endpoint) -> None:
    """Every cancel is heard, every survivor gets its own key's value, every connection comes back."""
    client = opened(
        endpoint,
        transport="classic",
        max_connections=4,
        acquire_timeout_seconds=30,
        command_timeout_seconds=30,
    )
    await client.batch_set({f"k{n}": n for n in range(600)})
    chance = random.Random(7)  # noqa: S311  # a storm is no secret
    tasks = [asyncio.create_task(client.get(f"k{n}")) for n in range(600)]
    cancelled = set()

    while not all(task.done() for task in tasks):
        victim = chance.randrange(600)
        if chance.random() < 0.5 and tasks[victim].cancel():
            cancelled.add(victim)
        await asyncio.sleep(0)

    results = await asyncio.gather(*tasks, return_exceptions=True)
    for number, result in enumerate(results):
        if number in cancelled:
            assert isinstance(result, asyncio.CancelledError)
        else:
            assert result == str(number).encode()
    assert 50 < len(cancelled) < 550
    assert await client.batch_get([f"k{n}" for n in range(600)]) == [str(n).encode() for n in range(600)]
    metrics = await client.get_metrics()
    assert (metrics["own_connections"], metrics["waiting"]) == (0, 0)
    assert metrics["connections"] <= 4


async def test_an_unread_reply_never_reaches_the_next_caller(opened: Opened, endpoint: Endpoint) -> None:
    """A connection that comes back dirty is replaced before it is lent again."""
    client = opened(endpoint, transport="classic", max_connections=1)
    await client.batch_set({"a": "of a", "b": "of b"})
    connection = await client.connection_pool.get_connection()
    await connection.send_command("GET", "a")
    await client.connection_pool.release(connection)
    await asyncio.sleep(0.01)  # the reply is on its way

    assert await client.get("b") == b"of b"


async def test_a_stalled_server_costs_one_deadline_and_no_mix_up(
    opened: Opened, own_server: RedisServer
) -> None:
    """Commands and pipelines are given up in time; after the stall replies belong to their callers."""
    client = opened(
        Endpoint.from_url(own_server.url),
        transport="classic",
        max_connections=2,
        command_timeout_seconds=0.2,
        retries=0,
    )
    await client.batch_set({"a": "of a", "b": "of b", "n": 0})
    await asyncio.gather(client.ping(), client.ping())  # both connections are open
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(RedisTimeoutError, match=r"INCRBY on pool default took longer than 0\.2 s"):
            await client.incr("n")
        with pytest.raises(RedisTimeoutError, match="A pipeline of 2 commands"):
            await client.pipeline(transaction=False).get("a").get("a").execute()
    finally:
        os.kill(own_server.pid, signal.SIGCONT)

    assert await client.get("b") == b"of b"
    assert await client.get("n") in (b"0", b"1"), "INCR was sent twice"
    metrics = await client.get_metrics()
    assert (metrics["timeouts"], metrics["failed"], metrics["own_connections"]) == (3, 3, 0)


async def test_a_server_that_accepts_but_never_greets_is_given_up(
    opened: Opened, own_server: RedisServer
) -> None:
    """The connect deadline covers the handshake; cancelling in the midst of it leaves nothing half open."""
    classic = {"transport": "classic", "max_connections": 1}
    client = opened(Endpoint.from_url(own_server.url), connect_timeout_seconds=0.05, **classic)
    patient = opened(Endpoint.from_url(own_server.url), connect_timeout_seconds=30, **classic)
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(RedisTimeoutError, match=r"not ready within 0\.05 s"):
            await client.ping()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await patient.ping()
    finally:
        os.kill(own_server.pid, signal.SIGCONT)

    for pool in (client, patient):
        assert (await pool.get_metrics())["connections"] == 0
        assert await pool.ping()


async def test_a_killed_server_fails_every_command_and_keeps_no_connection(
    opened: Opened,
    own_server: RedisServer,
) -> None:
    """Callers in flight and callers in line all hear of it; nobody hangs."""
    client = opened(
        Endpoint.from_url(own_server.tcp_url),
        transport="classic",
        max_connections=2,
        acquire_timeout_seconds=5,
    )
    await client.ping()
    os.kill(own_server.pid, signal.SIGKILL)

    results = await asyncio.gather(*(client.get("a") for _ in range(20)), return_exceptions=True)

    assert all(isinstance(result, Unavailable) for result in results)
    metrics = await client.get_metrics()
    assert (metrics["own_connections"], metrics["connections"], metrics["waiting"]) == (0, 0, 0)


async def test_the_stand_in_can_go_away_and_come_back(opened: Opened) -> None:
    """An outage of the embedded server looks like a real one, and ends like one."""
    fake = FakeServer(version=(7,))
    client = opened(Endpoint.embedded(fake))
    await client.set("a", 1)

    fake.connected = False
    with pytest.raises(RedisConnectionError):
        await client.get("a")
    fake.connected = True

    assert await client.get("a") == b"1"
