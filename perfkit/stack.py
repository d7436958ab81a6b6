"""The composition root: from one `Settings` value to the running parts of a service.

Everything that is not a setting (where Redis is, what time it is, who listens) comes in through `Outside`,
so the laboratory can run this very stack in virtual time or against a server of its own.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfkit.cache import TieredCache, Tiers
from perfkit.clock import Clock, epoch_s, now_s
from perfkit.events import Probe, log_probe
from perfkit.pools import Endpoint, PoolType, RedisPools
from perfkit.settings import Settings

if TYPE_CHECKING:
    from perfkit.vertex import OptimizedVertexAIService, Transport

__all__ = ["Outside", "Stack"]


@dataclass(frozen=True, slots=True)
class Outside:
    """What a stack needs of the world beyond its settings.

    `endpoint` and `vertex` None mean: as the environment says, and the embedded default when it says nothing.
    `rng` draws when answers are renewed early; one with a seed makes a run repeatable.
    """

    endpoint: Endpoint | None = None
    clock: Clock = now_s
    epoch: Clock = epoch_s
    probe: Probe = log_probe
    key_prefix: str = "perfkit:"
    rng: random.Random | None = None
    vertex: Transport | str | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """The parts of a service, built from one settings value and closed together.

    >>> import asyncio
    >>> from perfkit.pools import Endpoint
    >>> async def service() -> object:
    ...     async with Stack.open(Settings(), outside=Outside(endpoint=Endpoint.embedded())) as stack:
    ...         await stack.cache.set("greeting", {"hello": "world"})
    ...         return await stack.cache.get("greeting")
    >>> asyncio.run(service())
    {'hello': 'world'}
    """

    settings: Settings
    pools: RedisPools
    cache: TieredCache
    outside: Outside = field(default_factory=Outside)
    _opened: list[OptimizedVertexAIService] = field(default_factory=list, repr=False)

    @property
    def vertex(self) -> OptimizedVertexAIService:
        """The Vertex AI client, made when it is first asked for: not every service has one.

        Raises:
            RealServerRequired: no project is configured, and `PERFKIT_REQUIRE_REAL=1` forbids the emulator.
        """
        if not self._opened:
            from perfkit.vertex import OptimizedVertexAIService

            outside = self.outside
            self._opened.append(
                OptimizedVertexAIService(
                    settings=self.settings.vertex,
                    cache=self.cache,
                    transport=outside.vertex,
                    clock=outside.clock,
                    rng=outside.rng,
                    probe=outside.probe,
                )
            )
        return self._opened[0]

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings | None = None, *, outside: Outside | None = None
    ) -> AsyncIterator[Stack]:
        """Build the stack, and close it when the block ends.

        Args:
            settings: Default: as the environment says (`Settings.from_env`).
            outside: Default: the real clocks and the environment's Redis.

        Raises:
            SettingsError: the environment names no knob or a refused value.
            RealServerRequired: no Redis is configured and `PERFKIT_REQUIRE_REAL=1` forbids the embedded one.
        """
        settings = Settings.from_env() if settings is None else settings
        outside = Outside() if outside is None else outside
        pools = RedisPools(settings.pools, outside.endpoint, probe=outside.probe)
        tiers = Tiers.over(
            pools.client(PoolType.CACHE).raising,
            settings.cache,
            prefix=outside.key_prefix,
            alone=outside.endpoint is None and pools.endpoint.backend == "fakeredis",
            clock=outside.clock,
            epoch=outside.epoch,
            probe=outside.probe,
            rng=outside.rng,
        )
        stack = cls(settings, pools, TieredCache(tiers=tiers), outside)
        try:
            yield stack
        finally:
            for service in stack._opened:
                await service.aclose()
            await stack.cache.aclose()
            await pools.aclose()
