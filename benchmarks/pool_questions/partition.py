"""What small reads of a cache suffer from large ones of an analysis: on one pool, and on a pool each."""

from __future__ import annotations

import asyncio
import gc
import time

import numpy as np
from numpy.typing import NDArray

from harness import Estimate, Target, interleaved, level, ratio, shown, table, times, verdict
from harness.rounds import Reading
from perfkit.errors import Unavailable
from perfkit.events import null_probe
from perfkit.lab.histogram import as_matrix, from_ms, merged, quantile_ms
from perfkit.lab.stats import tail_ratio_interval
from perfkit.pools import Endpoint, OptimizedRedis, PoolsSettings, PoolType, RedisPools
from pool_questions.clients import Clients
from pool_questions.gets import KEY, VALUE

LARGE = {f"bench:large:{number}": b"x" * 10_240 for number in range(100)}
"""A megabyte together."""
LARGE_MB = sum(map(len, LARGE.values())) / 1e6
READERS, ANALYSTS = 4, 8
PAUSE_S = 0.001
TURN_S = 1.0
P50, GETS, LOST = "p50 ms", "GETs a second", "GETs unanswered"
MEGABYTES, REFUSED = "MGET MB a second", "MGETs refused"
SHARED, APART = "all on one pool (`pools.partitioned=False`)", "a pool each"
TARGET = Target(5)


async def under_load(found: Clients, url: str, rounds: int) -> str:
    """Read small values on CACHE while ANALYTICS asks for a megabyte at a time, without a pause."""
    await found.ours.set(KEY, VALUE)
    await found.ours.batch_set(LARGE)
    endpoint = Endpoint.from_url(url)
    opened = [
        RedisPools(PoolsSettings(partitioned=partitioned), endpoint, probe=null_probe)
        for partitioned in (False, True)
    ]
    shared, apart = (
        Mixed(pools.client(PoolType.CACHE), pools.client(PoolType.ANALYTICS)) for pools in opened
    )
    readings = await interleaved({SHARED: shared, APART: apart}, rounds, turns=1)
    for pools in opened:
        await pools.aclose()
    rows = [
        [
            name,
            *(shown(Estimate(level(readings[name][what]).point)) for what in (P50,)),
            shown(Estimate(quantile_ms(merged(map(from_ms, arm.delays_ms)), 0.99))),
            *(shown(Estimate(float(np.median(readings[name][what])))) for what in (GETS, MEGABYTES)),
            *(f"{readings[name][what].sum():.0f}" for what in (LOST, REFUSED)),
        ]
        for name, arm in ((SHARED, shared), (APART, apart))
    ]
    by_p50 = ratio(readings[SHARED][P50], readings[APART][P50])
    judged = [
        ["p50 of CACHE", times(by_p50), str(TARGET), verdict(by_p50, TARGET)],
        ["p99 of CACHE", _tail(apart, shared), "", ""],
    ]
    return "\n\n".join(
        [
            table(["", P50, "p99 ms", GETS, MEGABYTES, LOST, REFUSED], rows),
            table(["one pool ÷ a pool each", "ratio", "target", "met"], judged),
        ]
    )


class Mixed:
    """An arm in which readers measure each GET while analysts keep asking for everything large."""

    def __init__(self, cache: OptimizedRedis, analytics: OptimizedRedis) -> None:
        self._cache = cache
        self._analytics = analytics
        self._turns: list[NDArray[np.float64]] = []

    @property
    def delays_ms(self) -> list[NDArray[np.float64]]:
        """The response times of each round; the turn that does not count is left out."""
        return self._turns[1:]

    async def __call__(self) -> Reading:
        """Let all of them work for a second."""
        gc.collect()
        start = time.perf_counter()
        delays_ms: list[float] = []
        lost = megabytes = refused = 0.0

        async def read() -> None:
            nonlocal lost
            while time.perf_counter() - start < TURN_S:
                asked = time.perf_counter()
                if await self._cache.get(KEY) == VALUE:
                    delays_ms.append((time.perf_counter() - asked) * 1_000)
                else:
                    lost += 1  # pool CACHE answers with a miss when Redis is too slow for it
                await asyncio.sleep(PAUSE_S)

        async def analyse() -> None:
            nonlocal megabytes, refused
            while time.perf_counter() - start < TURN_S:
                try:
                    await self._analytics.mget(list(LARGE))
                    megabytes += LARGE_MB
                except Unavailable:  # the gate had no room even in its line
                    refused += 1
                    await asyncio.sleep(PAUSE_S)

        await asyncio.gather(*(read() for _ in range(READERS)), *(analyse() for _ in range(ANALYSTS)))
        took_s = time.perf_counter() - start
        self._turns.append(np.array(delays_ms))
        return {
            P50: float(np.median(delays_ms)),
            GETS: len(delays_ms) / took_s,
            LOST: lost,
            MEGABYTES: megabytes / took_s,
            REFUSED: refused,
        }


def _tail(under: Mixed, over: Mixed) -> str:
    buckets, (base, candidate) = as_matrix(
        [from_ms(delays) for delays in under.delays_ms], [from_ms(delays) for delays in over.delays_ms]
    )
    found = tail_ratio_interval(buckets, base, candidate, 0.99)
    return "not estimable from so few" if found is None else times(Estimate(*found))
