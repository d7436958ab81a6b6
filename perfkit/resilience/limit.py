"""How many calls should be under way at once: estimates of it. `perfkit.resilience.limiter` enforces one.

A server that is asked more than it can do answers later, not more. The right number is bandwidth times delay
(Little's law), and changes with the server. An *estimate* follows it from what was observed in a window of a
tenth of a second:

- `Fixed` is a number.
- `Aimd` adds one while all is well and takes a tenth off when a call was dropped (Chiu, Jain 1989).
- `Gradient2` compares the delay of the window with the usual one, and shrinks when it is much longer; after
  Netflix's concurrency-limits, where the idea and the constants come from.

None grows while less than half of the limit is used: an idle client knows nothing of the server's capacity.
The same windows make the same estimate: there is no clock and no chance in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol

from perfkit.resilience.bounds import demand

__all__ = ["Aimd", "Fixed", "Gradient2", "Limit", "Window"]

_DROP: Final = 0.9
_WARMUP_WINDOWS: Final = 10


@dataclass(frozen=True, slots=True)
class Window:
    """What was observed for about a tenth of a second.

    >>> Window(mean_delay_s=0.002, samples=480, max_in_flight=12, dropped=0).samples
    480
    """

    mean_delay_s: float
    """Mean of those that were answered; 0 when none was."""
    samples: int
    """Calls that were answered."""
    max_in_flight: int
    dropped: int
    """Calls that were given up."""


class Limit(Protocol):
    """An estimate of how many calls may be under way."""

    @property
    def value(self) -> int:
        """The estimate as it stands; read at every call, so it should be a plain attribute."""
        ...

    def update(self, window: Window) -> None:
        """Learn from a window."""
        ...


class Fixed:
    """The same number always.

    >>> Fixed(8).value
    8

    Raises:
        SettingsError: less than 1.
    """

    def __init__(self, value: int) -> None:
        demand(value >= 1, "value", value, otherwise="nobody would ever be let in", allowed="1 or more")
        self.value = value

    def update(self, window: Window) -> None:
        """Learn nothing."""


class Aimd:
    """One more while the limit is used and nothing is dropped; a tenth less otherwise.

    >>> limit = Aimd(low=1, initial=20, high=100)
    >>> limit.update(Window(mean_delay_s=0.001, samples=50, max_in_flight=20, dropped=0))
    >>> limit.value
    21
    >>> limit.update(Window(mean_delay_s=0.001, samples=50, max_in_flight=20, dropped=1))
    >>> limit.value
    18

    Args:
        low: It never falls below this, at least 1.
        initial: Where it begins.
        high: It never rises above this.
        backoff: What is left of it when a call was dropped.

    Raises:
        SettingsError: numbers that contradict each other.
    """

    def __init__(self, *, low: int, initial: int, high: int, backoff: float = _DROP) -> None:
        _demand_bounds(low, initial, high)
        demand(
            0 < backoff < 1,
            "backoff",
            backoff,
            otherwise="dropped calls would not lower the limit",
            allowed="a share between 0 and 1",
        )
        self._low, self._high, self._backoff = low, high, backoff
        self.value = initial

    def update(self, window: Window) -> None:
        """Learn from a window."""
        if window.dropped:
            self.value = max(self._low, int(self.value * self._backoff))
        elif window.max_in_flight * 2 >= self.value:
            self.value = min(self._high, self.value + 1)


class Gradient2:
    """Shrinks when calls take much longer than usual, grows by the length of a queue when they do not.

    The usual delay is an average of ten minutes. It comes down by a twentieth a window once calls are twice
    as quick, so that a slow time is not taken for usual long after it is over. A window with dropped calls
    takes a tenth off and teaches nothing about the delay: those that were slowest are not in it.

    >>> limit = Gradient2(low=4, initial=20, high=200)
    >>> for delay_s in (0.001, 0.001, 0.001, 0.050):
    ...     limit.update(Window(mean_delay_s=delay_s, samples=50, max_in_flight=limit.value, dropped=0))
    ...     print(limit.value)
    21
    23
    25
    24

    Args:
        low: It never falls below this, at least 1.
        initial: Where it begins.
        high: It never rises above this.
        tolerance: How many times the usual delay is still no sign of a queue.
        smoothing: How much of each new estimate is taken over.
        long_windows: The usual delay is about the mean of so many windows: ten minutes, as at Netflix, whose
            windows are ten times as long. Under a load that never ends it becomes the delay of that load.

    Raises:
        SettingsError: numbers that contradict each other, or no estimate.
    """

    def __init__(
        self,
        *,
        low: int,
        initial: int,
        high: int,
        tolerance: float = 2.0,
        smoothing: float = 0.2,
        long_windows: int = 6000,
    ) -> None:
        _demand_bounds(low, initial, high)
        demand(
            1 <= tolerance < math.inf,
            "tolerance",
            tolerance,
            otherwise="the usual delay itself would count as too long",
            allowed="1 or more",
        )
        demand(
            0 < smoothing <= 1,
            "smoothing",
            smoothing,
            otherwise="it would learn nothing or overshoot",
            allowed="a share above 0, up to 1",
        )
        demand(
            long_windows >= 1, "long_windows", long_windows, otherwise="nothing is usual", allowed="1 or more"
        )
        self.value = initial
        self._low, self._high = low, high
        self._tolerance, self._smoothing = tolerance, smoothing
        self._long_share = 2 / (long_windows + 1)
        self._usual_s = 0.0
        self._first_s: list[float] = []
        self._limit = float(initial)

    def update(self, window: Window) -> None:
        """Learn from a window."""
        if window.dropped:
            self._set(self._limit * _DROP)
            return
        delay_s = window.mean_delay_s
        usual_s = self._learn(delay_s)
        if window.max_in_flight * 2 >= self._limit:
            gradient = max(0.5, min(1.0, self._tolerance * usual_s / delay_s)) if delay_s > 0 else 1.0
            wanted = self._limit * gradient + 4 + math.sqrt(self._limit)
            self._set(self._limit * (1 - self._smoothing) + wanted * self._smoothing)

    def _learn(self, delay_s: float) -> float:
        """Return the usual delay: a plain mean of the first windows, then one that forgets."""
        if len(self._first_s) < _WARMUP_WINDOWS:
            self._first_s.append(delay_s)
            usual_s = sum(self._first_s) / len(self._first_s)
        else:
            usual_s = self._usual_s + (delay_s - self._usual_s) * self._long_share
        self._usual_s = usual_s * 0.95 if usual_s > 2 * delay_s else usual_s
        return usual_s

    def _set(self, limit: float) -> None:
        self._limit = min(float(self._high), max(float(self._low), limit))
        self.value = int(self._limit)


def _demand_bounds(low: int, initial: int, high: int) -> None:
    demand(low >= 1, "low", low, otherwise="the limit could shut everybody out", allowed="1 or more")
    demand(
        low <= initial <= high,
        "initial",
        initial,
        otherwise=f"it does not lie within the bounds {low} and {high}",
        allowed="a number from low to high",
    )
