"""When to try again, and how long to wait before.

A retry is a second load on a server that may be failing because of load. So retries have a *budget*, a token
bucket that calls fill and retries empty: a tenth of the calls, and a few a second for quiet times. Waits have
full jitter, drawn evenly from nothing up to the bound, which spreads callers best (M. Brooker, *Exponential
backoff and jitter*, AWS Architecture Blog, 2015).

                  share a call, per_second a second
                               │
                               ▼
                     ┌───────────────────┐   a whole token: retry, spend it
                     │ tokens, ≤ `most`  │ ─────────────────────────────────▶
                     └───────────────────┘   less: denied, the first error stands

Whether a call *may* be repeated is its caller's to know: what has effects and was sent may have happened.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Final

from perfkit.clock import Clock, now_s
from perfkit.resilience.bounds import demand

__all__ = ["RetryBudget", "full_jitter_s"]

_ONE: Final = 1 - 1e-9  # ten tenths, added up, are a little less than one


def full_jitter_s(attempt: int, rng: random.Random, *, base_s: float = 0.005, cap_s: float = 0.1) -> float:
    """Return how many seconds to wait before retry number `attempt`, counted from 0.

    >>> rng = random.Random(7)
    >>> all(full_jitter_s(attempt, rng) <= min(0.005 * 2**attempt, 0.1) for attempt in range(100))
    True
    """
    return rng.random() * min(cap_s, math.ldexp(base_s, min(attempt, 30)))


@dataclass(slots=True)
class RetryBudget:
    """Allows about `share` retries a call, and `per_second` whatever the calls.

    It begins with what one second brings, and never saves more than `most` for later.

    >>> budget = RetryBudget(share=0.5, per_second=0.0, clock=lambda: 0.0)
    >>> budget.allows(), budget.earn(4), budget.allows(), budget.allows(), budget.allows()
    (False, None, True, True, False)

    Raises:
        SettingsError: a negative rate, or a bucket too small for one retry.
    """

    share: float = 0.1
    per_second: float = 10.0
    most: float = 100.0
    clock: Clock = now_s
    spent: int = 0
    """How many retries it has allowed."""
    denied: int = 0
    """How many it has not."""
    _tokens: float = field(default=0.0, init=False)
    _at_s: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        for name in ("share", "per_second"):
            value = getattr(self, name)
            demand(
                0 <= value < math.inf,
                name,
                value,
                otherwise="no budget keeps it",
                allowed="0 or a number above",
            )
        demand(
            1 <= self.most < math.inf, "most", self.most, otherwise="no retry would fit", allowed="1 or more"
        )

    def earn(self, calls: int = 1) -> None:
        """Note calls that were made, retries not counted."""
        self._tokens = min(self.most, self._tokens + calls * self.share)

    def allows(self) -> bool:
        """Spend a token on a retry, if there is one."""
        now = self.clock()
        passed_s = 1.0 if self._at_s is None else max(0.0, now - self._at_s)
        self._at_s = now
        self._tokens = min(self.most, self._tokens + passed_s * self.per_second)
        if self._tokens < _ONE:
            self.denied += 1
            return False
        self._tokens = max(0.0, self._tokens - 1)
        self.spent += 1
        return True
