"""How much of a quota is ours, when refusals say that somebody else draws on it too.

A pace that no minute overflows is refused only when others share the quota, or when it is smaller than it is
said to be. Nobody tells our share, so it is searched for as TCP searches for bandwidth: less by a fifth when
refused, more by a fiftieth of the quota each minute without (additive increase, multiplicative decrease;
Chiu, Jain 1989). Clients that search in this way come to equal shares.

A quota is counted by the minute, and a minute that is spent refuses whatever comes until it ends. So all its
refusals are one burst and say one thing: those of requests that were under way, and those of whoever came to
see whether the minute was over. They cut the share once.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["Share"]

_CUT: Final = 0.8
_LEAST: Final = 0.05
_MORE_PER_S: Final = 0.02 / 60
_BURST_S: Final = 60.0


class Share:
    """The share of the quota to draw on, from a twentieth to 1.

    >>> share = Share()
    >>> [share.refused(at_s) for at_s in (10.0, 10.1, 69.0)], share.value
    ([True, False, False], 0.8)
    >>> share.recover(10.0 + 5 * 60), round(share.value, 3)
    (True, 0.9)
    """

    __slots__ = ("_cut_s", "_seen_s", "value")

    def __init__(self) -> None:
        self.value = 1.0
        self._cut_s = self._seen_s = -math.inf

    def refused(self, now_s: float, sent_s: float | None = None) -> bool:
        """Hear of a refusal and return whether it cut the share.

        Args:
            now_s: When it came.
            sent_s: When the request was sent; one sent before the last cut says nothing of the pace since.
        """
        if now_s < self._cut_s + _BURST_S or (sent_s is not None and sent_s <= self._cut_s):
            return False
        self.recover(now_s)
        self.value = max(_LEAST, self.value * _CUT)
        self._cut_s = self._seen_s = now_s
        return True

    def recover(self, now_s: float) -> bool:
        """Let time pass and return whether the share has grown."""
        if self.value >= 1.0 or now_s <= self._seen_s:
            return False
        self.value = min(1.0, self.value + (now_s - self._seen_s) * _MORE_PER_S)
        self._seen_s = now_s
        return True
