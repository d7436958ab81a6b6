"""What waiting really brought, beside what it was thought to bring.

The histogram, and the shadows of the guard, take it that callers come when they come. One who asks again
only when he has been answered does not: a loop of `await embed(text)` comes a little after each answer, so
the gaps look worth waiting out, and no wait is ever rewarded, because nobody comes before the wait is over.
So the waits that were really made are added up against what sending at once would have cost the same
callers. Once they have cost more, by some requests, the policy *rests*: everybody is sent at once for a
while, and each time in a row twice as long; a stretch in which waiting paid makes rests short again.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Reality"]

_SLACK: Final = 8.0
"""So many requests waiting may cost more than it saved before it is given up."""
_FADE: Final = 0.5 ** (1 / 500)
_FIRST_REST: Final = 100
_LONGEST_REST: Final = 12_800


class Reality:
    """Adds up what callers really waited.

    >>> reality, at_s = Reality(), 0.0
    >>> waits = 0
    >>> for _ in range(1_000):  # he comes 1 ms after each answer, and a policy would wait 5 ms for him
    ...     if reality.trusts(at_s, 1, 0.0, worth_s=0.025):
    ...         reality.decided(at_s + 0.005)
    ...         at_s, waits = at_s + 0.006, waits + 1
    ...     else:
    ...         at_s += 0.001
    >>> waits
    168
    """

    __slots__ = ("_ahead_s", "_callers", "_last_s", "_rest", "_resting", "_until_s", "_waited_s")

    def __init__(self) -> None:
        self._ahead_s = 0.0
        """How much more waiting has cost than sending at once would have; old costs fade."""
        self._callers = 0
        self._waited_s = 0.0
        self._last_s = self._until_s = 0.0
        self._resting = 0
        self._rest = _FIRST_REST

    def trusts(self, now_s: float, callers: int, waited_s: float, worth_s: float) -> bool:
        """Hear of a caller, and say whether to wait for others at all."""
        if self._resting:
            self._resting -= 1
            self._callers = 0
            return False
        ahead_s = self._ahead_s * _FADE
        if callers == 1:
            if self._callers:  # the last request has been sent; what it waited is known now
                late_s = min(self._until_s, now_s) - self._last_s
                ahead_s += self._waited_s + (self._callers * late_s if late_s > 0 else 0.0)
        elif now_s > self._last_s:
            ahead_s -= worth_s  # this caller shares a request, and would have had one to himself
        self._callers, self._waited_s, self._last_s = callers, waited_s, now_s
        limit_s = _SLACK * worth_s
        if ahead_s > limit_s:
            self._resting, self._rest = self._rest, min(2 * self._rest, _LONGEST_REST)
            ahead_s = 0.0
        elif ahead_s < -limit_s:
            self._rest = _FIRST_REST
            ahead_s = -limit_s  # what was saved long ago is no licence
        self._ahead_s = ahead_s
        return not self._resting

    def decided(self, until_s: float) -> None:
        """Hear until when they wait, if nobody else comes."""
        self._until_s = until_s
