"""Pools: what batches and fair waiting are worth, against redis-py's own, on one server of our own.

Rounds are interleaved, so that a slow moment of the machine hurts every arm alike; a table is printed.

    python benchmarks/pools.py
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from redis.asyncio import BlockingConnectionPool, Redis

from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, RedisPools
from perfkit.pools.server import open_endpoint

ROUNDS = 7
KEYS = [f"key:{number}" for number in range(500)]
WORKERS, CONNECTIONS, TURNS = 32, 4, 2_000

Arm = Callable[[], Awaitable[float]]


async def main(endpoint: Endpoint, backend: str) -> None:
    """Measure every arm and print the table."""
    settings = PoolSettings(
        max_connections=CONNECTIONS, acquire_timeout_seconds=60, command_timeout_seconds=60
    )
    pools = RedisPools(PoolsSettings(default=settings), endpoint, probe=null_probe)
    ours = pools.client()
    blocking = BlockingConnectionPool(max_connections=CONNECTIONS, timeout=60, **endpoint.connection)
    theirs = Redis(connection_pool=blocking)
    await ours.batch_set(dict.fromkeys(KEYS, b"x" * 100))

    print(f"{backend}; {ROUNDS} interleaved rounds, medians")
    await show(
        f"processor µs a key, {len(KEYS)} keys",
        {"batch_get": lambda: batched(ours), "loop of get": lambda: looped(ours)},
    )
    await show(
        f"Jain's fairness index, {WORKERS} workers on {CONNECTIONS} connections",
        {"FairPool": lambda: fairness(ours), "BlockingConnectionPool": lambda: fairness(theirs)},
    )
    await show(
        "processor µs a command, the same workers",
        {"FairPool": lambda: crowd(ours), "BlockingConnectionPool": lambda: crowd(theirs)},
    )
    await blocking.aclose()
    await pools.aclose()


async def show(title: str, arms: dict[str, Arm]) -> None:
    """Print the medians of one question's arms, and what the second is of the first, round by round."""
    rounds = [[await arm() for arm in arms.values()] for _ in range(ROUNDS)]
    ratio = statistics.median(second / first for first, second in rounds)
    print(f"\n{title}")
    for name, values in zip(arms, zip(*rounds, strict=True), strict=True):
        print(f"  {name:<24}{statistics.median(values):>10.3f}")
    print(f"  {'second / first':<24}{ratio:>10.3f}")


async def batched(client: OptimizedRedis) -> float:
    """Read all keys in one batch."""
    start = time.process_time()
    await client.batch_get(KEYS)
    return (time.process_time() - start) / len(KEYS) * 1e6


async def looped(client: OptimizedRedis) -> float:
    """Read all keys one by one."""
    start = time.process_time()
    for key in KEYS:
        await client.get(key)
    return (time.process_time() - start) / len(KEYS) * 1e6


async def turns_of_workers(client: Redis) -> list[int]:
    """Let equal workers compete and count the turns of each."""
    turns = [0] * WORKERS

    async def work(worker: int) -> None:
        while sum(turns) < TURNS:
            await client.get(KEYS[worker])
            turns[worker] += 1

    await asyncio.gather(*map(work, range(WORKERS)))
    return turns


async def fairness(client: Redis) -> float:
    """Return Jain's index: 1 when all have equal turns, 1/n when one has all."""
    turns = await turns_of_workers(client)
    return sum(turns) ** 2 / (len(turns) * sum(count * count for count in turns))


async def crowd(client: Redis) -> float:
    """Return the processor time of one command when many wait."""
    start = time.process_time()
    turns = await turns_of_workers(client)
    return (time.process_time() - start) / sum(turns) * 1e6


if __name__ == "__main__":
    with open_endpoint() as (chosen, name):
        asyncio.run(main(chosen, name))
