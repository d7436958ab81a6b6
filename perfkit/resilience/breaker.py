"""A circuit breaker: when a dependency is down, say so at once instead of waiting for it again and again.

                     failures pile up                      every trial call succeeds
        ┌────────┐ ──────────────────▶ ┌──────┐          ┌───────────┐ ──────────▶ closed
        │ closed │                     │ open │ ───────▶ │ half-open │
        └────────┘ ◀───────────────── └──────┘ time is up└───────────┘ ──────────▶ open, for longer
                                                                        one fails

Closed, it counts outcomes in a ring of time buckets, so old successes do not hide that the server has just
died; and because even a short window may hold thousands of successes, a row of consecutive failures opens it
as well. Open, every call is refused until the wait is over; each opening in a row doubles the wait, with
jitter, so that instances do not come back in step. Half-open, exactly `trial_calls` may try.

Each state has a *generation*. An outcome is recorded for the generation its call was admitted in, and one
that comes late, from before a transition, is dropped: a straggler neither reopens a breaker that has just
closed nor closes one that is trying.

Outcomes may be recorded many at a time: a multiplexed connection learns of a whole batch at once.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal, TypeAlias

from perfkit.clock import Clock, now_s
from perfkit.errors import CircuitOpen
from perfkit.events import CircuitChanged, Probe, null_probe

__all__ = ["BreakerRules", "BreakerState", "CircuitBreaker"]

BreakerState: TypeAlias = Literal["closed", "open", "half_open", "forced_open", "disabled", "metrics_only"]

_BUCKETS = 10
_JITTER = 0.2


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When to open, for how long, and how to come back."""

    window_seconds: float = 2.0
    """How far back outcomes count."""
    min_calls: int = 20
    """Fewer calls in the window than this open nothing by their ratio."""
    failure_ratio: float = 0.5
    """Failed calls of all calls in the window that open it."""
    slow_ratio: float = 0.8
    """Slow calls of all calls in the window that open it."""
    consecutive_failures: int = 10
    """So many failures in a row open it, whatever the window holds."""
    open_seconds: float = 0.5
    """The first wait; each further one in a row is twice as long."""
    max_open_seconds: float = 15.0
    trial_calls: int = 3


class CircuitBreaker:
    """Admits calls while they have a chance.

    >>> now = 0.0
    >>> breaker = CircuitBreaker("redis", BreakerRules(consecutive_failures=2), clock=lambda: now)
    >>> for _ in range(2):
    ...     breaker.record(breaker.admit(), failed=1)
    >>> breaker.state, breaker.retry_after_seconds > 0
    ('open', True)
    >>> now = 60.0
    >>> trials = [breaker.admit() for _ in range(3)]
    >>> breaker.record(trials[0], ok=3)
    >>> breaker.state
    'closed'
    """

    def __init__(
        self,
        name: str,
        rules: BreakerRules | None = None,
        *,
        clock: Clock = now_s,
        rng: random.Random | None = None,
        probe: Probe = null_probe,
    ) -> None:
        self.name = name
        self.rules = rules or BreakerRules()
        self.state: BreakerState = "closed"
        self.generation = 0
        self.opened = 0
        """How often it has opened."""
        self.rejected = 0
        """How many calls it has refused."""
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self._probe = probe
        self._bucket_s = self.rules.window_seconds / _BUCKETS
        self._open_until = -math.inf
        self._openings_in_a_row = 0
        self._under_trial = self._trials_passed = 0
        self._forget()

    @property
    def calls(self) -> int:
        """Outcomes within the window."""
        self._roll(self._clock())
        return self._calls

    @property
    def failure_ratio(self) -> float:
        """Share of failed calls within the window; 0 without calls."""
        calls = self.calls
        return self._failures / calls if calls else 0.0

    @property
    def slow_ratio(self) -> float:
        """Share of slow calls within the window; 0 without calls."""
        calls = self.calls
        return self._slow / calls if calls else 0.0

    @property
    def retry_after_seconds(self) -> float:
        """How long it will refuse; 0 when it does not."""
        if self.state == "forced_open":
            return math.inf
        return max(0.0, self._open_until - self._clock()) if self.state == "open" else 0.0

    def admit(self) -> int:
        """Let a call through and return the generation to record its outcome for.

        Every admitted call must be recorded, or released when it came to nothing.

        Raises:
            CircuitOpen: the dependency is taken to be down.
        """
        if self.state in ("closed", "disabled", "metrics_only"):
            return self.generation
        if self.state == "open" and self._clock() >= self._open_until:
            self._enter("half_open", "the wait is over")
            self._under_trial = self._trials_passed = 0
        if self.state == "half_open" and self._under_trial + self._trials_passed < self.rules.trial_calls:
            self._under_trial += 1
            return self.generation
        self.rejected += 1
        raise self._refusal()

    def record(self, generation: int, *, ok: int = 0, failed: int = 0, slow: int = 0) -> None:
        """Count outcomes of calls admitted in a generation; `slow` are those of them that took too long."""
        if generation != self.generation or self.state == "disabled":
            return
        if self.state == "half_open":
            self._record_trials(ok, failed)
            return
        now = self._clock()
        if now >= self._bucket_ends:
            self._roll(now)
        calls = ok + failed
        bucket = self._ring[self._at]
        bucket[0] += calls
        self._calls += calls
        if not failed:
            self._in_a_row = 0
            if not slow:
                return
        elif ok:
            self._in_a_row = 0  # their order is unknown; a server that answered is not down
        else:
            self._in_a_row += failed
        bucket[1] += failed
        bucket[2] += slow
        self._failures += failed
        self._slow += slow
        if self.state == "closed" and (why := self._reason_to_open()):
            self._open(why)

    def release(self, generation: int) -> None:
        """Give back the permit of a call that was cancelled or never sent: it says nothing of the server."""
        if self.state == "half_open" and generation == self.generation:
            self._under_trial = max(0, self._under_trial - 1)

    def force_open(self) -> None:
        """Refuse every call until `reset`."""
        self._enter("forced_open", "by hand")

    def disable(self) -> None:
        """Admit every call and count nothing until `reset`."""
        self._enter("disabled", "by hand")

    def only_count(self) -> None:
        """Admit every call and count outcomes until `reset`."""
        self._enter("metrics_only", "by hand")

    def reset(self) -> None:
        """Close it and forget what was counted."""
        self._openings_in_a_row = 0
        self._forget()
        self._enter("closed", "by hand")

    def _record_trials(self, ok: int, failed: int) -> None:
        self._under_trial = max(0, self._under_trial - ok - failed)
        if failed:
            self._open("a trial call failed")
            return
        self._trials_passed += ok
        if self._trials_passed >= self.rules.trial_calls:
            self._openings_in_a_row = 0
            self._forget()
            self._enter("closed", f"{self._trials_passed} trial calls succeeded")

    def _reason_to_open(self) -> str:
        rules = self.rules
        if self._in_a_row >= rules.consecutive_failures:
            return f"{self._in_a_row} failures in a row"
        if self._calls < rules.min_calls:
            return ""
        if self._failures >= rules.failure_ratio * self._calls:
            return f"{self._failures} of {self._calls} calls failed"
        if self._slow >= rules.slow_ratio * self._calls:
            return f"{self._slow} of {self._calls} calls were slow"
        return ""

    def _open(self, why: str) -> None:
        rules = self.rules
        doublings = min(self._openings_in_a_row, 30)
        wait = min(rules.open_seconds * 2**doublings, rules.max_open_seconds)
        wait *= 1 + _JITTER * (2 * self._rng.random() - 1)
        self._openings_in_a_row += 1
        self.opened += 1
        self._open_until = self._clock() + wait
        self._forget()
        self._enter("open", why)

    def _enter(self, state: BreakerState, why: str) -> None:
        before, self.state = self.state, state
        self.generation += 1
        self._probe(CircuitChanged(self.name, before, state, why))

    def _forget(self) -> None:
        self._ring = [[0, 0, 0] for _ in range(_BUCKETS)]
        self._at = 0
        self._bucket_ends = self._clock() + self._bucket_s
        self._calls = self._failures = self._slow = self._in_a_row = 0

    def _roll(self, now: float) -> None:
        """Move on to the bucket of now and empty those that lie in between."""
        passed = int((now - self._bucket_ends) / self._bucket_s) + 1
        if now < self._bucket_ends:
            return
        for _ in range(min(passed, _BUCKETS)):
            self._at = (self._at + 1) % _BUCKETS
            bucket = self._ring[self._at]
            self._calls -= bucket[0]
            self._failures -= bucket[1]
            self._slow -= bucket[2]
            bucket[:] = 0, 0, 0
        self._bucket_ends += passed * self._bucket_s

    def _refusal(self) -> CircuitOpen:
        wait = self.retry_after_seconds
        when = f"It will be tried again in {wait:.2f} s" if math.isfinite(wait) else "It was opened by hand"
        return CircuitOpen(
            f"{self.name} is taken to be down, so nothing was sent. {when}; until then do without it.",
            dependency=self.name,
            retry_after_seconds=wait,
        )
