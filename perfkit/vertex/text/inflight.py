"""How many requests for text may be under way, where no number tells the quota (dynamic shared quota).

Google shares out what capacity there is, and says 429 where there is none. So the number is searched for:
one more for each round of answers, less by three tenths for a burst of refusals. A round is as many answers
as may be under way, as in TCP's congestion avoidance (RFC 5681 §3.1): it needs no clock, and suits a model
that takes ten seconds as well as one that takes a tenth. `perfkit.resilience.Aimd` is told of windows of a
tenth of a second, so one burst, whose refusals come over seconds, would cut it again and again.

Refusals of requests that were sent before the last cut belong to its burst: they say nothing of the number
since, and neither do answers to them.
"""

from __future__ import annotations

import math
from typing import Final

from perfkit.resilience import Window
from perfkit.resilience.bounds import demand

__all__ = ["InflightLimit"]

_BACKOFF: Final = 0.7


class InflightLimit:
    """A `perfkit.resilience.Limit` that follows refusals.

    >>> limit = InflightLimit(initial=10, high=64)
    >>> limit.refused(now_s=5.0, sent_s=3.0), limit.refused(now_s=5.2, sent_s=4.9), limit.value
    (True, False, 7)
    >>> for _ in range(7):
    ...     limit.answered(sent_s=6.0, in_flight=7)
    >>> limit.value
    8

    Args:
        initial: Where it begins.
        high: It never rises above this.

    Raises:
        SettingsError: numbers that contradict each other.
    """

    def __init__(self, *, initial: int, high: int) -> None:
        demand(initial >= 1, "initial", initial, otherwise="nobody would be let in", allowed="1 or more")
        self._high = max(initial, high)
        self._cut_s = -math.inf
        self._answers = 0
        self.value = initial
        self.cuts = 0
        """How many bursts of refusals there were."""

    def answered(self, sent_s: float, in_flight: int) -> None:
        """Hear of an answer to a request sent then, when so many were under way, itself counted."""
        if sent_s <= self._cut_s or in_flight * 2 < self.value:
            return
        self._answers += 1
        if self._answers >= self.value:
            self._answers = 0
            self.value = min(self._high, self.value + 1)

    def refused(self, now_s: float, sent_s: float) -> bool:
        """Hear of a refusal (429) and return whether it lowered the limit."""
        self._answers = 0
        if sent_s <= self._cut_s:
            return False
        self._cut_s = now_s
        self.cuts += 1
        self.value = max(1, int(self.value * _BACKOFF))
        return True

    def update(self, window: Window) -> None:
        """Learn nothing from a limiter's windows: they are too short for a model that writes."""
