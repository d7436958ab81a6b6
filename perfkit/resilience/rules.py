"""The rules of a circuit breaker: when to open, for how long, and how to come back."""

from __future__ import annotations

import math
from dataclasses import dataclass

from perfkit.resilience.bounds import demand

__all__ = ["BreakerRules"]


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When to open, for how long, and how to come back.

    >>> BreakerRules(trial_calls=0)
    Traceback (most recent call last):
    perfkit.errors.SettingsError: trial_calls is 0, so no call would be needed for it. Give it 1 or more.

    Raises:
        SettingsError: a value that no breaker could keep.
    """

    window_seconds: float = 2.0
    """How far back outcomes count; the oldest tenth of it leaves at once."""
    min_calls: int = 20
    """Fewer calls in the window than this open nothing by their ratio."""
    failure_ratio: float = 0.5
    """Failed calls of all calls in the window that open it."""
    slow_ratio: float = 0.8
    """Slow calls of all calls in the window, or of the trial calls, that open it."""
    consecutive_failures: int = 10
    """So many failures in a row open it, whatever the window holds and however long they took to come."""
    open_seconds: float = 0.5
    """The first wait, give or take a fifth; each further one in a row is twice as long."""
    max_open_seconds: float = 15.0
    """Where the doubling ends."""
    trial_calls: int = 3
    """How many calls may try while it is half-open, and must succeed to close it."""
    max_trial_seconds: float = 30.0
    """How long trials may stay silent before they are given up: longer than any call may take."""

    def __post_init__(self) -> None:
        for name in ("window_seconds", "open_seconds", "max_trial_seconds"):
            value = getattr(self, name)
            demand(
                0 < value < math.inf, name, value, otherwise="no clock measures it", allowed="seconds above 0"
            )
        demand(
            self.open_seconds <= self.max_open_seconds < math.inf,
            "max_open_seconds",
            self.max_open_seconds,
            otherwise=f"the first wait of {self.open_seconds:g} s would be longer than the longest",
            allowed="at least open_seconds",
        )
        for name in ("min_calls", "consecutive_failures", "trial_calls"):
            value = getattr(self, name)
            demand(value >= 1, name, value, otherwise="no call would be needed for it", allowed="1 or more")
        for name in ("failure_ratio", "slow_ratio"):
            value = getattr(self, name)
            demand(
                0 < value <= 1,
                name,
                value,
                otherwise="it would open for no call or never",
                allowed="a share above 0, up to 1",
            )
