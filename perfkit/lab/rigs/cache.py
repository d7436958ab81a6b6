"""The cache rig: a shipping `Stack` bolted to an imitated origin, asked a recorded workload.

The same rig serves the simulation (virtual loop, fakeredis with a delay) and the measurement (wall clock,
real server): only the endpoint and the loop differ.
"""

from __future__ import annotations

import gc
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np

from perfkit.cache import TieredCache
from perfkit.errors import ScenarioError
from perfkit.events import null_probe
from perfkit.lab.compare import Fit
from perfkit.lab.histogram import from_ms
from perfkit.lab.line import Line
from perfkit.lab.load import PlayedClock, play
from perfkit.lab.model import CacheModel
from perfkit.lab.replay import replay
from perfkit.lab.results import TrialResult
from perfkit.lab.rigs.rig import Asked, Observation
from perfkit.lab.scenario import Scenario, World
from perfkit.lab.workload import Workload
from perfkit.lab.world import ImitatedOrigin
from perfkit.pools import PoolType
from perfkit.settings import Settings
from perfkit.stack import Outside, Stack

__all__ = ["CACHE", "CacheRig"]

_PAYLOAD_BYTES = 1 << 20


class CacheRig:
    """What the settings of the cache come to."""

    modelled_knobs = ("cache.l1_max_entries", "cache.l1_ttl_seconds", "cache.l2_ttl_seconds")
    metrics = frozenset(
        {
            *("response_mean_ms", "response_p50_ms", "response_p95_ms", "response_p99_ms"),
            *("origin_calls_per_request", "redis_reads_per_request", "hit_ratio", "l1_hit_ratio"),
            *("age_p95_seconds", "l1_age_p95_seconds", "l1_peak_bytes"),
        }
    )
    simulates = True

    def check(self, scenario: Scenario) -> None:
        """Refuse traffic: what the cache is asked is its workload, and nothing else."""
        if scenario.traffic is not None:
            raise ScenarioError(
                "A question about the cache has no traffic; its requests are the workload's. "
                "Remove traffic, or ask it of the rig pools.",
                path="traffic",
            )

    def model(
        self, settings: Sequence[Settings], asked: Asked, *, rtt_ms: float | None
    ) -> list[dict[str, float]]:
        """Model many settings in one pass.

        The model is exact for the policy `lru` on one instance; see `perfkit.lab.model`.
        """
        cells = [(s.cache.l1_max_entries, s.cache.l1_ttl_seconds, s.cache.l2_ttl_seconds) for s in settings]
        start, world = asked.scenario.simulate.warmup, asked.scenario.world.at(rtt_ms)
        return CacheModel(asked.workload).grid(cells, start=start, world=world)

    def simulated_delay_ms(self, world: World) -> float:
        """One round trip."""
        return world.round_trip_ms

    @asynccontextmanager
    async def open(
        self, settings: Settings, asked: Asked, line: Line, *, seed: int, key_prefix: str
    ) -> AsyncIterator[OpenCache]:
        """Build the arm's stack; its keys are removed from the server when the block ends."""
        clock = PlayedClock()
        outside = Outside(line.endpoint, clock, clock.epoch, null_probe, key_prefix)
        async with Stack.open(settings, outside=outside) as stack:
            try:
                yield OpenCache(stack, clock, asked.workload, ImitatedOrigin(line.world, seed))
            finally:
                await _remove_keys(stack, key_prefix)

    def fits(self, settings: Settings, asked: Asked, rows: Sequence[TrialResult]) -> list[Fit]:
        """Replay the rounds that count through the setting's own policy; hit ratios know no round trip."""
        stage = asked.scenario.measure
        assert stage is not None  # noqa: S101  # there are measured rows
        per_round = stage.requests // stage.rounds
        starts = [stage.warmup + row.trial.round * per_round for row in rows]
        counted = [range(start, start + per_round) for start in starts]
        hits = replay(settings.cache, asked.workload, counted=counted)
        measured = {metric: sum(row.metrics[metric] for row in rows) / len(rows) for metric in hits}
        arm = rows[0].trial.arm
        return [Fit(metric=m, arm=arm, modelled=hits[m], measured=measured[m]) for m in hits]


CACHE = CacheRig()


class OpenCache:
    """One arm's stack, standing at a position of the workload."""

    def __init__(self, stack: Stack, clock: PlayedClock, workload: Workload, origin: ImitatedOrigin) -> None:
        self._stack = stack
        self._clock = clock
        self._workload = workload
        self._origin = origin
        self._payload = random.Random(0).randbytes(_PAYLOAD_BYTES)  # noqa: S311  # incompressible filler
        self.position = 0

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
