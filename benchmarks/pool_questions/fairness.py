"""Whether equal callers get equal turns where connections are fewer than they."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version

from redis.asyncio import Redis

from harness import (
    PROCESSOR,
    WALL,
    Arm,
    Estimate,
    Target,
    interleaved,
    level,
    ratio,
    shown,
    table,
    times,
    verdict,
)
from harness.rounds import Reading
from perfkit.events import null_probe
from perfkit.pools import Endpoint, PoolSettings, PoolsSettings, PoolType, RedisPools
from pool_questions.clients import Clients, redis_py_client
from pool_questions.gets import KEY, VALUE

WORKERS, CONNECTIONS, TURNS = 32, 4, 800
JAIN = "Jain's index"
OURS = "perfkit, transport classic"
THEIRS = f"redis-py {version('redis')}, BlockingConnectionPool({CONNECTIONS})"
TARGET = Target(0.95)


async def of_waiting(found: Clients, url: str, rounds: int) -> str:
    """Let 32 workers compete for 4 connections; 1 is perfect, 1/32 is a monopoly."""
    await found.ours.set(KEY, VALUE)
    patient = PoolSettings(
        transport="classic",
        max_connections=CONNECTIONS,
        acquire_timeout_seconds=60,
        command_timeout_seconds=60,
    )
    pools = RedisPools(PoolsSettings(default=patient), Endpoint.from_url(url), probe=null_probe)
    theirs = redis_py_client(url, CONNECTIONS)
    arms: dict[str, Arm] = {OURS: competing(pools.client(PoolType.DEFAULT)), THEIRS: competing(theirs)}
    readings = await interleaved(arms, rounds)
    await theirs.aclose()
    await pools.aclose()
    rows = []
    for name, reading in readings.items():
        index = level(reading[JAIN])
        costs = [shown(Estimate(level(reading[what]).point)) for what in (WALL, PROCESSOR)]
        against = "" if name == OURS else times(ratio(reading[WALL], readings[OURS][WALL]))
        target = TARGET if name == OURS else None
        rows.append([name, _index(index), str(target or ""), verdict(index, target), *costs, against])
    header = ["", JAIN, "target", "met", "wall µs a GET", "processor µs a GET", "this ÷ perfkit, wall"]
    return table(header, rows)


def competing(client: Redis) -> Callable[[], Awaitable[Reading]]:
    """Return an arm in which equal workers take turns until there were enough."""

    async def arm() -> Reading:
        turns, done = [0] * WORKERS, 0

        async def work(worker: int) -> None:
            nonlocal done
            while done < TURNS:
                if await client.get(KEY) == VALUE:
                    turns[worker] += 1
                    done += 1

        gc.collect()
        wall_s, processor_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*map(work, range(WORKERS)))
        wall_s, processor_s = time.perf_counter() - wall_s, time.process_time() - processor_s
        return {
            JAIN: done**2 / (WORKERS * sum(count * count for count in turns)),
            WALL: wall_s / done * 1e6,
            PROCESSOR: processor_s / done * 1e6,
        }

    return arm


def _index(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.point:.3f}"
    return f"{estimate.point:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
