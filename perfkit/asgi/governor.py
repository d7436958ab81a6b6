"""Lowers the work spent on compression while the process falls behind, and raises it again.

    cost ──▶ latency ──▶ fast ──▶ off       a step after a quarter of a second, and five looks, over the bound
         ◀──         ◀──      ◀──           a step back after each two seconds below half of it

Two signs of falling behind. *Lag*: how long something that is ready waits for the event loop. It is looked at
by asking the loop to call back at once, and noting how late it did; only while there are requests, and at
most every 10 ms, so no timer or task keeps an idle process, or a test, awake. *Throttling*: the share of time
in which a container's processor limit held it still, from its control group, once a second. The bound is
`compress_lag_ms` of lag or a quarter of the time throttled, whichever is nearer.

The two bounds apart, and the slower way back, keep it from swinging: IIS does the same at 90 and 50 % of the
processor. Ten seconds without a request end any load, and it starts again from the aim.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import exp
from pathlib import Path
from typing import Final

from perfkit.asgi.levels import Step
from perfkit.clock import Clock, now_s

__all__ = ["LoadGovernor", "throttled_s_of"]

_LOOK_EVERY_S: Final = 0.010
_SMOOTH_OVER_S: Final = 0.25
_MOST_WEIGHT: Final = 0.3  # one late callback is no load
_UP_AFTER_S: Final = 0.25
_UP_AFTER_LOOKS: Final = 5
_DOWN_AFTER_S: Final = 2.0
_FORGET_AFTER_S: Final = 10.0
_THROTTLE_EVERY_S: Final = 1.0
_MOST_THROTTLED: Final = 0.25

_CPU_STAT: Final = (
    Path("/sys/fs/cgroup/cpu.stat"),
    Path("/sys/fs/cgroup/cpu/cpu.stat"),
    Path("/sys/fs/cgroup/cpu,cpuacct/cpu.stat"),
)


class LoadGovernor:
    """Says how much work compression may be now.

    >>> time = [0.0]
    >>> governor = LoadGovernor(20, Step.LATENCY, clock=lambda: time[0])
    >>> for _ in range(80):
    ...     time[0] += 0.01
    ...     governor.observe(0.050)
    >>> governor.step.name
    'OFF'
    >>> for _ in range(500):
    ...     time[0] += 0.01
    ...     governor.observe(0.001)
    >>> governor.step.name
    'LATENCY'

    Args:
        lag_ms: The lag of the event loop above which work is lowered; 0 never lowers it.
        aim: The step without load; there is none above it.
        clock: Tells how late the loop is.
        throttled_s: Tells how long the container was held still so far, in seconds; None knows of no limit.
            By default it is looked up in the control group.
    """

    def __init__(
        self,
        lag_ms: float,
        aim: Step,
        *,
        clock: Clock = now_s,
        throttled_s: Callable[[], float | None] | None = None,
    ) -> None:
        self.step = aim
        """The step now; a number to export: 0 cost, 1 latency, 2 fast, 3 off."""
        self.lag_s = 0.0
        """How late the loop is, smoothed."""
        self.throttled = 0.0
        """The share of the last second in which the container was held still."""
        self.changes = 0
        """How often the step changed."""
        self._aim = aim
        self._bound_s = lag_ms / 1000
        self._clock = clock
        self._throttled_s = throttled_s if throttled_s is not None else throttled_s_of(_CPU_STAT)
        self._throttled_before: tuple[float, float] | None = None
        self._look_at = float("-inf") if lag_ms else float("inf")
        self._asked: float | None = None
        """When the loop was asked to call back, while it has not."""
        self._late = 0
        """Looks in a row that found it over the bound."""
        self._seen = self._changed = self._over = self._below = clock()

    def ask(self) -> Step:
        """Return the step, and look at the loop if the last look was a while ago: for each request."""
        now = self._clock()
        if now >= self._look_at:
            self._look(now)
        return self.step

    def observe(self, lag_s: float) -> None:
        """Take note of how long something had to wait for a processor: here, or seen by somebody else."""
        now = self._clock()
        if not self._bound_s:
            return
        weight = min(1 - exp((self._seen - now) / _SMOOTH_OVER_S), _MOST_WEIGHT)
        self._seen = now
        self.lag_s += weight * (lag_s - self.lag_s)
        pressure = max(self.lag_s / self._bound_s, self.throttled / _MOST_THROTTLED)
        if pressure > 1:
            self._late += 1
            if (
                self._late >= _UP_AFTER_LOOKS
                and self.step < Step.OFF
                and now - max(self._below, self._changed) >= _UP_AFTER_S
            ):
                self._go(Step(self.step + 1), now)
            self._over = now
            return
        self._below, self._late = now, 0
        if pressure >= 0.5:
            self._over = now
        elif self.step > self._aim and now - max(self._over, self._changed) >= _DOWN_AFTER_S:
            self._go(Step(self.step - 1), now)

    def _look(self, now: float) -> None:
        self._look_at = now + _LOOK_EVERY_S
        if now - self._seen > _FORGET_AFTER_S:
            self._forget(now)
        if self._asked is not None and now - self._asked < _FORGET_AFTER_S:
            return  # the loop has not come to it; one of a loop that ended never does
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._asked = now
        loop.call_soon(self._called_back, now)
        if not hasattr(loop, "epoch_s"):  # a virtual loop has no processor to be throttled
            self._look_at_throttling(now)

    def _called_back(self, asked: float) -> None:
        self._asked = None
        self.observe(self._clock() - asked)

    def _look_at_throttling(self, now: float) -> None:
        before = self._throttled_before
        if before is not None and now - before[0] < _THROTTLE_EVERY_S:
            return
        throttled_s = self._throttled_s()
        if throttled_s is None:
            self._throttled_before = (float("inf"), 0.0)  # no limit, and none will come
            return
        if before is not None:
            self.throttled = (throttled_s - before[1]) / (now - before[0])
        self._throttled_before = (now, throttled_s)

    def _forget(self, now: float) -> None:
        self.lag_s = self.throttled = 0.0
        self._throttled_before = None
        self._seen = self._over = self._below = now
        if self.step != self._aim:
            self._go(self._aim, now)

    def _go(self, step: Step, now: float) -> None:
        self.step = step
        self.changes += 1
        self._changed = now
        self._late = 0


def throttled_s_of(files: tuple[Path, ...]) -> Callable[[], float | None]:
    """Return a reader of the first of these `cpu.stat` files that is there (cgroup v2 and v1).

    >>> throttled_s_of(())() is None
    True
    """
    found = next((file for file in files if file.is_file()), None)

    def read() -> float | None:
        if found is None:
            return None
        try:
            lines = found.read_bytes().splitlines()
        except OSError:
            return None
        for line in lines:
            name, _, value = line.partition(b" ")
            if name == b"throttled_usec":
                return int(value) / 1e6
            if name == b"throttled_time":
                return int(value) / 1e9
        return None

    return read
