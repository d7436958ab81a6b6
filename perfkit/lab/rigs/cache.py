"""The cache rig: a shipping `Stack` bolted to an imitated origin, asked a recorded workload.

The same rig serves the simulation (virtual loop, fakeredis with a delay) and the measurement (wall clock,
real server): only the endpoint and the loop differ.
"""

from __future__ import annotations

import gc
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from perfkit.cache import TieredCache
from perfkit.events import null_probe
from perfkit.knobs import Value
from perfkit.lab.histogram import from_ms
from perfkit.lab.load import PlayedClock, play
from perfkit.lab.model import CacheModel
from perfkit.lab.replay import replay
from perfkit.lab.results import Histogram, Validity
from perfkit.lab.scenario import World
from perfkit.lab.workload import Workload
from perfkit.lab.world import ImitatedOrigin
from perfkit.pools import Endpoint, PoolType
from perfkit.settings import Settings
from perfkit.stack import Outside, Stack

__all__ = ["MODELLED_KNOBS", "CacheRig", "Observation", "modelled", "modelled_hits"]

MODELLED_KNOBS = ("cache.l1_max_entries", "cache.l1_ttl_seconds", "cache.l2_ttl_seconds")
"""The knobs whose every combination is modelled in one pass; other axes are simulated."""

_PAYLOAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Observation:
    """What one stretch of a workload gave."""

    metrics: dict[str, float]
    responses: Histogram
    validity: Validity
    remote_errors: int


class CacheRig:
    """One arm's stack, standing at a position of the workload."""

    def __init__(self, stack: Stack, clock: PlayedClock, workload: Workload, origin: ImitatedOrigin) -> None:
        self._stack = stack
        self._clock = clock
        self._workload = workload
        self._origin = origin
        self._payload = random.Random(0).randbytes(_PAYLOAD_BYTES)  # noqa: S311  # incompressible filler
        self.position = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        workload: Workload,
        world: World,
        endpoint: Endpoint,
        *,
        seed: int,
        key_prefix: str,
    ) -> AsyncIterator[CacheRig]:
        """Build the arm's stack; its keys are removed from the server when the block ends."""
        clock = PlayedClock()
        outside = Outside(endpoint, clock, clock.epoch, null_probe, key_prefix)
        async with Stack.open(settings, outside=outside) as stack:
            try:
                yield cls(stack, clock, workload, ImitatedOrigin(world, seed))
            finally:
                await _remove_keys(stack, key_prefix)

    async def warm(self, stop: int) -> None:
        """Ask the requests from the position up to `stop`, one after another, without waiting for origins.

        The clock stands at each request's own time, so the cache is left as if the time had passed.
        """
        times, objects = self._workload.times_s, self._workload.objects
        for index in range(self.position, stop):
            self._clock.stand_at(float(times[index]))
            await self._ask(index, int(objects[index]), wait=False)
        self.position = max(self.position, stop)

    async def play(self, stop: int, *, rate_per_s: float | None) -> Observation:
        """Ask the requests from the position up to `stop` as they are due and say what came of it.

        Args:
            stop: The first request not asked.
            rate_per_s: How fast requests arrive on the loop's clock; None for as fast as they were recorded.
        """
        start, self.position = self.position, stop
        times = self._workload.times_s[start:stop]
        span_s = float(times[-1] - times[0])
        speed = 1.0 if rate_per_s is None or span_s <= 0 else rate_per_s * span_s / len(times)
        objects = self._workload.objects[start:stop].tolist()
        tiers = [""] * len(objects)
        ages, l1_ages = np.zeros(len(objects)), np.zeros(len(objects))

        async def send(index: int) -> None:
            result = await self._ask(start + index, objects[index], wait=True)
            tiers[index], ages[index], l1_ages[index] = result

        memory = self._stack.cache.memory
        memory.reset_peak()
        errors_before = self._cache.stats().remote_errors
        gc.collect()  # now, because `play` lets none happen while requests are due
        self._clock.run_from(float(times[0]), speed=speed)
        played = await play((times - times[0]) / speed, send)
        self._clock.stand_at(float(times[-1]))
        response_ms = played.response_ms
        return Observation(
            _metrics(tiers, ages, l1_ages, response_ms) | {"l1_peak_bytes": float(memory.peak_bytes)},
            from_ms(response_ms),
            played.validity(virtual=rate_per_s is None),
            self._cache.stats().remote_errors - errors_before,
        )

    @property
    def _cache(self) -> TieredCache:
        return self._stack.cache

    async def _ask(self, index: int, number: int, *, wait: bool) -> tuple[str, float, float]:
        key = self._workload.keys[number]

        async def load() -> bytes:
            if wait:
                await self._origin(key)
            size = int(self._workload.sizes[index])
            offset = number * 4099 % max(_PAYLOAD_BYTES - size, 1)
            return self._payload[offset : offset + size]

        result = await self._cache.lookup(key, load)
        return result.tier, result.age_seconds, result.l1_age_seconds


def modelled(
    settings: list[Settings], workload: Workload, world: World, *, start: int
) -> list[dict[str, float]]:
    """Model many settings in one pass, counting the requests from `start` on.

    The model is exact for the policy `lru` on one instance; see `perfkit.lab.model`.
    """
    cells = [(s.cache.l1_max_entries, s.cache.l1_ttl_seconds, s.cache.l2_ttl_seconds) for s in settings]
    return CacheModel(workload).grid(cells, start=start, world=world)


def modelled_hits(settings: Settings, workload: Workload, *, counted: Sequence[range]) -> Mapping[str, float]:
    """Model the hit ratios of one setting over stretches of a workload, with the setting's own policy."""
    return replay(settings.cache, workload, counted=counted)


def changed(settings: Settings, baseline: Settings) -> dict[str, Value]:
    """Return the knobs in which two settings differ, with the first one's values."""
    return {change.path: change.new for change in baseline.diff(settings)}


def _metrics(
    tiers: list[str], ages: np.ndarray, l1_ages: np.ndarray, response_ms: np.ndarray
) -> dict[str, float]:
    n = len(tiers)
    loads, reads = tiers.count("origin"), tiers.count("origin") + tiers.count("l2")
    return {
        "response_mean_ms": float(response_ms.mean()),
        "response_p50_ms": float(np.quantile(response_ms, 0.5)),
        "response_p95_ms": float(np.quantile(response_ms, 0.95)),
        "response_p99_ms": float(np.quantile(response_ms, 0.99)),
        "origin_calls_per_request": loads / n,
        "redis_reads_per_request": reads / n,
        "hit_ratio": 1 - loads / n,
        "l1_hit_ratio": 1 - reads / n,
        "age_p95_seconds": float(np.quantile(ages, 0.95)),
        "l1_age_p95_seconds": float(np.quantile(l1_ages, 0.95)),
    }


async def _remove_keys(stack: Stack, key_prefix: str) -> None:
    client = stack.pools.client(PoolType.DEFAULT)
    try:
        keys = [key async for key in client.scan_iter(match=f"{key_prefix}*", count=1_000)]
        await client.batch_delete([key.decode() for key in keys])
    except Exception:  # noqa: S110  # the server may be gone; its keys then are too, or expire by themselves
        pass
