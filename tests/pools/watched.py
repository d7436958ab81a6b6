"""Pools whose breakers are watched, and traffic whose every answer is checked; for tests of faults."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.exceptions import (
    RedisError,
)

from perfkit.errors import PerfkitError, Unavailable
from perfkit.events import CircuitChanged
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, RedisPools

SLACK_S = 0.3
"""What a shared machine may add to a bound; the figures themselves are printed."""


class Watched:
    """Pools whose breakers' changes are noted with their time."""

    def __init__(self, endpoint: Endpoint, **knobs: Any) -> None:
        settings = PoolSettings.model_validate({"retries": 0} | knobs)
        self.changes: list[tuple[float, str]] = []
        self.pools = RedisPools(PoolsSettings(default=settings), endpoint, probe=self._hear)
        self.client = self.pools.client()

    def _hear(self, event: object) -> None:
        if isinstance(event, CircuitChanged):
            self.changes.append((asyncio.get_running_loop().time(), event.after))

    def when(self, state: str, after_s: float) -> float | None:
        return next((at for at, became in self.changes if became == state and at >= after_s), None)

    def balanced(self) -> dict[str, Any]:
        metrics = self.client.metrics
        ends = sum(int(metrics[name]) for name in ("ok", "failed", "rejected", "cancelled"))
        assert metrics["calls"] == ends
        assert (metrics["in_flight"], metrics["waiting"], metrics["own_connections"]) == (0, 0, 0)
        return metrics


class Traffic:
    """Workers that read without pause; each value carries its key, so a wrong reply is seen."""

    def __init__(self, client: OptimizedRedis, workers: int = 32) -> None:
        self._client = client
        self.right = self.wrong = 0
        self.failures: set[type[Exception]] = set()
        self._over = False
        self._tasks = [asyncio.create_task(self._work(n)) for n in range(workers)]

    async def _work(self, n: int) -> None:
        while not self._over:
            try:
                value = await self._client.get(f"k{n}")
            except (RedisError, PerfkitError) as failure:
                self.failures.add(type(failure))
                await asyncio.sleep(0.005)  # as a service that has other things to do
            else:
                self.right += value == f"value of k{n}".encode()
                self.wrong += value not in (None, f"value of k{n}".encode())  # None: a restart forgets

    async def end(self) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)


async def filled(watched: Watched) -> Watched:
    await watched.client.batch_set({f"k{n}": f"value of k{n}" for n in range(32)})
    return watched


def report(what: str, took_s: float, bound_s: float) -> None:
    print(f"{what}: {1000 * took_s:.0f} ms, bound {1000 * bound_s:.0f} ms")
    assert took_s <= bound_s + SLACK_S


async def answers(client: OptimizedRedis) -> bool:
    try:
        return bool(await client.ping())
    except (Unavailable, RedisError):
        return False
