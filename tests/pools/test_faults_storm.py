"""Many callers at once, half of whom leave: nothing is mixed up, swallowed or leaked; all have their turn."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from perfkit.errors import PoolExhausted
from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolType, RedisPools
from perfkit.pools.server import RedisServer
from tests.pools.waiting import until

Opened = Callable[..., OptimizedRedis]
TRANSPORTS = pytest.mark.parametrize("transport", ["mux", "classic"])
TASKS = 4_000


@TRANSPORTS
@pytest.mark.parametrize("stalled", [False, True])
async def test_a_storm_of_4000_tasks_of_which_half_leave(
    opened: Opened, server: RedisServer, transport: str, stalled: bool
) -> None:
    """0 wrong replies, 0 swallowed cancellations, 0 leaked connections or places, each INCR at most once."""
    client = opened(
        Endpoint.from_url(server.tcp_url),
        transport=transport,
        max_connections=16,
        limit="fixed",
        inflight_initial=1_000,
        inflight_max=10_000,
        acquire_timeout_seconds=60,
        command_timeout_seconds=60,
        slow_call_seconds=60,
    )
    await client.flushdb()
    await client.batch_set({f"k{n}": f"value of k{n}" for n in range(TASKS)})
    rng = random.Random(7)  # noqa: S311  # a plan, not a secret
    told: set[int] = set()

    async def ask(n: int) -> Any:
        if n % 4 == 0:
            return await client.incr(f"n{n}")
        if n % 4 == 1:
            return await client.batch_get([f"k{n}", f"k{n - 1}"])
        if n % 4 == 2:
            return await client.pipeline(transaction=n % 8 == 2).get(f"k{n}").incr(f"n{n}").execute()
        return await client.get(f"k{n}")

    def right(n: int) -> Any:
        value = f"value of k{n}".encode()
        return [1, [value, f"value of k{n - 1}".encode()], [value, 1], value][n % 4]

    if stalled:
        server.stall()
    tasks = [asyncio.create_task(ask(n)) for n in range(TASKS)]
    leaving = rng.sample(range(TASKS), TASKS // 2)
    for at in range(0, len(leaving), 100):
        for n in leaving[at : at + 100]:
            if tasks[n].cancel():
                told.add(n)
        await asyncio.sleep(0)  # one turn: they leave before they are sent, on their way, and just answered
        if stalled and at == 1_000:
            server.resume()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    swallowed = [n for n in told if not tasks[n].cancelled()]
    refused = [n for n, result in enumerate(results) if isinstance(result, PoolExhausted)]
    wrong = [
        (n, result)
        for n, result in enumerate(results)
        if n not in refused and not tasks[n].cancelled() and result != right(n)
    ]
    assert not wrong[:3]
    assert not swallowed
    print(f"{len(told)} of {TASKS} left under way, {len(refused)} were refused")
    assert len(told) > TASKS // 16
    await until(lambda: client.metrics["in_flight"] == 0)  # a reply that nobody waits for still frees a place
    metrics = client.metrics
    assert metrics["calls"] == sum(metrics[end] for end in ("ok", "failed", "rejected", "cancelled"))
    assert (metrics["waiting"], metrics["own_connections"]) == (0, 0)
    assert metrics["failed"] == 0
    assert metrics["connections"] <= (1 if transport == "mux" else 16)
    async with Redis.from_url(server.url) as admin:
        counts = await admin.mget(f"n{n}" for n in range(0, TASKS, 2))
        assert set(counts) <= {None, b"1"}
        mine = [one for one in await admin.client_list() if one["name"].startswith("perfkit")]
        assert len(mine) <= metrics["connections"]
        executed = {n for n, count in zip(range(0, TASKS, 2), counts, strict=True) if count}
    done = {n for n in range(0, TASKS, 2) if not tasks[n].cancelled() and n not in refused}
    assert done <= executed


@TRANSPORTS
async def test_32_workers_on_4_places_have_equal_turns(
    opened: Opened, server: RedisServer, transport: str
) -> None:
    """Jain's index of fairness: 1 when all have as much, 1/32 when one has all; redis-py's pool has 0.13."""
    client = opened(
        Endpoint.from_url(server.url),
        transport=transport,
        max_connections=4,
        limit="fixed",
        inflight_min=1,
        inflight_initial=4,
        acquire_timeout_seconds=60,
    )
    await client.ping()
    turns = [0] * 32
    over = False

    async def work(n: int) -> None:
        while not over:
            await client.get("a")
            turns[n] += 1

    workers = [asyncio.create_task(work(n)) for n in range(32)]
    await until(lambda: sum(turns) > 6_400)
    over = True
    await asyncio.gather(*workers)
    index = sum(turns) ** 2 / (32 * sum(turn * turn for turn in turns))

    print(f"Jain's index on {transport}: {index:.3f}")
    assert index >= 0.95
    assert client.metrics["refusals"] == 0


async def test_a_burst_waits_its_turn_in_every_pool_as_it_comes(server: RedisServer) -> None:
    """500 callers at once are milliseconds of work; a line as short as the limit refused half of them."""
    pools = RedisPools(endpoint=Endpoint.from_url(server.url), probe=null_probe)
    await pools.client().set("a", 1)
    for kind in (PoolType.DEFAULT, PoolType.READ_HEAVY, PoolType.WRITE_HEAVY):  # the others shed on purpose
        client = pools.client(kind).raising
        assert await asyncio.gather(*(client.get("a") for _ in range(500))) == [b"1"] * 500
        assert client.metrics["rejected"] == 0
    await pools.aclose()
