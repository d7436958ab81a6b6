"""Enforces a limit of calls under way: counts them, lets callers stand in line, refuses those too many.

          take, or acquire                    release
    caller ──────────────▶ ┌────────────────┐ ───────▶
       │                   │ in flight ≤    │
       │ no place is free, │ limit.value    │
       │ or others wait    └────────────────┘
       ▼                       ▲
    ┌──────┐   a place is free │        first come, first served: a place is handed to the longest waiting,
    │ line │ ──────────────────┘        and whoever comes meanwhile cannot slip in between
    └──────┘ ──▶ patience is over, or the line was full: PoolExhausted
             ──▶ cancelled: out of the line; a place that was just handed over goes to the next

What the limit should be is not decided here; see `perfkit.resilience.limit`. The limiter gathers what was
observed into windows for it. When the estimate falls below what is under way, nobody is let in until enough
have ended; when it rises, those who wait are let in at once.

A limiter belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final, NoReturn

from perfkit.clock import Clock, now_s
from perfkit.errors import PerfkitError, PoolExhausted
from perfkit.resilience.bounds import demand
from perfkit.resilience.limit import Limit, Window

__all__ = ["Limiter"]

_WINDOW_S: Final = 0.1
_MIN_SAMPLES: Final = 10


class Limiter:
    """Enforces a limit: whoever comes too many stands in line, in order, for a while.

    >>> from perfkit.resilience.limit import Fixed
    >>> async def main() -> tuple[int, int]:
    ...     limiter = Limiter("redis", Fixed(1), patience_s=1.0)
    ...     await limiter.acquire()
    ...     second = asyncio.create_task(limiter.acquire())
    ...     await asyncio.sleep(0)
    ...     waiting = limiter.waiting
    ...     limiter.release()
    ...     await second
    ...     return waiting, limiter.in_flight
    >>> asyncio.run(main())
    (1, 1)

    Args:
        name: Of the pool, for its errors.
        limit: The estimate to enforce.
        patience_s: How long a caller stands in line; 0 refuses at once. The loop's own time.
        max_waiting: How long the line may be; by default as long as the limit, whatever that is at the time.
        clock: Tells how long a window lasts.

    Raises:
        SettingsError: a negative patience or line.
    """

    def __init__(
        self,
        name: str,
        limit: Limit,
        *,
        patience_s: float,
        max_waiting: int | None = None,
        clock: Clock = now_s,
    ) -> None:
        demand(patience_s >= 0, "patience_s", patience_s, otherwise="it is no time", allowed="0 s or more")
        if max_waiting is not None:
            demand(
                max_waiting >= 0, "max_waiting", max_waiting, otherwise="it is no length", allowed="0 or more"
            )
        self.name = name
        self.limit = limit
        self.in_flight = 0
        self.waits = 0
        """How many callers ever stood in line."""
        self.refusals = 0
        """How many were refused, at once or after standing in line."""
        self._patience_s = patience_s
        self._max_waiting = max_waiting
        self._clock = clock
        self._line: OrderedDict[asyncio.Future[bool], None] = OrderedDict()
        self._delay_s = 0.0
        self._samples = self._dropped = self._max_in_flight = 0
        self._window_ends: float | None = None

    @property
    def waiting(self) -> int:
        """How many callers stand in line."""
        return len(self._line)

    def take(self) -> bool:
        """Take a place if one is free and nobody waits for it; the quick way in."""
        if self._line or self.in_flight >= self.limit.value:
            return False
        self.in_flight += 1
        return True

    async def acquire(self) -> None:
        """Take a place, standing in line for it if need be.

        Cancelled, it leaves nothing behind, in whatever moment it comes.

        Raises:
            PoolExhausted: the line was full, or no place came free in time.
        """
        if self._line:
            self._serve()  # since the last time the first may have been cancelled, or the limit raised
        if self.take():
            return
        if len(self._line) >= self._longest_line():
            self._refuse(0.0, f"and {len(self._line)} callers wait already")
        if self._patience_s == 0:
            self._refuse(0.0, "and its callers do not wait")
        loop = asyncio.get_running_loop()
        place: asyncio.Future[bool] = loop.create_future()
        self._line[place] = None
        self.waits += 1
        timer = loop.call_later(self._patience_s, self._give_up, place)
        try:
            given = await place
        except BaseException:
            self._leave(place)
            raise
        finally:
            timer.cancel()
        if not given:
            self._refuse(self._patience_s, f"and none ended for {self._patience_s:g} s")

    def release(self, places: int = 1) -> None:
        """Give places back, to those who wait longest.

        Raises:
            PerfkitError: more were given back than had been taken, so the count was wrong already.
        """
        if places > self.in_flight:
            raise PerfkitError(
                f"Limiter {self.name} was given back {places} places, but only {self.in_flight} were taken; "
                "a limit that is miscounted protects nobody. Release each place once."
            )
        self.in_flight -= places
        if self._line:
            self._serve()

    def observe(self, delay_s: float, calls: int, *, dropped: int = 0) -> None:
        """Learn how calls went, before they are released.

        Args:
            delay_s: What they took, added up.
            calls: How many they were.
            dropped: How many of them were given up; then `delay_s` is our patience and not used.
        """
        if dropped:
            self._dropped += dropped
        else:
            self._delay_s += delay_s
            self._samples += calls
        if self.in_flight > self._max_in_flight:
            self._max_in_flight = self.in_flight
        now = self._clock()
        if self._window_ends is None:
            self._window_ends = now + _WINDOW_S
        elif now >= self._window_ends and (self._samples >= _MIN_SAMPLES or self._dropped):
            self._update(now)

    def _update(self, now: float) -> None:
        mean_s = self._delay_s / self._samples if self._samples else 0.0
        window = Window(mean_s, self._samples, self._max_in_flight, self._dropped)
        self._delay_s = 0.0
        self._samples = self._dropped = self._max_in_flight = 0
        self._window_ends = now + _WINDOW_S
        self.limit.update(window)
        if self._line:
            self._serve()

    def _serve(self) -> None:
        """Hand free places to those who wait longest."""
        line = self._line
        while line and self.in_flight < self.limit.value:
            place, _ = line.popitem(last=False)
            if not place.done():  # else it was cancelled, and its caller has not had its turn to leave
                self.in_flight += 1
                place.set_result(True)

    def _leave(self, place: asyncio.Future[bool]) -> None:
        """Go without a place, in whatever moment: waiting, just served, or just given up."""
        if place in self._line:
            del self._line[place]
            self._serve()  # a cancelled caller at the head kept newcomers from a place that was free
        elif place.done() and not place.cancelled() and place.result():
            self.release()

    def _give_up(self, place: asyncio.Future[bool]) -> None:
        if not place.done():
            del self._line[place]
            place.set_result(False)

    def _longest_line(self) -> int:
        if self._max_waiting is not None:
            return self._max_waiting
        return max(self.limit.value, 1)

    def _refuse(self, waited_s: float, how_long: str) -> NoReturn:
        self.refusals += 1
        raise PoolExhausted(
            f"Pool {self.name} has {self.in_flight} calls under way, its limit being {self.limit.value}, "
            f"{how_long}. Ask less at once, or find out why its server has become slow.",
            pool=self.name,
            waited_seconds=waited_s,
        )
