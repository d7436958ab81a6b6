"""How many calls may be under way at once: estimated by one part, enforced by another.

A server that is asked more than it can do answers later, not more. The right number is bandwidth times delay
(Little's law), and changes with the server. An *estimate* follows it from what was observed; the *limiter*
counts, lets callers stand in line in the order they came, and refuses those who would stand there in vain.

- `Fixed` is a number.
- `Aimd` adds one while all is well and takes a tenth off when a call was dropped (Chiu, Jain 1989).
- `Gradient2` compares the delay of a short window with that of a long one, and shrinks when it grows; after
  Netflix's concurrency-limits, where the idea and the constants come from. It never grows while less than
  half of the limit is used: an idle client knows nothing of the server's capacity.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from perfkit.clock import Clock, now_s
from perfkit.errors import PoolExhausted

__all__ = ["Aimd", "Fixed", "Gradient2", "Limit", "Limiter", "Window"]

_WINDOW_S = 0.1
_MIN_SAMPLES = 10


@dataclass(frozen=True, slots=True)
class Window:
    """What was observed for a tenth of a second."""

    mean_delay_s: float
    samples: int
    max_in_flight: int
    dropped: int
    """Calls that were given up."""


class Limit(Protocol):
    """An estimate of how many calls may be under way."""

    @property
    def value(self) -> int:
        """The estimate as it stands."""
        ...

    def update(self, window: Window) -> None:
        """Learn from a window."""
        ...


class Fixed:
    """The same number always."""

    def __init__(self, value: int) -> None:
        self.value = value

    def update(self, window: Window) -> None:
        """Learn nothing."""


class Aimd:
    """One more while the limit is used and nothing is dropped; a tenth less otherwise."""

    def __init__(self, *, low: int, initial: int, high: int, backoff: float = 0.9) -> None:
        self._low, self._high, self._backoff = low, high, backoff
        self.value = initial

    def update(self, window: Window) -> None:
        """Learn from a window."""
        if window.dropped:
            self.value = max(self._low, int(self.value * self._backoff))
        elif window.max_in_flight * 2 >= self.value:
            self.value = min(self._high, self.value + 1)


class Gradient2:
    """Shrinks when calls take longer than they used to, grows by a queue's length when they do not."""

    def __init__(
        self,
        *,
        low: int,
        initial: int,
        high: int,
        tolerance: float = 2.0,
        smoothing: float = 0.2,
        long_windows: int = 600,
    ) -> None:
        self._low, self._high = low, high
        self._tolerance, self._smoothing = tolerance, smoothing
        self._decay = 1 / long_windows
        self._long_delay_s = 0.0
        self._limit = float(initial)

    @property
    def value(self) -> int:
        """The estimate as it stands."""
        return int(self._limit)

    def update(self, window: Window) -> None:
        """Learn from a window."""
        delay = max(window.mean_delay_s, 1e-9)
        self._long_delay_s += (delay - self._long_delay_s) * (self._decay if self._long_delay_s else 1.0)
        if self._long_delay_s > 2 * delay:
            self._long_delay_s *= 0.95  # a slow time is over: do not take it for normal much longer
        if window.dropped:
            self._limit = max(self._low, self._limit * 0.9)
        elif window.max_in_flight * 2 >= self._limit:
            gradient = max(0.5, min(1.0, self._tolerance * self._long_delay_s / delay))
            room = 4 + math.sqrt(self._limit)
            wanted = self._limit * gradient + room
            smoothed = self._limit * (1 - self._smoothing) + wanted * self._smoothing
            self._limit = min(self._high, max(self._low, smoothed))


class Limiter:
    """Enforces a limit: whoever comes too many stands in line, in order, for a while.

    >>> import asyncio
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
    """

    def __init__(self, name: str, limit: Limit, *, patience_s: float, clock: Clock = now_s) -> None:
        self.name = name
        self.limit = limit
        self.in_flight = 0
        self.waits = 0
        """How many callers ever stood in line."""
        self.refusals = 0
        """How many were refused, at once or after standing in line."""
        self._patience_s = patience_s
        self._clock = clock
        self._line: deque[asyncio.Future[None]] = deque()
        self._delay_s = 0.0
        self._samples = self._dropped = self._max_in_flight = 0
        self._window_ends = -math.inf

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

        Raises:
            PoolExhausted: the line is as long as the limit, or no place came free in time.
        """
        if self.take():
            return
        if len(self._line) >= max(self.limit.value, 1):
            self._refuse(0.0, "and as many callers wait already")
        place = asyncio.get_running_loop().create_future()
        self._line.append(place)
        self.waits += 1
        try:
            async with asyncio.timeout(self._patience_s):
                await place
        except TimeoutError:
            if not _given(place):
                self._leave(place)
                self._refuse(self._patience_s, f"for {self._patience_s:g} s")
        except asyncio.CancelledError:
            if _given(place):
                self.release()  # the place came in the moment its taker went
            else:
                self._leave(place)
            raise

    def release(self, places: int = 1) -> None:
        """Give places back, to those who wait longest."""
        self.in_flight -= places
        while self._line and self.in_flight < self.limit.value:
            place = self._line.popleft()
            if not place.done():
                self.in_flight += 1
                place.set_result(None)

    def observe(self, delay_s: float, calls: int, *, dropped: int = 0) -> None:
        """Learn that `calls` took `delay_s` in all, before they are released."""
        self._delay_s += delay_s
        self._samples += calls
        self._dropped += dropped
        self._max_in_flight = max(self._max_in_flight, self.in_flight)
        now = self._clock()
        if now >= self._window_ends and (self._samples >= _MIN_SAMPLES or self._dropped):
            mean = self._delay_s / max(self._samples, 1)
            self.limit.update(Window(mean, self._samples, self._max_in_flight, self._dropped))
            self._delay_s = 0.0
            self._samples = self._dropped = self._max_in_flight = 0
            self._window_ends = now + _WINDOW_S

    def _leave(self, place: asyncio.Future[None]) -> None:
        if place in self._line:
            self._line.remove(place)

    def _refuse(self, waited_s: float, how_long: str) -> None:
        self.refusals += 1
        raise PoolExhausted(
            f"Pool {self.name} has {self.in_flight} calls under way, which is its limit, {how_long}. "
            "Ask less at once, or find out why its server has become slow.",
            pool=self.name,
            waited_seconds=waited_s,
        ) from None


def _given(place: asyncio.Future[None]) -> bool:
    return place.done() and not place.cancelled()
