"""The outside, imitated: an origin that takes its time, and a Redis that takes its round trip."""

from __future__ import annotations

import asyncio
import math
import random
from types import SimpleNamespace
from typing import Any

import fakeredis
from redis.exceptions import ConnectionError as RedisConnectionError

from perfkit.clock import epoch_s
from perfkit.lab.scenario import World
from perfkit.lab.traffic import Fault
from perfkit.pools import Endpoint

__all__ = ["ImitatedOrigin", "SimulatedFaults", "simulated_endpoint"]


class ImitatedOrigin:
    """Waits as long as a paid call would take: lognormal around `origin_ms`.

    How long the n-th call for a key takes depends on seed, key and n alone, so every arm of a comparison
    meets the same luck (common random numbers).
    """

    def __init__(self, world: World, seed: int) -> None:
        self._median_s = world.origin_ms / 1_000
        self._sigma = world.origin_sigma
        self._seed = seed
        self._calls: dict[str, int] = {}

    async def __call__(self, key: str) -> None:
        """Wait for one call's time."""
        number = self._calls[key] = self._calls.get(key, 0) + 1
        luck = random.Random(f"{self._seed}/{key}/{number}").gauss(0, self._sigma)  # noqa: S311  # repeatable
        await asyncio.sleep(self._median_s * math.exp(luck))


class SimulatedFaults:
    """What befalls the stand-in: a stall and a blackhole keep replies back, a reset ends connections."""

    def __init__(self) -> None:
        self._answers = asyncio.Event()
        self._answers.set()
        self.resets = 0
        """How often every connection was closed."""

    async def strike(self, fault: Fault) -> None:
        """Let a fault happen, and return when it is over."""
        if fault.kind == "reset":
            self.resets += 1
            return
        self._answers.clear()
        await asyncio.sleep(fault.seconds)
        self._answers.set()

    async def over(self) -> None:
        """Wait until replies come again; mostly that is now."""
        await self._answers.wait()


def simulated_endpoint(delay_ms: float, faults: SimulatedFaults | None = None) -> Endpoint:
    """Return a stand-in for Redis that answers after a delay on the running loop's clock, unless struck."""
    _put_fakeredis_on_our_clock()
    delay_s, fate = delay_ms / 1_000, faults or SimulatedFaults()

    class Delayed(fakeredis.FakeAsyncRedisConnection):
        async def read_response(self, *args: Any, **options: Any) -> Any:
            before = fate.resets
            await asyncio.sleep(delay_s)
            await fate.over()
            if fate.resets != before:  # an idle connection is opened again before its next use, unseen
                await self.disconnect(nowait=True)
                raise RedisConnectionError("The connection was reset.")
            return await super().read_response(*args, **options)

    return Endpoint.embedded(fakeredis.FakeServer(version=(7,)), Delayed)


def _put_fakeredis_on_our_clock() -> None:
    """Let keys expire by `perfkit.clock`: outside a virtual loop that is the time fakeredis had anyway.

    These are private names of fakeredis; a test fails when they move.
    """
    from fakeredis import _helpers
    from fakeredis._socket import _base

    clock = SimpleNamespace(time=epoch_s)
    setattr(_base, "time", clock)  # noqa: B010  # neither module exports the name
    setattr(_helpers, "time", clock)  # noqa: B010
