"""The gate of a pool: who may ask Redis now, and what is learned from how it went.

    caller ──▶ breaker ──▶ limiter ──▶ transport ──▶ Redis
                  ▲           ▲            │
                  └───────────┴── outcome ─┘

One gate stands before all connections of a workload. Passing it takes a place among the calls under way; the
place is given back when the reply is there, when the call is given up, or when its connection is lost,
whichever comes first, and never twice. A caller that leaves early takes nothing with it: its command is under
way until Redis answers, and only then is its place free.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from perfkit.clock import Clock, now_s
from perfkit.events import CircuitChanged, Event, Probe, null_probe
from perfkit.pools.counts import PoolCounts
from perfkit.pools.pulse import Pulse
from perfkit.pools.settings import PoolSettings
from perfkit.pools.wire import Run
from perfkit.resilience import (
    Aimd,
    BreakerRules,
    CircuitBreaker,
    Fixed,
    Gradient2,
    Limit,
    Limiter,
    RetryBudget,
)

__all__ = ["Gate"]

_RETRY_SHARE: Final = 0.1
_TRIAL_S: Final = 30.0
_SHORTEST_LINE: Final = 64
"""A pool that lets through few at a time is for large commands, and for callers with patience."""


class Gate:
    """Breaker, limiter, retry budget and counts of one pool."""

    __slots__ = (
        "_calls_earned",
        "_probe",
        "breaker",
        "budget",
        "clock",
        "counts",
        "limiter",
        "name",
        "pulse",
        "rng",
        "slow_s",
        "where",
    )

    def __init__(
        self,
        name: str,
        settings: PoolSettings,
        *,
        where: str = "",
        counts: PoolCounts | None = None,
        clock: Clock = now_s,
        rng: random.Random | None = None,
        probe: Probe = null_probe,
    ) -> None:
        """Make a gate, open.

        Args:
            name: The pool's, as its knobs bear it.
            settings: The pool's knobs.
            where: Which server it stands before, where a pool has several, as in ` at 10.0.0.7:6379`.
            counts: Where to count; default: counts of its own.
            clock: Breaker, limiter and budget go by it.
            rng: Draws jitter.
            probe: Hears when the circuit opens and closes.
        """
        self.name = name
        self.where = where
        self.counts = counts or PoolCounts()
        self.clock = clock
        self.rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self.slow_s = settings.slow_call_seconds
        self.pulse = Pulse(self.slow_s, lambda: self.counts.under_way > 0, clock=clock)
        self._probe = probe
        self.breaker = CircuitBreaker(
            f"pool {name}{where}", _rules(settings), clock=clock, rng=self.rng, probe=self._changed
        )
        self.limiter = Limiter(
            f"{name}{where}",
            _limit(settings),
            patience_s=settings.acquire_timeout_seconds,
            max_waiting=max(_SHORTEST_LINE, settings.inflight_max),
            clock=clock,
        )
        self._calls_earned = 0
        self.budget = RetryBudget(share=_RETRY_SHARE, clock=clock)

    async def enter(self) -> int:
        """Take a place, waiting for it if need be, and return the generation to report the outcome for.

        Raises:
            CircuitOpen: Redis is taken to be down.
            PoolExhausted: there was no room in time.
        """
        generation = self.breaker.admit()
        if self.limiter.take():
            return generation
        try:
            await self.limiter.acquire()
        except BaseException:
            self.breaker.release(generation)
            raise
        if generation != self.breaker.generation:  # it has opened while this call stood in line
            try:
                return self.breaker.admit()
            except BaseException:
                self.limiter.release()
                raise
        return generation

    def leave(self, generation: int) -> None:
        """Give back a place whose command was not sent: that says nothing of the server."""
        self.breaker.release(generation)
        self.limiter.release()

    def may_retry(self) -> bool:
        """Spend one retry of the budget, to which every call adds, if there is one."""
        calls = self.counts.calls
        self.budget.earn(calls - self._calls_earned)
        self._calls_earned = calls
        return self.budget.allows()

    def answered(self, now_s: float, runs: Sequence[Run], blaming: Sequence[int]) -> None:
        """Learn of replies, oldest first, and of the generations of those that say Redis cannot serve.

        Only what was sent since the breaker's last change tells it anything, and a connection answers in
        order: that is the generation of the last run, unless a probe came last, which has none.
        """
        newest = runs[-1][1]
        if newest < 0:
            newest = max(generation for _sent_s, generation, _count in runs)
        places = replies = slow = 0
        delays_s = 0.0
        for sent_s, generation, count in runs:
            delay_s = now_s - sent_s
            self.counts.observe(delay_s, count)
            places += count
            delays_s += delay_s * count
            if generation == newest:
                replies += count
                if delay_s > self.slow_s and not self.pulse.was_away(since_s=sent_s, now_s=now_s):
                    slow += count
        failed = blaming.count(newest) if blaming else 0
        self.breaker.record(newest, ok=replies - failed, failed=failed, slow=slow)
        self.limiter.observe(delays_s, places)
        self.limiter.release(places)

    def gave_up(self, generation: int, waited_s: float) -> None:
        """Learn that a call was too late; its place is free though its reply may still come."""
        self.breaker.record(generation, failed=1)
        self.limiter.observe(waited_s, 1, dropped=1)
        self.limiter.release()

    def lost(self, generations: set[int], places: int) -> None:
        """Learn that a connection went with so many calls on it: one failure, however many it carried.

        A server that is gone is found out by the next attempt to connect; one that only closed this
        connection is not, and a breaker that opened for it would shut out a healthy server.
        """
        if generations:
            self.breaker.record(max(generations), failed=1)
        self.limiter.release(places)

    def unreached(self, generation: int) -> None:
        """Learn that there was no connection for a call."""
        self.breaker.record(generation, failed=1)
        self.limiter.release()

    def _changed(self, event: Event) -> None:
        """Count what the breaker did before whoever listens hears of it."""
        if isinstance(event, CircuitChanged):
            move = event.before, event.after
            self.counts.transitions[move] = self.counts.transitions.get(move, 0) + 1
        self._probe(event)


def _rules(settings: PoolSettings) -> BreakerRules:
    return BreakerRules(
        window_seconds=settings.breaker_window_seconds,
        min_calls=settings.breaker_min_calls,
        failure_ratio=settings.breaker_failure_ratio,
        open_seconds=settings.breaker_open_seconds,
        max_open_seconds=max(settings.breaker_open_seconds, BreakerRules().max_open_seconds),
        max_trial_seconds=max(
            _TRIAL_S, settings.connect_timeout_seconds + 2 * settings.command_timeout_seconds
        ),
    )


def _limit(settings: PoolSettings) -> Limit:
    """Three knobs are three numbers: where they contradict each other, the upper bound wins."""
    high = settings.inflight_max
    low = min(settings.inflight_min, high)
    initial = min(max(settings.inflight_initial, low), high)
    if settings.limit == "fixed":
        return Fixed(initial)
    if settings.limit == "aimd":
        return Aimd(low=low, initial=initial, high=high)
    return Gradient2(low=low, initial=initial, high=high)
