"""What befalls a request between its arrival and its answer: planned faults, a queue, and time.

Nothing here knows what is asked. Restarts that are planned by the clock are known in advance, so a wait ends
at whichever comes first and needs no timer besides its own; those by the number of a call, and `restart`
itself, reach into the waits that are under way.
"""

from __future__ import annotations

import asyncio
import math
import random
from heapq import heappush, heapreplace

from perfkit.clock import Clock
from perfkit.vertex.emulator import sayings
from perfkit.vertex.emulator.counts import Counts
from perfkit.vertex.emulator.faults import Fault, Faults, PlannedFault

__all__ = ["Serving", "slowed"]


class Serving:
    """Time at the emulated server, which begins when it is first asked.

    Args:
        planned: What goes wrong.
        rng: Draws the shares of the faults.
        capacity: How many requests are served at once; 0 is any number.
        counts: Where refusals and waits are counted.
        clock: Of the running loop.
    """

    def __init__(
        self,
        planned: tuple[PlannedFault, ...],
        rng: random.Random,
        *,
        capacity: int,
        counts: Counts,
        clock: Clock,
    ) -> None:
        self._faults = Faults(planned, rng)
        self._capacity = capacity
        self._counts = counts
        self._clock = clock
        self._began_s: float | None = None
        self._calls = 0
        self._free_at_s: list[float] = []
        self._under_way: set[asyncio.Future[bool]] = set()

    def now_s(self) -> float:
        """Return seconds since the emulator was first asked; on a loop of an earlier time, anew."""
        now = self._clock()
        if self._began_s is None or now < self._began_s:
            self._began_s = now
        return now - self._began_s

    def struck(self, at_s: float, model: str, base_model: str) -> list[PlannedFault]:
        """Return the planned faults that befall a call, or raise the first that refuses it.

        Args:
            at_s: When the call came.
            model: What it asks.
            base_model: Whose quota it draws on; empty where quota is dynamic.
        """
        self._calls += 1
        if not self._faults:
            return []
        struck = self._faults.of(at_s, self._calls, model)
        for fault in struck:
            if fault.kind == "restart":
                if self._calls == fault.from_call > 1:
                    self.restart()
                raise sayings.restarting()
            if fault.kind == "quota":
                raise sayings.requests_spent(base_model, retry_after_s=fault.retry_after_s)
            if fault.kind == "not_found":
                raise sayings.unknown_model(model)
            if fault.kind in sayings.STRUCK:
                raise Fault(*sayings.STRUCK[fault.kind], fault.retry_after_s)
        return struck

    def queued_s(self, at_s: float, seconds: float) -> float:
        """Return how long an answer takes with the wait for a place, first come, first served.

        A caller who gives up leaves the server at work: its place is free no sooner.
        """
        if not self._capacity or seconds == math.inf:
            return seconds
        places = self._free_at_s
        if len(places) < self._capacity:
            heappush(places, at_s + seconds)
            return seconds
        free_s = max(at_s, places[0]) + seconds
        heapreplace(places, free_s)
        return free_s - at_s

    async def wait(self, seconds: float, patience_s: float) -> None:
        """Wait out an answer; a restart or the caller's deadline ends it with a fault."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        until_s = min(seconds, patience_s)
        restart_s = math.inf
        if self._faults:
            at_s = self.now_s()
            restart_s = self._faults.next_restart_s(at_s) - at_s
        loop = asyncio.get_running_loop()
        over: asyncio.Future[bool] = loop.create_future()
        first_s = min(until_s, restart_s)
        timer = None if first_s == math.inf else loop.call_later(first_s, _end, over)
        waiting, counts = self._under_way, self._counts
        waiting.add(over)
        if len(waiting) > counts.most_under_way:
            counts.most_under_way = len(waiting)
        try:
            whole = await over
        except asyncio.CancelledError:
            counts.given_up += 1
            raise
        finally:
            waiting.discard(over)
            if timer is not None:
                timer.cancel()
        if not whole or restart_s <= until_s:
            counts.refuse("UNAVAILABLE")
            raise sayings.restarting()
        if patience_s < seconds:
            counts.given_up += 1
            raise sayings.timed_out(patience_s)

    def restart(self) -> None:
        """Fail what is under way."""
        for over in list(self._under_way):
            over.get_loop().call_soon_threadsafe(_break, over)


def slowed(seconds: float, at_s: float, struck: list[PlannedFault]) -> float:
    """Return how long an answer takes under the faults that befell its request."""
    for fault in struck:
        if fault.kind == "hang":
            return math.inf
        if fault.kind in ("slow", "slow_start"):
            seconds *= fault.slower(at_s)
    return seconds


def _end(over: asyncio.Future[bool]) -> None:
    if not over.done():
        over.set_result(True)


def _break(over: asyncio.Future[bool]) -> None:
    if not over.done():
        over.set_result(False)
