"""Quotas as Google counts them: so many in each minute of the clock, none carried over.

Where Google's minutes begin is not known, so the phase is part of the plan: a client that is safe at one
phase only would be refused at another. What is refused does not count.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MINUTE_S", "FixedMinutes"]

MINUTE_S: Final = 60.0


class FixedMinutes:
    """Admits so much in each minute.

    >>> quota = FixedMinutes(2, phase_s=10.0)
    >>> [quota.admits(at_s) for at_s in (40.0, 45.0, 49.9, 50.0)]
    [True, True, False, True]

    Args:
        limit: The most in a minute; 0 admits everything and counts all the same.
        phase_s: How far into a minute the clock's 0 lies.
    """

    __slots__ = ("_minute", "_phase_s", "_used", "limit", "most")

    def __init__(self, limit: int, *, phase_s: float = 0.0) -> None:
        self.limit = limit
        self.most = 0
        """In any minute so far."""
        self._phase_s = phase_s
        self._minute = -1
        self._used = 0

    def admits(self, at_s: float, amount: int = 1) -> bool:
        """Count an amount and return True, or refuse it."""
        minute = int((at_s + self._phase_s) // MINUTE_S)
        if minute != self._minute:
            self._minute = minute
            self._used = 0
        used = self._used + amount
        if self.limit and used > self.limit:
            return False
        self._used = used
        if used > self.most:
            self.most = used
        return True

    def left_s(self, at_s: float) -> float:
        """Return the seconds until the minute ends."""
        return MINUTE_S - (at_s + self._phase_s) % MINUTE_S
