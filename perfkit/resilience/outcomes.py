"""What became of the calls of the last seconds: a ring of time buckets with running sums.

    bucket  …  41   42   43   44   45   46   47   48   49   50      ten of them make the window
             [ 7 ][ 9 ][ 8 ][ 8 ][ 0 ][ 9 ][ 7 ][ 9 ][ 8 ][ 3 ]
               ▲ leaves when bucket 51 begins               ▲ now

Counting a call costs the same however many the window holds, and so does forgetting it: a whole bucket leaves
at once. So the window is between nine and ten tenths of its length.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["Outcomes"]

_BUCKETS: Final = 10


class Outcomes:
    """Counts of outcomes within a window; the counts are as of the last `add` or `forget_old`.

    >>> outcomes = Outcomes(window_seconds=10.0)
    >>> outcomes.add(0.5, ok=3, failed=1, slow=2)
    >>> outcomes.add(7.0, ok=0, failed=1, slow=0)
    >>> outcomes.calls, outcomes.failed, outcomes.slow, outcomes.failures_in_a_row
    (5, 2, 2, 1)
    >>> outcomes.forget_old(10.0)
    >>> outcomes.calls, outcomes.failed, outcomes.slow, outcomes.failures_in_a_row
    (1, 1, 0, 1)
    """

    __slots__ = (
        "_at",
        "_bucket_ends_s",
        "_bucket_number",
        "_bucket_s",
        "_ring",
        "calls",
        "failed",
        "failures_in_a_row",
        "slow",
    )

    def __init__(self, window_seconds: float) -> None:
        self.calls = self.failed = self.slow = 0
        self.failures_in_a_row = 0
        """Since the last success, however long ago that was."""
        self._bucket_s = window_seconds / _BUCKETS
        self._ring = [[0, 0, 0] for _ in range(_BUCKETS)]
        self._at = self._bucket_number = 0
        self._bucket_ends_s = -math.inf  # so that the first outcome looks which bucket is its own

    def add(self, now_s: float, ok: int, failed: int, slow: int) -> None:
        """Count what became of `ok + failed` calls, `slow` of which took too long."""
        if now_s >= self._bucket_ends_s:
            self.forget_old(now_s)
        calls = ok + failed
        bucket = self._ring[self._at]
        bucket[0] += calls
        self.calls += calls
        if ok:  # also where others failed: their order is unknown, and a server that answered is not down
            self.failures_in_a_row = 0
        else:
            self.failures_in_a_row += failed
        if failed or slow:
            bucket[1] += failed
            bucket[2] += slow
            self.failed += failed
            self.slow += slow

    def forget_old(self, now_s: float) -> None:
        """Move on to the bucket of now and empty those that lie in between.

        Buckets are numbered from the clock's zero: counting on from the last end would drift.
        """
        if now_s < self._bucket_ends_s:
            return
        number = math.floor(now_s / self._bucket_s)
        for _ in range(min(number - self._bucket_number, _BUCKETS)):
            self._at = (self._at + 1) % _BUCKETS
            bucket = self._ring[self._at]
            self.calls -= bucket[0]
            self.failed -= bucket[1]
            self.slow -= bucket[2]
            bucket[:] = 0, 0, 0
        self._bucket_number = number
        self._bucket_ends_s = (number + 1) * self._bucket_s
