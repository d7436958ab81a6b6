"""Lowers the work spent on compression while the process falls behind."""

from __future__ import annotations

from collections.abc import Callable

from perfkit.asgi.levels import Step
from perfkit.clock import Clock, now_s

__all__ = ["LoadGovernor"]


class LoadGovernor:
    """Says how much work compression may be now.

    Args:
        lag_ms: The lag of the event loop above which work is lowered; 0 never lowers it.
        aim: The step without load.
        clock: Tells how late the loop is.
        throttled_s: Tells for how many seconds the container was held back by its processor limit so far.
    """

    def __init__(
        self,
        lag_ms: float,
        aim: Step,
        *,
        clock: Clock = now_s,
        throttled_s: Callable[[], float] | None = None,
    ) -> None:
        self.step = aim
        """The step now; a number to export: 0 cost, 1 latency, 2 fast, 3 off."""
        self.lag_s = 0.0
        """The lag of the loop, smoothed."""

    def ask(self) -> Step:
        """Return the step, and look at the loop if the last look was a while ago. To be called for each request."""
        return self.step

    def observe(self, lag_s: float) -> None:
        """Take note of a wait for the processor that was seen elsewhere."""
