"""What goes wrong meanwhile: one fault after the other, drawn from a seed, each healed before the next."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from perfkit.pools.fault_proxy.process import FaultProxyProcess
from perfkit.pools.fault_proxy.toxics import StreamToxics, Toxics
from perfkit.pools.server import RedisServer

__all__ = ["Faults"]

_LONG_SHARE = 0.2
"""Of faults that outlast every pool's deadline but that of `analytics`."""


class Faults:
    """Hurts the server and the line to it; the server keeps a log on disk, so a restart forgets nothing."""

    def __init__(self, server: RedisServer, proxy: FaultProxyProcess, rng: random.Random) -> None:
        self._server = server
        self._proxy = proxy
        self._rng = rng
        self.hit: Counter[str] = Counter()
        self._kinds: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self._stall, 4),
            (self._kill_and_restart, 3),
            (self._kill_clients, 4),
            (self._pause, 2),
            (self._reset, 4),
            (self._slow_line, 3),
            (self._swallow_requests, 2),
            (self._swallow_replies, 3),
            (self._cut_replies, 4),
            (self._line_down, 2),
        ]

    async def run(self, mean_rest_s: float, over: asyncio.Event) -> None:
        """Hurt and heal until it is over, resting so long on average between two faults."""
        kinds, weights = zip(*self._kinds, strict=True)
        while not over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), self._rng.expovariate(1 / mean_rest_s))
                return
            hurt = self._rng.choices(kinds, weights)[0]
            self.hit[hurt.__name__.strip("_").replace("_", " ")] += 1
            try:
                await hurt()
            finally:
                await self.heal()

    async def heal(self) -> None:
        """Let nothing be wrong any more."""
        self._proxy.set(Toxics())
        if not self._server.alive():
            await asyncio.to_thread(self._server.restart)
        self._server.resume()

    async def _for_a_while(self) -> None:
        long = self._rng.random() < _LONG_SHARE
        await asyncio.sleep(self._rng.uniform(1.0, 3.0) if long else self._rng.uniform(0.05, 1.0))

    async def _stall(self) -> None:
        self._server.stall()
        await self._for_a_while()

    async def _kill_and_restart(self) -> None:
        await asyncio.to_thread(self._server.kill)
        await self._for_a_while()

    async def _kill_clients(self) -> None:
        await self._tell("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def _pause(self) -> None:
        await self._tell("CLIENT", "PAUSE", self._rng.randrange(50, 500))
        await self._for_a_while()

    async def _reset(self) -> None:
        self._proxy.reset_all()

    async def _slow_line(self) -> None:
        self._proxy.set(Toxics.both(latency_ms=self._rng.uniform(1, 100), jitter_ms=self._rng.uniform(0, 50)))
        await self._for_a_while()

    async def _swallow_requests(self) -> None:
        self._proxy.set(Toxics(requests=StreamToxics(blackhole=True)))
        await self._for_a_while()

    async def _swallow_replies(self) -> None:
        self._proxy.set(Toxics(replies=StreamToxics(blackhole=True)))
        await self._for_a_while()

    async def _cut_replies(self) -> None:
        self._proxy.set(Toxics(replies=StreamToxics(limit_data_bytes=self._rng.randrange(5_000))))
        await self._for_a_while()

    async def _line_down(self) -> None:
        self._proxy.set(Toxics(down=True))
        await self._for_a_while()

    async def _tell(self, *command: str | int) -> None:
        with suppress(RedisError):
            async with Redis.from_url(self._server.url, socket_timeout=2) as admin:
                await admin.execute_command(*command)
