"""The only two ways to ask the time.

`now_s` orders events and measures waits; it is the running loop's own clock, so a virtual loop moves it.
`epoch_s` stamps what is stored and read by another process; a virtual loop moves it too.
A room that keeps time takes a `Clock` as an argument and defaults to one of these.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""A function that returns seconds and never goes backwards."""

_monotonic = time.monotonic
_some_loop_keeps_its_own_time = False


def a_loop_keeps_its_own_time() -> None:
    """Say that this process has a loop whose time is not the process's: `now_s` then asks which loop runs.

    A plain loop's time is the process's monotonic clock, and asking for the running loop costs more than
    twice what that clock does (Python 3.11 makes a system call for it), on every cache hit.
    """
    global _some_loop_keeps_its_own_time
    _some_loop_keeps_its_own_time = True


def now_s() -> float:
    """Return seconds on the running loop's monotonic clock, or on the process's when no loop runs."""
    if not _some_loop_keeps_its_own_time:
        return _monotonic()
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


def clock_of(loop: asyncio.AbstractEventLoop) -> Clock:
    """Return the fastest clock that shows a loop's time, for what belongs to that loop alone.

    >>> loop = asyncio.new_event_loop()
    >>> clock_of(loop) is time.monotonic
    True
    >>> loop.close()
    """
    return loop.time if hasattr(loop, "epoch_s") else time.monotonic


def epoch_s() -> float:
    """Return seconds since 1970-01-01 UTC; inside a virtual loop, the virtual ones."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return time.time()
    virtual: Clock | None = getattr(loop, "epoch_s", None)
    return virtual() if virtual is not None else time.time()
