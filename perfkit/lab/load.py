"""An open-loop load generator: requests start when they are due, whether or not earlier ones are done.

A closed loop waits for each answer before it asks again, so a stalled server is asked less and its stall
counts once: the error Gil Tene named coordinated omission. Here the arrival times are planned ahead, every
response time counts from the moment the request was *due*, and how late requests were started (the lag) is
kept beside it, so a generator that could not keep up is found out instead of believed.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfkit.lab.environment import Contention
from perfkit.lab.results import Validity
from perfkit.lab.virtual import VirtualTimeLoop

__all__ = ["Played", "PlayedClock", "play"]

_TIMER_STEP_S = 0.0015
"""An event loop wakes up to a millisecond late; the rest of a wait is spent yielding instead of sleeping."""

_STALL_MS = 5.0
"""A short trial misses 99 % of its rate by one late start; up to this, the lag alone is judged."""


class PlayedClock:
    """The time of a recorded workload while it is played back, as a `perfkit.clock.Clock`.

    During warm-up it is set to each request's own time. While requests are counted it runs `speed` times as
    fast as the loop's clock, so an hour of trace can be played in a minute with the TTLs left as they are.
    """

    def __init__(self, epoch: float = 1_800_000_000.0) -> None:
        self._epoch = epoch
        self._played_s = 0.0
        self._started_s = 0.0
        self._speed = 0.0

    def __call__(self) -> float:
        """Return played seconds."""
        if not self._speed:
            return self._played_s
        return self._played_s + (asyncio.get_running_loop().time() - self._started_s) * self._speed

    def epoch(self) -> float:
        """Return played seconds since 1970, for stamps that are stored."""
        return self._epoch + self()

    def stand_at(self, played_s: float) -> None:
        """Stop at a time of the workload."""
        self._speed = 0.0
        self._played_s = played_s

    def run_from(self, played_s: float, *, speed: float) -> None:
        """Run from a time of the workload, `speed` times as fast as the loop's clock."""
        self._played_s = played_s
        self._started_s = asyncio.get_running_loop().time()
        self._speed = speed


@dataclass(frozen=True, slots=True)
class Played:
    """When each request was due, started and answered, in seconds from the first moment; NaN if dropped."""

    due_s: NDArray[np.float64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    run_queue_share: float

    @property
    def response_ms(self) -> NDArray[np.float64]:
        """Milliseconds from due to answered, of the requests that were answered."""
        response: NDArray[np.float64] = (self.end_s - self.due_s) * 1_000
        return response[np.isfinite(response)]

    @property
    def dropped(self) -> int:
        """How many requests were refused because too many were under way."""
        return int(np.isnan(self.end_s).sum())

    def validity(self, *, virtual: bool = False) -> Validity:
        """Judge the generator: 99 % of the planned rate, 0.1 % dropped, lag p99 10 % of response p99."""
        n = len(self.due_s)
        response = self.response_ms
        lag_ms = (self.start_s - self.due_s)[np.isfinite(self.start_s)] * 1_000
        lag_p99 = float(np.quantile(lag_ms, 0.99)) if len(lag_ms) else float("inf")
        planned = n / max(float(self.due_s[-1] - self.due_s[0]), 1e-9)
        started = self.start_s[np.isfinite(self.start_s)]
        achieved = (n - self.dropped) / max(float(np.ptp(started)), 1e-9) if len(started) else 0.0
        behind_ms = 1_000 * float(np.ptp(started) - np.ptp(self.due_s)) if len(started) else float("inf")
        allowed_lag = max(2.0, 0.1 * float(np.quantile(response, 0.99))) if len(response) else 2.0
        complaint = ""
        if self.dropped > 0.001 * n:
            complaint = f"{self.dropped} of {n} requests were dropped: too many were under way"
        elif achieved < 0.99 * planned and behind_ms > _STALL_MS:
            complaint = f"only {achieved:.0f} of {planned:.0f} requests/s were started"
        elif lag_p99 > allowed_lag and not virtual:
            complaint = f"requests started {lag_p99:.1f} ms late at p99, {allowed_lag:.1f} ms is the limit"
        return Validity(
            planned_per_s=round(planned, 3),
            achieved_per_s=round(achieved, 3),
            dropped=self.dropped,
            lag_p99_ms=round(lag_p99, 4),
            run_queue_share=round(self.run_queue_share, 4),
            complaint=complaint,
        )


async def play(
    due_s: NDArray[np.float64], send: Callable[[int], Awaitable[None]], *, max_inflight: int = 2_000
) -> Played:
    """Start `send(i)` at each due time (seconds from now) and wait until all are answered.

    A request that is due while `max_inflight` others are under way is dropped and counted. An exception of
    `send` ends the run: what could not be answered must not look fast.
    """
    loop = asyncio.get_running_loop()
    virtual = isinstance(loop, VirtualTimeLoop)
    n = len(due_s)
    starts, ends = [float("nan")] * n, [float("nan")] * n
    clock = loop.time
    origin_s = clock()

    async def one(index: int) -> None:
        starts[index] = clock() - origin_s
        try:
            await send(index)
        except Exception as failure:
            failures.append(failure)
        ends[index] = clock() - origin_s

    failures: list[Exception] = []
    under_way: set[asyncio.Task[None]] = set()
    gc.disable()  # a collection in the middle of a round would be charged to whichever arm it falls on
    try:
        with Contention() as contention:
            for index, due in enumerate(due_s.tolist()):
                await _until(origin_s + due, loop, virtual=virtual)
                if failures:
                    break
                if len(under_way) >= max_inflight:
                    continue
                task = loop.create_task(one(index))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.gather(*under_way)
        if failures:
            raise failures[0]
    finally:
        gc.enable()
        for task in under_way:
            task.cancel()
    waited = 0.0 if virtual else contention.run_queue_share
    return Played(due_s, np.array(starts), np.array(ends), waited)


async def _until(when_s: float, loop: asyncio.AbstractEventLoop, *, virtual: bool) -> None:
    """Wait until a time of the loop's clock; on a real one without the timer's own millisecond."""
    ahead = when_s - loop.time()
    if virtual:
        if ahead > 0:
            await asyncio.sleep(ahead)
        return
    if ahead > _TIMER_STEP_S:
        await asyncio.sleep(ahead - _TIMER_STEP_S)
    while loop.time() < when_s:  # noqa: ASYNC110  # the wait is for the clock, nobody could set an event
        await asyncio.sleep(0)
