"""Tells whether our own event loop was away, so that its absence is not taken for the server's slowness.

A reply that came in a millisecond lies unread in the kernel while the program computes for fifty, and looks
as if it had taken fifty. While calls are under way a timer beats; a beat that comes late, or is overdue when
a reply is read, says that the loop was away. What was under way meanwhile is not called slow: nobody knows.

(`perfkit.resilience.Watchdog` does the same for what is overdue, on its own, coarser scale.)
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from perfkit.clock import Clock, now_s

__all__ = ["Pulse"]

_SHORTEST_S: Final = 0.005
_LONGEST_S: Final = 0.5


class Pulse:
    """Beats twice per `slow_s` while there is something under way; a beat late by half of that is an absence.

    So an absence of `slow_s` is never overlooked, and one shorter makes no call slow that was not nearly so.

    >>> async def main() -> tuple[bool, bool]:
    ...     now = 0.0
    ...     pulse = Pulse(0.1, lambda: True, clock=lambda: now)
    ...     pulse.wake()
    ...     before = pulse.was_away(since_s=0.0, now_s=0.05)
    ...     return before, pulse.was_away(since_s=0.0, now_s=0.2)
    >>> asyncio.run(main())
    (False, True)
    """

    __slots__ = ("_away_until_s", "_busy", "_clock", "_due_s", "_period_s", "_timer")

    def __init__(self, slow_s: float, busy: Callable[[], bool], *, clock: Clock = now_s) -> None:
        """Make a pulse, at rest.

        Args:
            slow_s: What is called slow.
            busy: Tells whether anything is under way; when not, it rests until it is woken.
            clock: Tells the time; the timer itself is the loop's.
        """
        self._period_s = min(max(slow_s / 2, _SHORTEST_S), _LONGEST_S)
        self._busy = busy
        self._clock = clock
        self._due_s = 0.0
        self._away_until_s = -math.inf
        self._timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Begin to beat, unless it does already."""
        if self._timer is None:
            self._due_s = self._clock() + self._period_s
            self._timer = asyncio.get_running_loop().call_later(self._period_s, self._beat)

    def was_away(self, *, since_s: float, now_s: float) -> bool:
        """Tell whether the loop was away at some time since then."""
        self._look(now_s)
        return since_s < self._away_until_s

    def _look(self, now_s: float) -> None:
        if self._timer is not None and now_s - self._due_s > self._period_s / 2:
            self._away_until_s = now_s

    def _beat(self) -> None:
        self._look(self._clock())
        self._timer = None
        if self._busy():
            self.wake()
