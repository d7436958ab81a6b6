"""Where entries are filled again because they expired, for all objects side by side.

Each object's requests lie on a line of their own. A stretch of presence is filled at its first request, then
at the first request more than one time to live after that, and so on. From any request the next such *jump*
is the same whatever else holds; it is looked up once per time to live, and all stretches are followed side
by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lines", "ticks"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_TICK_S = 1e-6
"""Times are compared in whole microseconds, so that no sum of floats decides what has expired."""

_KEPT = 16
"""How many times to live have their jumps kept at hand."""


def ticks(seconds: Floats) -> Ints:
    """Return times as whole microseconds."""
    whole: Ints = np.rint(seconds / _TICK_S).astype(np.int64)
    return whole


class Lines:
    """Requests sorted by object, then by time; `begins` marks each object's first.

    >>> line = Lines(np.array([0, 4_000_000, 9_000_000]), np.array([True, False, False]))
    >>> line.jumps(line.begins, 5.0).tolist()
    [True, False, True]
    """

    def __init__(self, at: Ints, begins: Mask) -> None:
        self.at = at
        self.begins = begins
        self.number = np.cumsum(begins) - 1
        """Which line each request is on."""
        self._span = int(at.max(initial=0)) + 1
        # All requests on one line, each object farther from the next than any time to live reaches, so that
        # one binary search serves every object at once.
        self._laid_out = self.number * (2 * self._span) + at
        self._next: dict[tuple[float, int], tuple[Floats | None, Ints]] = {}

    def jumps(self, stretches: Mask, ttl: float, factors: Floats | None = None) -> Mask:
        """Mark each stretch's first request, then every first one more than a TTL after the last marked.

        `factors`, one a line, shorten the TTL.
        """
        marked = stretches.copy()
        for fills in self.later_fills(stretches, ttl, factors):
            marked[fills] = True
        return marked

    def later_fills(self, stretches: Mask, ttl: float, factors: Floats | None = None) -> Iterator[Ints]:
        """Yield the second fill of every stretch that has one, then the third, and so on."""
        if not math.isfinite(ttl):
            return
        expired = self._first_expired(ttl, factors)
        current = np.flatnonzero(stretches)
        ends = np.append(current[1:], len(stretches))
        while len(current):
            following = expired[current]
            within = following < ends
            current, ends = following[within], ends[within]
            yield current

    def since(self, marks: Mask) -> Floats:
        """Return the seconds since the last marked request on the line; the first of each must be marked."""
        last = np.maximum.accumulate(np.where(marks, np.arange(len(marks)), 0))
        seconds: Floats = (self.at - self.at[last]).astype(np.float64) * _TICK_S
        return seconds

    def _first_expired(self, ttl: float, factors: Floats | None) -> Ints:
        """Each request's first later one of the same object that is more than a TTL away.

        Where there is none, it is the next object's first.
        """
        place = ttl, id(factors)
        if place not in self._next:
            if len(self._next) >= _KEPT:
                del self._next[next(iter(self._next))]
            reach = np.minimum(ticks(np.asarray(ttl if factors is None else ttl * factors)), self._span)
            until = self._laid_out + (reach if factors is None else reach[self.number])
            # The factors are kept too: as long as they are, no others can have their identity.
            self._next[place] = factors, np.searchsorted(self._laid_out, until, side="right")
        return self._next[place][1]
