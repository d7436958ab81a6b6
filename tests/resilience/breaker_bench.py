"""A breaker on a clock that tests move."""

from __future__ import annotations

import random
from typing import Any

from perfkit.errors import CircuitOpen
from perfkit.events import Event
from perfkit.resilience import BreakerRules, CircuitBreaker


class Middle(random.Random):
    """No jitter: every draw is the middle."""

    def random(self) -> float:
        return 0.5


class Bench:
    """A breaker on a clock the test moves, with what it said."""

    def __init__(self, rng: random.Random | None = None, **rules: Any) -> None:
        self.now_s = 100.0
        self.events: list[Event] = []
        self.breaker = CircuitBreaker(
            "redis",
            BreakerRules(**rules),
            clock=lambda: self.now_s,
            rng=rng or Middle(),
            probe=self.events.append,
        )

    def calls(self, times: int = 1, **outcome: int) -> None:
        """Admit calls one after the other and record the same outcome for each."""
        for _ in range(times):
            self.breaker.record(self.breaker.admit(), **outcome)

    def opened(self) -> CircuitBreaker:
        """Open it by failures in a row."""
        self.calls(self.breaker.rules.consecutive_failures, failed=1)
        assert self.breaker.state == "open"
        return self.breaker

    def half_opened(self) -> CircuitBreaker:
        """Open it, wait, and give the first permit back."""
        breaker = self.opened()
        self.now_s += breaker.retry_after_seconds
        breaker.release(breaker.admit())
        assert breaker.state == "half_open"
        return breaker


def refused(breaker: CircuitBreaker) -> bool:
    """Whether a call is refused; an admitted one stays under way."""
    try:
        breaker.admit()
    except CircuitOpen:
        return True
    return False
