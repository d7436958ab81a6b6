"""The watch over a learned policy: it decides only while it is the cheapest.

A histogram cannot promise anything: let arrivals change as they please, and what it learned is wrong. Greedy
promises, to cost at most twice the optimum, but no better than that. So three policies are played at once on
the same arrivals, each in a *shadow* that keeps four numbers and costs well under a microsecond: the learned
one, greedy, and never to wait. Their costs fade alike (half of them after `_HALF_LIFE` arrivals). Whoever
has been cheapest decides; the learned policy is given up for greedy when that is cheaper by `_SLACK`
requests, and taken back when it is itself cheaper by as many, so that two that are alike do not take turns.

In the long run the cost is then greedy's at the most, which is twice the optimum, and hardly ever more than
that of sending each caller at once, which is the best there is when hardly anybody comes.
"""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias

__all__ = ["Decider", "Guard", "Shadow"]

Decider: TypeAlias = Literal["learned", "greedy", "at_once"]

_HALF_LIFE: Final = 5_000.0
_SLACK: Final = 10.0
_FADE: Final = 0.5 ** (1 / _HALF_LIFE)


class Shadow:
    """What a policy would have cost so far."""

    __slots__ = ("callers", "cost_s", "last_s", "until_s", "waited_s")

    def __init__(self) -> None:
        self.callers = 0
        self.waited_s = 0.0
        self.last_s = 0.0
        self.until_s = math.inf
        self.cost_s = 0.0

    def arrived(self, at_s: float, worth_s: float) -> None:
        """Let what was due be sent, and a caller come; who calls this sets `until_s` next."""
        callers, last_s = self.callers, self.last_s
        self.cost_s *= _FADE
        if callers:
            if self.until_s < at_s and last_s < at_s:
                late_s = self.until_s - last_s
                self.cost_s += worth_s + self.waited_s + (callers * late_s if late_s > 0 else 0.0)
                self.callers, self.waited_s = 1, 0.0
            else:
                self.callers = callers + 1
                self.waited_s += callers * (at_s - last_s)
        else:
            self.callers = 1
        self.last_s = at_s


class Guard:
    """Three shadows, and which of them decides."""

    __slots__ = ("_at_once_s", "_last_s", "decider", "greedy", "learned", "switches")

    def __init__(self) -> None:
        self.learned = Shadow()
        self.greedy = Shadow()
        self.decider: Decider = "learned"
        self.switches = 0
        """How often another one has taken over."""
        self._at_once_s = 0.0
        self._last_s = -math.inf

    def arrived(self, at_s: float, worth_s: float) -> None:
        """Let a caller come; who calls this sets the shadows' `until_s` next."""
        self.learned.arrived(at_s, worth_s)
        self.greedy.arrived(at_s, worth_s)
        self._at_once_s *= _FADE
        if at_s > self._last_s:
            self._at_once_s += worth_s
            self._last_s = at_s
        learned_s, greedy_s = self.learned.cost_s, self.greedy.cost_s
        decider = self.decider
        ahead_s = greedy_s - learned_s
        if decider == "greedy":
            if ahead_s > _SLACK * worth_s:
                decider = "learned"
        elif ahead_s < -_SLACK * worth_s:
            decider = "greedy"
        if decider != "greedy":
            decider = "at_once" if self._at_once_s < learned_s else "learned"
        if decider != self.decider:
            self.decider = decider
            self.switches += 1
