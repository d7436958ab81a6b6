"""One arm of the pools rig: its requests, the load beside them, and the faults it has to bear.

Requests come as the workload says, open loop; each is one command on one workload's pool. Beside them, as the
scenario says, analytics tasks read large batches as fast as they are answered, and mishaps befall the server.
A call that fails is counted and no more: how calls fail is what is asked here. A pool that would answer for
an absent Redis is told to raise instead, which takes as long.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from redis.exceptions import RedisError

from perfkit.errors import CircuitOpen, PoolExhausted, Unavailable
from perfkit.lab.histogram import from_ms
from perfkit.lab.line import Line
from perfkit.lab.load import Played, play
from perfkit.lab.rigs.rig import Observation
from perfkit.lab.scenario import Scenario
from perfkit.lab.traffic import Fault, Traffic
from perfkit.lab.workload import Workload
from perfkit.pools import OptimizedRedis, PoolType, RedisPools
from perfkit.pools.settings import PoolSettings, PoolsSettings

__all__ = ["OpenPools"]

_ANSWERED, _FAILED, _REFUSED, _OPEN = range(4)
"""How a call ended; `_OPEN` is a refusal by the circuit breaker."""

_PAYLOAD_BYTES = 1 << 20
_KEPT_S = 3_600.0
_PAUSE_S = 0.01
_PATIENCE_S = 5.0


class OpenPools:
    """One arm's pools, standing at a position of the workload."""

    def __init__(
        self,
        pools: RedisPools,
        steward: RedisPools,
        workload: Workload,
        scenario: Scenario,
        settings: PoolsSettings,
        line: Line,
        *,
        seed: int,
        prefix: str,
    ) -> None:
        """Take the arm's pools, and others that store and remove what they read."""
        self._pools = pools
        self._steward = steward.client(PoolType.DEFAULT)
        self._workload = workload
        self._traffic = scenario.traffic_or_usual
        self._settings = settings
        self._line = line
        self._prefix = prefix
        stage = scenario.measure or scenario.simulate
        self._most_warmup = stage.warmup
        self._rate_per_s = scenario.measure.rate_per_s if scenario.measure else None
        self._seed = seed
        self._kinds = _kinds(self._traffic, len(workload), seed)
        self._clients = [pools.client(PoolType(calls.pool)).raising for calls in self._traffic.calls]
        self._payload = random.Random(0).randbytes(_PAYLOAD_BYTES)  # noqa: S311  # incompressible filler
        self._stored: list[str] = []
        self.position = 0

    async def warm(self, stop: int) -> None:
        """Store what will be read and play what came before; once that is done, wait until all is well."""
        if not self._stored:
            await self._store()
            start = max(self.position, stop - self._most_warmup)
            if stop > start:
                await self._ask_as_due(start, stop, self._rate_per_s)
        if self._traffic.faults:
            await self._settle()
        self.position = max(self.position, stop)

    async def play(self, stop: int, *, rate_per_s: float | None) -> Observation:
        """Ask the requests from the position up to `stop`, with load and faults beside them."""
        start, self.position = self.position, stop
        gc.collect()  # now, because `play` lets none happen while requests are due
        began_s = asyncio.get_running_loop().time()
        load = _AnalyticsLoad(self._pools, self._traffic, self._analytics_keys)
        luck = random.Random(f"{self._seed}/{start}")  # noqa: S311  # the same for every arm of a round
        planned = [fault.drawn(luck) for fault in self._traffic.faults]
        faults = [asyncio.create_task(self._strike(fault, began_s)) for fault in planned]
        try:
            async with load:
                played, ends = await self._ask_as_due(start, stop, rate_per_s)
                struck = await asyncio.gather(*faults)
        finally:
            for task in faults:
                task.cancel()
        answered = played.end_s[ends == _ANSWERED] - played.due_s[ends == _ANSWERED]
        response_ms = answered * 1_000
        metrics = _levels(response_ms) | {
            "failed_share": float((ends != _ANSWERED).mean()),
            "rejected_share": float((ends >= _REFUSED).mean()),
            "connections": await self._connections(),
            **load.levels(),
            **_bearing(struck, played, ends),
        }
        lost = int((ends != _ANSWERED).sum()) if not (ends == _ANSWERED).any() else 0
        return Observation(
            metrics, from_ms(response_ms), played.validity(virtual=rate_per_s is None), remote_errors=lost
        )

    async def remove_keys(self) -> None:
        """Remove what was stored; a server that is gone has none of it, or lets it expire."""
        with suppress(RedisError, Unavailable, OSError):
            await self._steward.batch_delete(self._stored)

    async def _ask_as_due(
        self, start: int, stop: int, rate_per_s: float | None
    ) -> tuple[Played, NDArray[np.int8]]:
        times = self._workload.times_s[start:stop]
        span_s = float(times[-1] - times[0])
        speed = 1.0 if rate_per_s is None or span_s <= 0 else rate_per_s * span_s / len(times)
        ends = np.zeros(stop - start, dtype=np.int8)

        async def send(index: int) -> None:
            ends[index] = await self._call(start + index)

        return await play((times - times[0]) / speed, send), ends

    async def _call(self, index: int) -> int:
        kind = self._kinds[index]
        number = int(self._workload.objects[index])
        key = f"{self._prefix}{self._workload.keys[number]}"
        try:
            if self._traffic.calls[kind].command == "set":
                await self._clients[kind].set(key, self._value(index, number))
            elif await self._clients[kind].get(key) is None:
                return _FAILED  # every key was stored, so an empty answer is none
        except CircuitOpen:
            return _OPEN
        except PoolExhausted:
            return _REFUSED
        except (RedisError, Unavailable, OSError):
            return _FAILED
        return _ANSWERED

    def _value(self, index: int, number: int) -> bytes:
        size = int(self._workload.sizes[index])
        offset = number * 4099 % max(_PAYLOAD_BYTES - size, 1)
        return self._payload[offset : offset + size]

    async def _store(self) -> None:
        objects, firsts = np.unique(self._workload.objects, return_index=True)
        mapping = {
            f"{self._prefix}{self._workload.keys[number]}": self._value(int(index), int(number))
            for number, index in zip(objects.tolist(), firsts.tolist(), strict=True)
        }
        if self._traffic.analytics:
            large = self._payload[: self._traffic.analytics.value_bytes]
            mapping |= dict.fromkeys(self._analytics_keys, large)
        self._stored = list(mapping)
        await self._steward.batch_set(mapping, ttl_seconds=_KEPT_S)

    @property
    def _analytics_keys(self) -> list[str]:
        count = self._traffic.analytics.keys if self._traffic.analytics else 0
        return [f"{self._prefix}large{number}" for number in range(count)]

    async def _strike(self, fault: Fault, began_s: float) -> tuple[float, float]:
        """Let a fault happen when it is due; from when to when, in seconds from the first request."""
        now_s = asyncio.get_running_loop().time
        await asyncio.sleep(fault.at_s - (now_s() - began_s))
        at_s = now_s() - began_s
        await self._line.strike(fault)
        return at_s, now_s() - began_s

    async def _settle(self) -> None:
        """Wait until every pool answers, so that each round begins alike; a few seconds at the most."""
        for client in dict.fromkeys(self._clients):
            for _ in range(round(_PATIENCE_S / _PAUSE_S)):
                with suppress(RedisError, Unavailable, OSError):
                    await client.ping()
                    break
                await asyncio.sleep(_PAUSE_S)

    async def _connections(self) -> float:
        """How many connections the pools hold; they keep what they opened, so this is the most there were.

        The stand-in has a connection for each call where `mux` would share one: there it is as if it had.
        """
        held = {}
        for kind in PoolType:
            metrics = await self._pools.client(kind).get_metrics()
            settings: PoolSettings = getattr(self._settings, str(metrics["pool"]))
            opened = int(metrics["connections"])
            imitated = metrics["backend"] == "fakeredis" and settings.transport == "mux"
            held[metrics["pool"]] = min(opened, settings.mux_connections) if imitated else opened
        return float(sum(held.values()))


class _AnalyticsLoad:
    """Tasks that read the large keys again as soon as they have them, for as long as the block lasts."""

    def __init__(self, pools: RedisPools, traffic: Traffic, keys: list[str]) -> None:
        self._pools = pools
        self._tasks_wanted = traffic.analytics.tasks if traffic.analytics else 0
        self._keys = keys
        self._reads = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> None:
        self._began_s = asyncio.get_running_loop().time()
        self._tasks = [asyncio.create_task(self._read()) for _ in range(self._tasks_wanted)]

    async def __aexit__(self, *_failure: object) -> None:
        self._lasted_s = asyncio.get_running_loop().time() - self._began_s
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def levels(self) -> dict[str, float]:
        """How many reads were done in a second; nothing where no task was wanted."""
        return {"analytics_per_s": self._reads / self._lasted_s} if self._tasks else {}

    async def _read(self) -> None:
        client: OptimizedRedis = self._pools.client(PoolType.ANALYTICS).raising
        while True:
            try:
                await client.mget(self._keys)
                self._reads += 1
            except (RedisError, Unavailable, OSError):
                await asyncio.sleep(_PAUSE_S)


def _kinds(traffic: Traffic, requests: int, seed: int) -> list[int]:
    """Which of the traffic's calls each request is: drawn once, the same for every arm."""
    shares = np.array([calls.share for calls in traffic.calls])
    drawn = np.random.default_rng(seed).choice(len(shares), size=requests, p=shares / shares.sum())
    kinds: list[int] = drawn.tolist()
    return kinds


def _levels(response_ms: NDArray[np.float64]) -> dict[str, float]:
    if not len(response_ms):
        return {}
    quantiles = {f"response_p{q}_ms": float(np.quantile(response_ms, q / 100)) for q in (50, 95, 99)}
    return {"response_mean_ms": float(response_ms.mean())} | quantiles


def _bearing(
    struck: Sequence[tuple[float, float]], played: Played, ends: NDArray[np.int8]
) -> dict[str, float]:
    """How the faults were borne: when they were noticed, and how long calls failed after they were over."""
    if not struck:
        return {}
    noticed, recovered = [], []
    borders = [*(at_s for at_s, _over_s in struck[1:]), float("inf")]
    for (at_s, over_s), border_s in zip(struck, borders, strict=True):
        refused = played.end_s[(ends == _OPEN) & (played.end_s > at_s) & (played.end_s < over_s)]
        noticed.append(float(refused.min()) - at_s if len(refused) else over_s - at_s)
        late = played.due_s[(ends != _ANSWERED) & (played.due_s > over_s) & (played.due_s < border_s)]
        recovered.append(float(late.max()) - over_s if len(late) else 0.0)
    return {
        "detection_ms": 1_000 * sum(noticed) / len(noticed),
        "recovery_ms": 1_000 * sum(recovered) / len(recovered),
    }
