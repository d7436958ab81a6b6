"""A request on its way: until when anybody waits for it, and where its time went."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

__all__ = ["Phase", "Work"]

Phase: TypeAlias = Literal["lookup", "queue", "under way", "between tries"]

_WORDS: dict[Phase, str] = {
    "lookup": "looking for a kept answer",
    "queue": "waiting for a free place",
    "under way": "with the model",
    "between tries": "between tries",
}


class Work:
    """What callers of the same request share; one caller's alone where nobody shares.

    >>> work = Work(0.0, until_s=5.0)
    >>> work.enter("queue", 0.5); work.enter("under way", 3.0)
    >>> work.told(5.0)
    '0.5 s looking for a kept answer, 2.5 s waiting for a free place, 2 s with the model in 1 request'
    """

    __slots__ = ("_phase", "_since_s", "_spent_s", "requests", "until_s", "waiters")

    def __init__(self, now_s: float, until_s: float = -math.inf) -> None:
        self.until_s = until_s
        """When the last of those who wait gives up."""
        self.waiters = 0
        self.begin(now_s)

    def begin(self, now_s: float) -> None:
        """Start to tell where time goes."""
        self._spent_s: dict[Phase, float] = dict.fromkeys(_WORDS, 0.0)
        self._phase: Phase = "lookup"
        self._since_s = now_s
        self.requests = 0

    def again(self, now_s: float) -> None:
        """Forget an earlier request that the same callers waited for."""
        if self.requests:
            self.begin(now_s)

    def enter(self, phase: Phase, now_s: float) -> None:
        """Go on to a phase."""
        self._spent_s[self._phase] += now_s - self._since_s
        self._phase, self._since_s = phase, now_s
        self.requests += phase == "under way"

    def told(self, now_s: float) -> str:
        """Say where the time went."""
        spent_s = self._spent_s | {self._phase: self._spent_s[self._phase] + now_s - self._since_s}
        parts = [f"{spent_s[phase]:.3g} s {words}" for phase, words in _WORDS.items() if spent_s[phase] > 0]
        sent = f" in {self.requests} request" + ("s" if self.requests > 1 else "") if self.requests else ""
        return (", ".join(parts) or "no time at all") + sent
