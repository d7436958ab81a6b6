"""Of many processes that miss the same, one computes; and nobody waits longer than the lease."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import struct
from collections.abc import Iterator
from typing import Any

import fakeredis
import pytest
import redis as redis_py
from redis.exceptions import ConnectionError as RedisConnectionError

from perfkit.cache.lock import RemoteLock
from perfkit.clock import now_s
from perfkit.events import Event, RemoteFailed, null_probe
from perfkit.lab.virtual import run_virtual
from perfkit.pools import Endpoint, PoolType, RedisPools
from perfkit.pools.server import RedisServer, find_server
from perfkit.pools.server.cluster import ClusterServer
from tests.cache.lock_process import serve_once

KEY = "users:7"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A real server of this module's own."""
    if find_server() is None:
        pytest.skip("no Redis server to start; install perfkit[server]")
    with RedisServer.start() as started:
        yield started


def locks(client: object, **options: object) -> RemoteLock:
    """With waits that are the same in every run."""
    rng = random.Random(7)  # noqa: S311  # jitter, not a secret
    given = {"prefix": "p:", "lease_seconds": 10.0, "rng": rng, "probe": null_probe} | options
    return RemoteLock(client, **given)  # type: ignore[arg-type]


class Away:
    """A Redis that is not there."""

    async def execute_command(self, *_args: Any) -> Any:
        raise RedisConnectionError("gone")


async def nothing() -> None:
    """What has not arrived."""


def test_one_takes_it_and_the_next_only_after_it_was_given_back() -> None:
    """The token tells whose it is."""

    async def play() -> None:
        client = fakeredis.FakeAsyncRedis()
        here, there = locks(client), locks(client)
        token = await here.acquire(KEY)
        assert token
        assert await there.acquire(KEY) is None
        assert await here.acquire(KEY) is None
        assert await there.acquire("users:8")

        await there.release(KEY, "somebody else's")
        assert await there.acquire(KEY) is None
        await here.release(KEY, token)
        assert await there.acquire(KEY)
        assert (here.acquired, there.acquired) == (1, 2)

    run_virtual(play())


async def test_a_lock_ends_with_its_lease_and_its_late_holder_takes_nobody_else_s() -> None:
    """A holder that died is not waited for; one that was slow releases what is no longer its own."""
    client = fakeredis.FakeAsyncRedis()
    here, there = locks(client, lease_seconds=0.02), locks(client)
    late = await here.acquire(KEY)
    await asyncio.sleep(0.03)
    token = await there.acquire(KEY)
    assert token
    assert late
    await here.release(KEY, late)

    assert await client.exists("p:%lock:users:7")


async def test_a_lease_of_nothing_lets_everybody_compute() -> None:
    """And asks Redis nothing."""
    lock = locks(Away(), lease_seconds=0.0)

    assert await lock.acquire(KEY) == await lock.acquire(KEY) == RemoteLock.UNLOCKED
    assert lock.failures == 0


async def test_when_redis_is_away_everybody_computes_and_it_is_said() -> None:
    """Nothing is raised, nobody waits."""
    events: list[Event] = []
    lock = locks(Away(), probe=events.append)

    token = await lock.acquire(KEY)
    assert token == RemoteLock.UNLOCKED
    await lock.release(KEY, token)
    await lock.release(KEY, "a token")
    assert await lock.wait(KEY, has_arrived=nothing) is None

    assert lock.failures == 3
    assert all(isinstance(event, RemoteFailed) and event.operation == "lock" for event in events)


def test_who_waits_gets_what_was_computed_soon_after_it_is_there() -> None:
    """Within the longest interval; Redis is asked a few dozen times a second, not hundreds."""

    async def play() -> None:
        client = fakeredis.FakeAsyncRedis()
        here, there = locks(client), locks(client)
        token = await here.acquire(KEY)
        assert token
        arrived: list[str] = []

        async def has_arrived() -> str | None:
            return arrived[0] if arrived else None

        waiting = asyncio.create_task(there.wait(KEY, has_arrived=has_arrived))
        await asyncio.sleep(2.0)
        assert not waiting.done()
        arrived.append("answer")
        await here.release(KEY, token)
        done_s = now_s()

        assert await waiting == "answer"
        assert now_s() - done_s < 0.151
        assert there.waits == 1

    run_virtual(play())


def test_who_waits_goes_on_when_the_lock_ends_with_nothing_to_show() -> None:
    """The holder's origin failed, say: then another tries."""

    async def play() -> None:
        client = fakeredis.FakeAsyncRedis()
        here, there = locks(client), locks(client)
        token = await here.acquire(KEY)
        assert token
        waiting = asyncio.create_task(there.wait(KEY, has_arrived=nothing))
        await asyncio.sleep(0.5)
        await here.release(KEY, token)

        assert await waiting is None
        assert now_s() < 0.7
        assert await there.acquire(KEY)

    run_virtual(play())


@pytest.mark.parametrize(("longest", "waited_s"), [(None, 10.0), (0.3, 0.3), (0.0, 0.0)])
def test_nobody_waits_longer_than_the_lease_or_than_he_likes(longest: float | None, waited_s: float) -> None:
    """Even if the lock is taken again and again."""

    async def play() -> float:
        client = fakeredis.FakeAsyncRedis()
        await client.set("p:%lock:users:7", "another's, for ever")
        assert await locks(client).wait(KEY, has_arrived=nothing, longest_seconds=longest) is None
        return now_s()

    assert run_virtual(play()) == pytest.approx(waited_s, abs=0.01)


def test_four_processes_that_miss_at_once_ask_the_origin_once(server: RedisServer) -> None:
    """On a real server; all get the one answer."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=serve_once, args=(server.url, barrier, answers), daemon=True) for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)

    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert [answers.get(timeout=10) for _ in processes] == [struct.pack(">q", 1)] * 4
    with redis_py.Redis.from_url(server.url) as client:
        assert client.get("origin calls") == b"1"
        assert client.exists("p:%lock:users:7") == 0


async def test_locks_work_in_a_cluster() -> None:
    """Each on the node of its name."""
    with ClusterServer.start() as cluster:
        pools = RedisPools(endpoint=Endpoint.from_url(cluster.url), probe=null_probe)
        here, there = (locks(pools.client(PoolType.CACHE).raising) for _ in range(2))
        for number in range(20):
            token = await here.acquire(f"users:{number}")
            assert token
            assert await there.acquire(f"users:{number}") is None
            await here.release(f"users:{number}", token)
            assert await there.acquire(f"users:{number}")
        assert (here.failures, there.failures) == (0, 0)
        await pools.aclose()
