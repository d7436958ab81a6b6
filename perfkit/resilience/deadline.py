"""One timer for many calls: looks at the oldest of a line now and then, and knows when it was itself late.

A timer for each call costs more than a fast call does. Where every call of a pool has the same time to
live, the one that was sent first is due first, so a look at the head of the line a few times per timeout
finds all that are overdue.

A busy event loop wakes the timer late, and replies that came in time lie unread in the kernel meanwhile.
Calling them overdue would blame the server for our own stall. So a timer that was late by more than a
fraction of the timeout lets the loop read first, and grants everybody the time the loop was not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perfkit.clock import Clock, now_s

__all__ = ["Watchdog"]

_LOOKS_PER_TIMEOUT = 4
_TURNS_TO_READ = 2


class Watchdog:
    """Calls `expire(now - granted)` several times per timeout while it is running.

    `expire` gives up what was sent longer than a timeout before the time it is handed, and returns whether
    there is anything left to watch; when not, the watchdog sleeps until it is woken.
    """

    def __init__(self, timeout_s: float, expire: Callable[[float], bool], *, clock: Clock = now_s) -> None:
        self.stalls = 0
        """How often the event loop was late."""
        self._timeout_s = timeout_s
        self._expire = expire
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._granted_s = 0.0
        self._due = 0.0
        self._turns = 0

    def wake(self) -> None:
        """Begin to look, unless it does already."""
        if self._timer is None:
            self._granted_s = 0.0
            self._set()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        wait = self._timeout_s / _LOOKS_PER_TIMEOUT
        self._due = self._clock() + wait
        self._timer = asyncio.get_running_loop().call_later(wait, self._look)

    def _look(self) -> None:
        late = self._clock() - self._due
        if late > self._timeout_s / _LOOKS_PER_TIMEOUT:
            self.stalls += 1
            self._granted_s += late
            self._turns = _TURNS_TO_READ
        self._after_reading()

    def _after_reading(self) -> None:
        """Look once the loop has had its turns to read what lay in the kernel."""
        loop = asyncio.get_running_loop()
        if self._turns:
            self._turns -= 1
            self._timer = loop.call_later(0, self._after_reading)
            return
        self._timer = None
        if self._expire(self._clock() - self._granted_s):
            self._set()
        else:
            self._granted_s = 0.0
