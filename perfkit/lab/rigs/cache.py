"""The cache rig: shipping `Stack`s, one an instance, bolted to an imitated origin and asked a workload.

The same rig serves the simulation (virtual loop, fakeredis with a delay) and the measurement (wall clock,
real server): only the endpoint and the loop differ.
"""

from __future__ import annotations

import gc
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfkit.cache import CacheResult, TieredCache
from perfkit.cache.prefetch import prefetch_source
from perfkit.cache.settings import CacheSettings
from perfkit.errors import ScenarioError
from perfkit.events import null_probe
from perfkit.knobs import Value, replaced
from perfkit.lab.compare import Fit
from perfkit.lab.fleet import dealt_to
from perfkit.lab.histogram import from_ms
from perfkit.lab.line import Line
from perfkit.lab.load import PlayedClock, play
from perfkit.lab.model import Cell
from perfkit.lab.removal import remove_keys
from perfkit.lab.replay import replay
from perfkit.lab.results import TrialResult
from perfkit.lab.rigs.rig import Asked, Observation
from perfkit.lab.scenario import Scenario, World
from perfkit.lab.shards import model_of
from perfkit.lab.workload import Workload
from perfkit.lab.world import ImitatedOrigin
from perfkit.settings import Settings
from perfkit.stack import Outside, Stack

__all__ = ["CACHE", "CacheRig"]

_PAYLOAD_BYTES = 1 << 20
_QUANTILES = {"response_p50_ms": 0.5, "response_p95_ms": 0.95, "response_p99_ms": 0.99}


class CacheRig:
    """What the settings of the cache come to."""

    modelled_knobs = (
        "cache.l1_max_entries",
        "cache.l1_ttl_seconds",
        "cache.l2_ttl_seconds",
        "cache.ttl_jitter",
        "cloudrun.session_affinity",
    )
    metrics = frozenset(
        {
            *("response_mean_ms", "response_p50_ms", "response_p95_ms", "response_p99_ms"),
            *("origin_calls_per_request", "redis_reads_per_request", "hit_ratio", "l1_hit_ratio"),
            *("age_p95_seconds", "l1_age_p95_seconds", "stale_share", "l1_peak_bytes"),
            "prefetch_used_share",
        }
    )
    simulates = True

    def served_by(self, scenario: Scenario) -> str | None:
        """Redis answers."""
        return None

    def idle_knobs(self, settings: Settings) -> frozenset[str]:
        """None is known to do nothing."""
        return frozenset()

    def calibrated(self, settings: Sequence[Settings], asked: Asked) -> dict[str, Any]:
        """Nothing is asked of the machine: the model counts, and times no processor."""
        return {}

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

        The model is exact for the policy `lru` and answers renewed at their end; see `perfkit.lab.model`.
        Large workloads are modelled from samples, and say so by `sampling_error`.
        """
        start, world = asked.scenario.simulate.warmup, asked.scenario.world.at(rtt_ms)
        metrics: dict[int, dict[str, float]] = {}
        for sticky in (False, True):
            here = [i for i, one in enumerate(settings) if one.cloudrun.session_affinity == sticky]
            if here:
                model = model_of(asked.workload, _dealt(settings[here[0]], asked, asked.scenario.seed))
                cells = [Cell.of(settings[i].cache) for i in here]
                metrics |= zip(here, model.grid(cells, start=start, world=world), strict=True)
        return [metrics[number] for number in range(len(settings))]

    def simulated_delay_ms(self, world: World) -> float:
        """One round trip."""
        return world.round_trip_ms

    @asynccontextmanager
    async def open(
        self, settings: Settings, asked: Asked, line: Line, *, seed: int, key_prefix: str
    ) -> AsyncIterator[OpenCache]:
        """Build the arm's stacks, one an instance; their keys are removed from the server at the end."""
        clock = PlayedClock()
        outside = Outside(line.endpoint, clock, clock.epoch, null_probe, key_prefix)
        luck = [random.Random(f"{seed}/{number}") for number in range(asked.scenario.world.instances)]  # noqa: S311  # repeatable
        own = _for_sample(settings, asked.workload)
        async with AsyncExitStack() as running:
            stacks = [
                await running.enter_async_context(Stack.open(own, outside=replace(outside, rng=rng)))
                for rng in luck
            ]
            dealt = _dealt(settings, asked, seed)
            try:
                yield OpenCache(stacks, dealt, clock, asked.workload, ImitatedOrigin(line.world, seed))
            finally:
                await remove_keys(stacks[0].pools, key_prefix)

    def fits(self, settings: Settings, asked: Asked, rows: Sequence[TrialResult]) -> list[Fit]:
        """Replay the rounds that count through the setting's own policy; hit ratios know no round trip.

        A replay renews an answer when it has ended and not before, so it says nothing of settings that do.
        """
        stage = asked.scenario.measure
        assert stage is not None  # noqa: S101  # there are measured rows
        if _renews_otherwise(settings.cache):
            return []
        per_round = stage.requests // stage.rounds
        starts = [stage.warmup + row.trial.round * per_round for row in rows]
        counted = [range(start, start + per_round) for start in starts]
        own = _for_sample(settings, asked.workload).cache
        hits = replay(
            own, asked.workload, counted=counted, dealt=_dealt(settings, asked, asked.scenario.seed)
        )
        measured = {metric: sum(row.metrics[metric] for row in rows) / len(rows) for metric in hits}
        arm = rows[0].trial.arm
        return [Fit(metric=m, arm=arm, modelled=hits[m], measured=measured[m]) for m in hits]


CACHE = CacheRig()


class OpenCache:
    """One arm's stacks, an instance each, standing at a position of the workload."""

    def __init__(
        self,
        stacks: Sequence[Stack],
        dealt: NDArray[np.int64] | None,
        clock: PlayedClock,
        workload: Workload,
        origin: ImitatedOrigin,
    ) -> None:
        self._caches: list[TieredCache] = [stack.cache for stack in stacks]
        self._dealt = np.zeros(len(workload), dtype=np.int64) if dealt is None else dealt
        self._clock = clock
        self._workload = workload
        self._origin = origin
        self._origin_answers_at_once = True
        self._loads = 0
        self._payload = random.Random(0).randbytes(_PAYLOAD_BYTES)  # noqa: S311  # incompressible filler
        self.position = 0

    async def warm(self, stop: int) -> None:
        """Ask the requests from the position up to `stop`, one after another, without waiting for origins.

        The clock stands at each request's own time, so the cache is left as if the time had passed.
        """
        times = self._workload.times_s
        self._origin_answers_at_once = True
        for index in range(self.position, stop):
            self._clock.stand_at(float(times[index]))
            await self._ask(index)
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
        answers = _Answers(len(times))

        async def send(index: int) -> None:
            answers.note(index, await self._ask(start + index))

        for cache in self._caches:
            cache.memory.reset_peak()
        errors_before, self._loads = self._remote_errors, 0
        used_before, settled_before = self._prefetched
        self._origin_answers_at_once = False
        gc.collect()  # now, because `play` lets none happen while requests are due
        self._clock.run_from(float(times[0]), speed=speed)
        played = await play((times - times[0]) / speed, send)
        self._clock.stand_at(float(times[-1]))
        response_ms = played.response_ms
        used, settled = self._prefetched
        ahead = {}
        if settled > settled_before:
            ahead = {"prefetch_used_share": (used - used_before) / (settled - settled_before)}
        peak = max(cache.memory.peak_bytes for cache in self._caches) / self._workload.sample_share
        return Observation(
            _response(response_ms) | answers.metrics(self._loads) | {"l1_peak_bytes": peak} | ahead,
            from_ms(response_ms),
            played.validity(virtual=rate_per_s is None),
            self._remote_errors - errors_before,
        )

    async def load_key(self, key: str) -> bytes:
        """Ask the imitated origin for an object by its key: what a refresh or a fetch beforehand does."""
        number = self._workload.number_of(key)
        return await self._load(key, number, int(self._own_sizes[number]))

    @property
    def _prefetched(self) -> tuple[int, int]:
        """How many fetches beforehand were of use so far, and of how many that is known."""
        aheads = [cache.serving.ahead for cache in self._caches]
        stats = [ahead.prefetcher.stats() for ahead in aheads if ahead is not None]
        return sum(one.used for one in stats), sum(one.used + one.wasted for one in stats)

    @property
    def _remote_errors(self) -> int:
        return sum(cache.stats().remote_errors for cache in self._caches)

    @cached_property
    def _own_sizes(self) -> NDArray[np.int32]:
        """The size of each object; a trace may know several, and any will do."""
        sizes = np.zeros(self._workload.n_objects, dtype=np.int32)
        sizes[self._workload.objects] = self._workload.sizes
        return sizes

    async def _ask(self, index: int) -> CacheResult[bytes]:
        number = int(self._workload.objects[index])
        key = self._workload.keys[number]

        async def load() -> bytes:
            return await self._load(key, number, int(self._workload.sizes[index]))

        callers = self._workload.callers
        prefetch_source.set("everybody" if callers is None else int(callers[index]))
        cache = self._caches[int(self._dealt[index])]
        return await cache.lookup(key, load)

    async def _load(self, key: str, number: int, size: int) -> bytes:
        self._loads += 1
        if not self._origin_answers_at_once:
            await self._origin(key)
        offset = number * 4099 % max(_PAYLOAD_BYTES - size, 1)
        return self._payload[offset : offset + size]


class _Answers:
    """What each request was answered with."""

    def __init__(self, requests: int) -> None:
        self._tiers = [""] * requests
        self._ages, self._l1_ages = np.zeros(requests), np.zeros(requests)
        self._stale = 0

    def note(self, index: int, result: CacheResult[bytes]) -> None:
        self._tiers[index] = result.tier
        self._ages[index], self._l1_ages[index] = result.age_seconds, result.l1_age_seconds
        self._stale += result.stale

    def metrics(self, loads: int) -> dict[str, float]:
        """Reduce to metrics; calls are counted at the origin, those that nobody waited for included.

        Each such call was preceded by a read of Redis, as one that somebody waits for is.
        """
        n, waited_for = len(self._tiers), self._tiers.count("origin")
        beside = max(loads - waited_for, 0)
        reads = waited_for + self._tiers.count("l2")
        return {
            "origin_calls_per_request": (waited_for + beside) / n,
            "redis_reads_per_request": (reads + beside) / n,
            "hit_ratio": 1 - waited_for / n,
            "l1_hit_ratio": 1 - reads / n,
            "age_p95_seconds": float(np.quantile(self._ages, 0.95)),
            "l1_age_p95_seconds": float(np.quantile(self._l1_ages, 0.95)),
            "stale_share": self._stale / n,
        }


def _response(response_ms: np.ndarray) -> dict[str, float]:
    quantiles = {name: float(np.quantile(response_ms, at)) for name, at in _QUANTILES.items()}
    return {"response_mean_ms": float(response_ms.mean()), **quantiles}


def _renews_otherwise(cache: CacheSettings) -> bool:
    """Whether answers are fetched before they end, or served after, by more than xfetch's last moments."""
    waits_briefly = cache.soft_timeout_seconds > 0 and cache.stale_if_error_seconds > 0
    serves_stale = cache.stale_while_revalidate_seconds > 0 or waits_briefly
    return cache.refresh == "eager" or cache.prefetch or cache.adaptive_ttl or serves_stale


def _dealt(settings: Settings, asked: Asked, seed: int) -> NDArray[np.int64] | None:
    sticky = settings.cloudrun.session_affinity
    return dealt_to(asked.workload, asked.scenario.world.instances, sticky=sticky, seed=seed)


def _for_sample(settings: Settings, workload: Workload) -> Settings:
    """Shrink memory as a recorded sample shrank the workload, so that each holds the same share of it."""
    share = workload.sample_share
    if share == 1:
        return settings
    cache = settings.cache
    smaller: dict[str, Value] = {
        "cache.l1_max_entries": max(round(cache.l1_max_entries * share), 1),
        "cache.l1_max_bytes": max(round(cache.l1_max_bytes * share), 1_024),
    }
    return replaced(settings, smaller)
