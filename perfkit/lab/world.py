"""The outside, imitated: an origin that takes its time, and a Redis that takes its round trip."""

from __future__ import annotations

import asyncio
import math
import random
from types import SimpleNamespace
from typing import Any

import fakeredis

from perfkit.clock import epoch_s
from perfkit.lab.scenario import World
from perfkit.pools import Endpoint

__all__ = ["ImitatedOrigin", "simulated_endpoint"]


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


def simulated_endpoint(world: World) -> Endpoint:
    """Return a stand-in for Redis that answers after `redis_ms`, on the running loop's clock."""
    _put_fakeredis_on_our_clock()
    delay_s = world.redis_ms / 1_000

    class Delayed(fakeredis.FakeAsyncRedisConnection):
        async def read_response(self, *args: Any, **options: Any) -> Any:
            await asyncio.sleep(delay_s)
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
