"""When to try again, and how long to wait before.

A retry is a second load on a server that may be failing because of load. So retries have a *budget*, a token
bucket that calls fill and retries empty: a tenth of the calls, and a few a second for quiet times. Waits have
full jitter, drawn evenly from nothing up to the bound, which spreads callers best (M. Brooker, *Exponential
backoff and jitter*, AWS Architecture Blog, 2015).

Whether a call *may* be repeated is its caller's to know: what has effects and was sent may have happened.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from perfkit.clock import Clock, now_s

__all__ = ["RetryBudget", "full_jitter_s"]


def full_jitter_s(attempt: int, rng: random.Random, *, base_s: float = 0.005, cap_s: float = 0.1) -> float:
    """Return how long to wait before retry number `attempt`, counted from 0."""
    return rng.random() * min(cap_s, base_s * 2 ** min(attempt, 30))


@dataclass(slots=True)
class RetryBudget:
    """Allows about `share` retries a call, and `per_second` whatever the calls.

    >>> budget = RetryBudget(share=0.5, per_second=0.0, clock=lambda: 0.0)
    >>> budget.allows(), budget.earn(4), budget.allows(), budget.allows(), budget.allows()
    (False, None, True, True, False)
    """

    share: float = 0.1
    per_second: float = 10.0
    most: float = 100.0
    clock: Clock = now_s
    spent: int = 0
    denied: int = 0
    _tokens: float = 0.0
    _at: float = -1.0

    def earn(self, calls: int = 1) -> None:
        """Note calls that were made."""
        self._tokens = min(self.most, self._tokens + calls * self.share)

    def allows(self) -> bool:
        """Spend a token on a retry, if there is one."""
        now = self.clock()
        passed = self.per_second if self._at < 0 else (now - self._at) * self.per_second
        self._tokens = min(self.most, self._tokens + passed)
        self._at = now
        if self._tokens < 1:
            self.denied += 1
            return False
        self._tokens -= 1
        self.spent += 1
        return True
