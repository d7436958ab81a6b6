"""A circuit breaker: when a dependency is down, say so at once instead of waiting for it again and again.

                        failures pile up
        ┌────────┐ ────────────────────────▶ ┌──────┐ ◀──────────────────────────┐
        │ closed │                           │ open │                            │
        └────────┘ ◀─────────┐               └──────┘                            │
             ▲               │                   │ the wait is over,             │ one fails, most are slow,
             │ reset         │ every trial       ▼ and somebody asks             │ or none reports in time:
             │               │ succeeds    ┌───────────┐                         │ twice the wait
        ┌────────────┐       └─────────────│ half-open │─────────────────────────┘
        │  by hand   │                     └───────────┘
        └────────────┘
         from any state: forced_open refuses all, disabled admits all, metrics_only admits all and counts

Closed, it counts outcomes in a ring of time buckets, so old successes do not hide that the server has just
died; and because even a short window may hold thousands of successes, a row of consecutive failures opens it
as well. Only a bad outcome opens it: a success that completes the least number of calls does not. Open, every
call is refused until the wait is over; each opening in a row doubles the wait, with jitter, so that instances
do not come back in step. Half-open, exactly `trial_calls` may try. A trial that was cancelled gives its
permit back; trials that never report are given up, so that a lost one cannot keep the breaker half-open for
ever.

Each state has a *generation*. An outcome is recorded for the generation its call was admitted in, and one
that comes late, from before a transition, is dropped: a straggler neither reopens a breaker that has just
closed nor closes one that is trying.

Outcomes may be recorded many at a time: a multiplexed connection learns of a whole batch at once. The states
and rules are those of resilience4j (`CircuitBreakerConfig`), the consecutive rule and the doubling are not.
A breaker belongs to one event loop.
"""

from __future__ import annotations

import math
import random
from typing import Final, Literal, TypeAlias

from perfkit.clock import Clock, now_s
from perfkit.errors import CircuitOpen
from perfkit.events import CircuitChanged, Probe, null_probe
from perfkit.resilience.outcomes import Outcomes
from perfkit.resilience.rules import BreakerRules

__all__ = ["BreakerState", "CircuitBreaker"]

BreakerState: TypeAlias = Literal["closed", "open", "half_open", "forced_open", "disabled", "metrics_only"]

_JITTER: Final = 0.2
_ADMITTING: Final = frozenset({"closed", "disabled", "metrics_only"})
_COUNTING: Final = frozenset({"closed", "half_open", "metrics_only"})


class CircuitBreaker:
    """Admits calls while they have a chance.

    `state` says open until a call asks after the wait is over: without a caller nothing is tried.

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
        self._admits_all = self._counts = True
        self._open_until = self._trials_end = -math.inf
        self._openings_in_a_row = 0
        self._under_trial = self._trials_passed = self._trials_slow = 0
        self._outcomes = Outcomes(self.rules.window_seconds)

    @property
    def calls(self) -> int:
        """Outcomes within the window."""
        self._outcomes.forget_old(self._clock())
        return self._outcomes.calls

    @property
    def failure_ratio(self) -> float:
        """Share of failed calls within the window; 0 without calls."""
        calls = self.calls
        return self._outcomes.failed / calls if calls else 0.0

    @property
    def slow_ratio(self) -> float:
        """Share of slow calls within the window; 0 without calls."""
        calls = self.calls
        return self._outcomes.slow / calls if calls else 0.0

    @property
    def retry_after_seconds(self) -> float:
        """How long it will refuse: 0 when it does not, infinite when opened by hand.

        While all trial calls are under way nobody knows; then it is the first wait, or less when they are
        given up sooner.
        """
        if self.state == "open":
            return max(0.0, self._open_until - self._clock())
        if self.state == "half_open" and not self._has_permit():
            return max(0.0, min(self.rules.open_seconds, self._trials_end - self._clock()))
        return math.inf if self.state == "forced_open" else 0.0

    def admit(self) -> int:
        """Let a call through and return the generation to record its outcome for.

        Every admitted call must be recorded, or released when it came to nothing.

        Raises:
            CircuitOpen: the dependency is taken to be down.
        """
        if self._admits_all:
            return self.generation
        if self.state == "open" and self._clock() >= self._open_until:
            self._under_trial = self._trials_passed = self._trials_slow = 0
            self._enter("half_open", "the wait is over")
        if self.state == "half_open":
            now = self._clock()
            if self._has_permit():
                self._under_trial += 1
                self._trials_end = now + self.rules.max_trial_seconds
                return self.generation
            if now >= self._trials_end:
                self._open(f"{self._under_trial} trial calls did not report")
        self.rejected += 1
        raise self._refusal()

    def record(self, generation: int, *, ok: int = 0, failed: int = 0, slow: int = 0) -> None:
        """Count outcomes of calls admitted in a generation.

        Args:
            generation: What `admit` returned; outcomes of another than the present one are dropped.
            ok: Calls that succeeded.
            failed: Calls that say the dependency is down; a refused argument does not.
            slow: Those among both that took too long.
        """
        if generation != self.generation or not self._counts:
            return
        if self.state == "half_open":
            self._record_trials(ok, failed, slow)
            return
        self._outcomes.add(self._clock(), ok, failed, slow)
        if (failed or slow) and self.state == "closed" and (why := self._reason_to_open()):
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
        self._outcomes = Outcomes(self.rules.window_seconds)
        self._enter("closed", "by hand")

    def _has_permit(self) -> bool:
        return self._under_trial + self._trials_passed < self.rules.trial_calls

    def _record_trials(self, ok: int, failed: int, slow: int) -> None:
        self._under_trial = max(0, self._under_trial - ok - failed)
        self._trials_passed += ok
        self._trials_slow += slow
        passed, rules = self._trials_passed, self.rules
        if failed:
            self._open("a trial call failed")
        elif passed < rules.trial_calls:
            return
        elif self._trials_slow >= rules.slow_ratio * passed:
            self._open(f"{self._trials_slow} of {passed} trial calls were slow")
        else:
            self._openings_in_a_row = 0
            self._outcomes = Outcomes(self.rules.window_seconds)
            self._enter("closed", f"{passed} trial calls succeeded")

    def _reason_to_open(self) -> str:
        rules, seen = self.rules, self._outcomes
        if seen.failures_in_a_row >= rules.consecutive_failures:
            return f"{seen.failures_in_a_row} failures in a row"
        if seen.calls < rules.min_calls:
            return ""
        if seen.failed >= rules.failure_ratio * seen.calls:
            return f"{seen.failed} of {seen.calls} calls failed"
        if seen.slow >= rules.slow_ratio * seen.calls:
            return f"{seen.slow} of {seen.calls} calls were slow"
        return ""

    def _open(self, why: str) -> None:
        rules = self.rules
        doublings = min(self._openings_in_a_row, 30)
        wait = min(rules.open_seconds * 2**doublings, rules.max_open_seconds)
        wait *= 1 + _JITTER * (2 * self._rng.random() - 1)
        self._openings_in_a_row += 1
        self.opened += 1
        self._open_until = self._clock() + wait
        self._outcomes = Outcomes(self.rules.window_seconds)
        self._enter("open", why)

    def _enter(self, state: BreakerState, why: str) -> None:
        before, self.state = self.state, state
        self._admits_all = state in _ADMITTING
        self._counts = state in _COUNTING
        self.generation += 1
        if state != before:
            self._probe(CircuitChanged(self.name, before, state, why))

    def _refusal(self) -> CircuitOpen:
        wait = self.retry_after_seconds
        if self.state == "forced_open":
            when = "It was opened by hand and stays so until it is reset"
        elif self.state == "half_open":
            when = f"{self._under_trial} trial calls are under way; ask again in {wait:.2f} s"
        else:
            when = f"It will be tried again in {wait:.2f} s"
        return CircuitOpen(
            f"{self.name} is taken to be down, so nothing was sent. {when}; until then do without it.",
            dependency=self.name,
            retry_after_seconds=wait if math.isfinite(wait) else None,
        )
