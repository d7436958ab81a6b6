"""One timer for many calls: looks at the oldest of a line now and then, and knows when it was itself late.

A timer for each call costs more than a fast call does. Where every call of a pool has the same time to
live, the one that was sent first is due first, so a look at the head of the line every few milliseconds
finds all that are overdue.

A busy event loop wakes the timer late, and replies that came in time lie unread in the kernel meanwhile.
Calling them overdue would blame the server for our own stall. So a timer that was late by more than it
had to wait lets the loop read first, and then grants everybody the time the loop was not there:

                    wake                   in time
        ┌──────────┐ ──▶ ┌───────────────┐ ─────────────────────────────────▶ ┌────────┐
        │ sleeping │     │ timer running │  late   ┌─────────┐ turns are over │ expire │
        └──────────┘     └───────────────┘ ──────▶ │ reading │ ─────────────▶ └────────┘
             ▲                   ▲                 └─────────┘   grant         │     │
             │                   └───────────────── something left ────────────┘     │
             └───────────────────────────── nothing left ────────────────────────────┘

A grant is good for one timeout from the end of the stall, further stalls not counted. What was waiting when
the stall began had its whole time by then, and what was sent later needs none, so stalls never add up to a
blind eye for a server that is really gone.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Final

from perfkit.clock import Clock, now_s
from perfkit.resilience.bounds import demand

__all__ = ["Watchdog"]

_LOOKS_PER_TIMEOUT: Final = 4
_SHORTEST_S: Final = 0.005
_LONGEST_S: Final = 0.025
_TURNS_TO_READ: Final = 2


class Watchdog:
    """Calls `expire(now - granted)` several times per timeout while there is something to watch.

    `expire` gives up what was sent a timeout or longer before the time it is handed, and returns whether
    there is anything left to watch; when not, the watchdog sleeps until it is woken. It looks a quarter of
    the timeout apart, but at least every 25 ms and at most every 5 ms; by so much may a call be found late,
    and by as much again for each stall.

    >>> from perfkit.lab.virtual import run_virtual
    >>> async def main() -> float:
    ...     given_up = asyncio.get_running_loop().create_future()
    ...     def expire(at_s: float) -> bool:
    ...         if at_s >= 1.0 and not given_up.done():  # what was sent at 0 is due
    ...             given_up.set_result(asyncio.get_running_loop().time())
    ...         return not given_up.done()
    ...     watchdog = Watchdog(1.0, expire)
    ...     watchdog.wake()
    ...     return await given_up
    >>> round(run_virtual(main()), 3)
    1.0

    Args:
        timeout_s: How long each call may take.
        expire: Looks at the line.
        clock: Tells the time that `expire` is handed; the timer itself is the loop's.

    Raises:
        SettingsError: the timeout is no time.
    """

    def __init__(self, timeout_s: float, expire: Callable[[float], bool], *, clock: Clock = now_s) -> None:
        demand(
            0 < timeout_s < math.inf,
            "timeout_s",
            timeout_s,
            otherwise="every call or none would be overdue",
            allowed="seconds above 0",
        )
        self.stalls = 0
        """How often the event loop was late."""
        self._timeout_s = timeout_s
        self._wait_s = min(max(timeout_s / _LOOKS_PER_TIMEOUT, _SHORTEST_S), _LONGEST_S)
        self._expire = expire
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._grants: deque[tuple[float, float]] = deque()
        self._lost_s = 0.0
        self._due_s = 0.0
        self._turns = 0

    def wake(self) -> None:
        """Begin to look, unless it does already."""
        if self._timer is None and not self._closed:
            self._due_s = self._clock() + self._wait_s
            self._timer = asyncio.get_running_loop().call_later(self._wait_s, self._look)

    def close(self) -> None:
        """Look no more, whoever wakes it."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        if self._clock() - self._due_s > self._wait_s:
            self.stalls += 1
            self._turns = _TURNS_TO_READ
            self._read_first()
        else:
            self._look_now(self._clock())

    def _read_first(self) -> None:
        """Let the loop have its turns to read what lay in the kernel; they may take their time as well."""
        if self._turns:
            self._turns -= 1
            # Not call_soon: that comes before what the loop reads, a timer that is due after it.
            self._timer = asyncio.get_running_loop().call_later(0, self._read_first)
            return
        now = self._clock()
        lag_s = now - self._due_s + self._wait_s  # since the last look: when the stall began is not known
        self._lost_s += lag_s
        self._grants.append((now - self._lost_s + self._timeout_s, lag_s))
        self._look_now(now)

    def _look_now(self, now: float) -> None:
        responsive_s = now - self._lost_s
        while self._grants and responsive_s >= self._grants[0][0]:
            self._grants.popleft()
        granted_s = sum(lag_s for _until_s, lag_s in self._grants)
        self._timer = None  # first, so that a call sent by what expires can wake it
        if self._expire(now - granted_s):
            self.wake()
