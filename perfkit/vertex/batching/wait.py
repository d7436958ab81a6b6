"""The wait for company: a policy's decision, kept up to date as callers come, and the timer that ends it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from perfkit.clock import Clock
from perfkit.vertex.batching.policy import BatchPolicy, Reason

__all__ = ["Wait"]


class Wait:
    """Those who wait in the single lane, and until when.

    Args:
        policy: Decides.
        over: Called with the reason when the wait is over.
        loop: Has the timer.
        clock: The loop's.
    """

    __slots__ = (
        "_callers",
        "_clock",
        "_due_s",
        "_last_s",
        "_loop",
        "_over",
        "_policy",
        "_timer",
        "_waited_s",
        "_why",
    )

    def __init__(
        self,
        policy: BatchPolicy,
        over: Callable[[Reason], None],
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
    ) -> None:
        self._policy = policy
        self._over = over
        self._loop = loop
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._callers = 0
        self._waited_s = self._last_s = 0.0
        self._due_s = math.inf
        self._why: Reason = "gap"

    def heard(self, now_s: float) -> None:
        """Let the policy learn of a caller who waits for something else than company."""
        self._policy.arrived(now_s)

    def joined(self, now_s: float, *, price: float, latest_s: float) -> Reason | None:
        """Count a caller in, and say why all should be sent at once; None where waiting is worth it.

        Args:
            now_s: When it came.
            price: See `BatchPolicy.due`.
            latest_s: When it must be sent to be answered before its deadline.
        """
        self._policy.arrived(now_s)
        self._waited_s += self._callers * (now_s - self._last_s)
        self._callers += 1
        self._last_s = now_s
        due_s, why = self._policy.due(now_s, self._callers, self._waited_s, price)
        if latest_s < due_s:
            due_s, why = latest_s, "deadline"
        if self._why == "deadline" and self._due_s < due_s:  # somebody else's deadline is nearer
            due_s, why = self._due_s, "deadline"
        if due_s <= now_s:
            return why
        self._due_s, self._why = due_s, why
        self._set()
        return None

    def done(self) -> None:
        """Nobody waits any more."""
        self._callers = 0
        self._waited_s = 0.0
        self._due_s, self._why = math.inf, "gap"

    def close(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        """Keep one timer, moved only when it would ring too late; one that rings early is set again."""
        if self._timer is not None:
            if self._timer.when() <= self._due_s:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if not self._callers:
            return
        if self._clock() < self._due_s:
            self._set()
        else:
            self._over(self._why)
