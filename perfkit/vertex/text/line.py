"""One model's line: who may send now, what is learned from each answer, and what is tried again.

    caller ──▶ limiter ──▶ breaker ──▶ model ──▶ learn ──▶ answer
                  ▲                                └─ refused for the quota, unavailable, too slow:
                  └──────── wait, within deadline and retry budget ◀──────────────────┘

What each outcome teaches:

    answer                          the limit may grow; the breaker counts a success
    429 QuotaExceeded               the limit shrinks; the breaker learns nothing
    Unavailable, ModelTimeout       the breaker counts a failure
    400, 404, an unreadable answer  the breaker counts a success: somebody is there
    its caller left                 nothing; unless its deadline was over and the model had had its time
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from perfkit.clock import Clock
from perfkit.errors import (
    CircuitOpen,
    ModelTimeout,
    NotAuthorised,
    PoolExhausted,
    QuotaExceeded,
    Unavailable,
    VertexError,
)
from perfkit.events import Probe
from perfkit.resilience import CircuitBreaker, Limiter, full_jitter_s
from perfkit.vertex.quota.rules import breaker_rules, retry_budget
from perfkit.vertex.settings import VertexSettings
from perfkit.vertex.text.inflight import InflightLimit
from perfkit.vertex.text.stats import Counts
from perfkit.vertex.text.work import Work

__all__ = ["ModelLine", "Place"]

T = TypeVar("T")

_PATIENCE_S: Final = 3_600.0  # callers' own deadlines are what ends it
_LONGEST_LINE: Final = 10_000
_FAIR_SHARE: Final = 0.5
_QUOTA_BASE_S: Final = 2.0
_QUOTA_CAP_S: Final = 10.0
_BASE_S: Final = 0.25
_CAP_S: Final = 4.0


class ModelLine:
    """What the requests to one model in one location have in common."""

    def __init__(
        self,
        model: str,
        settings: VertexSettings,
        counts: Counts,
        *,
        location: str,
        clock: Clock,
        rng: random.Random,
        probe: Probe,
    ) -> None:
        name = f"{model} in {location}" if location else model
        self.limit = InflightLimit(initial=settings.text_inflight_initial, high=settings.text_inflight_max)
        self.limiter = Limiter(
            name, self.limit, patience_s=_PATIENCE_S, max_waiting=_LONGEST_LINE, clock=clock
        )
        self.breaker = CircuitBreaker(name, breaker_rules(settings), clock=clock, rng=rng, probe=probe)
        self.budget = retry_budget(settings, clock=clock)
        self.counts = counts
        self.clock = clock
        self.fair_s = _FAIR_SHARE * min(settings.request_timeout_seconds, settings.deadline_seconds)
        """A model that did not answer within this has failed, whosever patience ended it."""
        self._attempts = settings.attempts
        self._rng = rng

    async def place(self, work: Work) -> Place:
        """Return a place to send from, when there is one; it must be closed.

        Raises:
            CircuitOpen: the model is taken to be down.
            PoolExhausted: too many wait already.
        """
        if self.breaker.retry_after_seconds and self.breaker.state == "open":
            self.breaker.admit()  # refuses: nobody stands in line for a model that is down
        work.enter("queue", self.clock())
        await self.limiter.acquire()
        try:
            generation = self.breaker.admit()
        except BaseException:
            self.limiter.release()
            raise
        return Place(self, work, generation)

    async def persistently(self, work: Work, once: Callable[[], Awaitable[T]]) -> T:
        """Return what `once` does, doing it again where that may help and is allowed."""
        self.budget.earn()
        attempt = 0
        while True:
            try:
                return await once()
            except (CircuitOpen, PoolExhausted):
                raise
            except Unavailable as error:
                attempt += 1
                wait_s = self._wait_s(error, attempt - 1)
                now = self.clock()
                if attempt >= self._attempts or now + wait_s >= work.until_s:
                    raise
                if not self.budget.allows():
                    self.counts.retries_denied += 1
                    raise
                self.counts.retries += 1
            work.enter("between tries", now)
            await asyncio.sleep(wait_s)

    def _wait_s(self, error: Unavailable, attempt: int) -> float:
        """Full jitter; after a refusal that says how long, at least as long as it says."""
        if not isinstance(error, QuotaExceeded):
            told_s, base_s, cap_s = error.retry_after_seconds, _BASE_S, _CAP_S
        elif error.retry_after_seconds is None:
            told_s, base_s, cap_s = None, _QUOTA_BASE_S, _QUOTA_CAP_S
        else:  # jitter only keeps those who were told the same from coming back in step
            told_s, base_s, cap_s = error.retry_after_seconds, _BASE_S, _CAP_S
        return (told_s if told_s and told_s > 0 else 0.0) + full_jitter_s(
            attempt, self._rng, base_s=base_s, cap_s=cap_s
        )


class Place:
    """A place under way, from the moment its request is sent until it is closed, once."""

    __slots__ = ("_answered", "_generation", "_line", "_work", "sent_s")

    def __init__(self, line: ModelLine, work: Work, generation: int) -> None:
        self._line = line
        self._work = work
        self._generation = generation
        self._answered = False
        self.sent_s = line.clock()
        line.counts.requests += 1
        work.enter("under way", self.sent_s)

    def answered(self) -> None:
        """Hear that the model has begun to answer, or has answered."""
        line = self._line
        self._answered = True
        line.breaker.record(self._generation, ok=1)
        line.limit.answered(self.sent_s, line.limiter.in_flight)

    def close(self, error: BaseException | None) -> None:
        """Learn from how it ended, and give the place to the next."""
        line, breaker = self._line, self._line.breaker
        try:
            if error is None:
                if not self._answered:
                    self.answered()
            elif isinstance(error, QuotaExceeded):
                line.counts.refused_quota += 1
                line.limit.refused(line.clock(), self.sent_s)
                self._nothing_learned()
            elif isinstance(error, Unavailable):
                if isinstance(error, ModelTimeout) and not self._had_its_time():
                    self._nothing_learned()
                else:
                    breaker.record(self._generation, failed=1)
            elif isinstance(error, VertexError) and not isinstance(error, NotAuthorised):
                if not self._answered:
                    breaker.record(self._generation, ok=1)
            elif self._given_up() and self._had_its_time() and not self._answered:
                breaker.record(self._generation, failed=1)
            else:
                self._nothing_learned()
        finally:
            line.limiter.release()

    def _nothing_learned(self) -> None:
        if not self._answered:
            self._line.breaker.release(self._generation)

    def _had_its_time(self) -> bool:
        return self._line.clock() - self.sent_s >= self._line.fair_s

    def _given_up(self) -> bool:
        """Tell whether it ended because the last caller's deadline was over."""
        return self._line.clock() >= self._work.until_s - 1e-3
