"""How long to wait for company: learned from the gaps between callers, bounded, and watched.

    gaps.py       how gaps have been lately
    patience.py   how long a silence is worth bearing, if gaps stay so
    greedy.py     the bound: all waiting for one request may cost so much
    guard.py      the watch: what is learned decides only while it is cheapest
    reality.py    the other watch: what waiting really brought, where callers wait for their answers

The only knob is what a saved request is worth, in waiting of one caller. Quota raises it: `price` says how
much dearer a request has become, and the same gaps then make for longer waits.
"""

from __future__ import annotations

import math
from typing import Final

from perfkit.vertex.batching.gaps import GapHistogram
from perfkit.vertex.batching.guard import Guard
from perfkit.vertex.batching.patience import Patience
from perfkit.vertex.batching.policy import Reason
from perfkit.vertex.batching.reality import Reality

__all__ = ["AdaptivePolicy"]

_REFRESH: Final = 32
"""After so many arrivals the table is made anew; before the first so many, at each power of two."""
_MOST_WAITING: Final = 2.0
"""All waiting for one request costs at most so many requests."""
_PRICE_STEPS: Final = 4.0
"""Prices are rounded to so many steps a doubling: the cost is flat around its optimum."""


class AdaptivePolicy:
    """Waits for the next caller as long as that is likely to pay.

    >>> policy = AdaptivePolicy(0.025)
    >>> policy.arrived(0.0)
    >>> policy.due(0.0, 1, 0.0, 1.0)  # nobody is known to follow
    (0.0, 'at_once')
    >>> for tick in range(1, 200):
    ...     policy.arrived(tick * 0.003)
    >>> until_s, reason = policy.due(0.597, 1, 0.0, 1.0)
    >>> 0.600 <= until_s < 0.601, reason
    (True, 'gap')
    """

    __slots__ = (
        *("_finest_s", "_gaps", "_guard", "_key", "_last_s", "_next", "_reality"),
        *("_silences_s", "_tables", "_worth_now_s", "worth_s"),
    )

    def __init__(
        self, worth_s: float, *, guarded: bool = True, half_life: float = 400.0, finest_s: float = 0.001
    ) -> None:
        """Know nothing yet.

        Args:
            worth_s: How much waiting of one caller a saved request is worth.
            guarded: Whether greedy and never to wait stand ready to take over.
            half_life: After so many gaps, one counts for a half as much.
            finest_s: The shortest wait worth asking the event loop for.
        """
        self.worth_s = worth_s
        self._finest_s = finest_s
        self._gaps = GapHistogram(half_life=half_life, finest_s=finest_s)
        self._guard = Guard() if guarded else None
        self._reality = Reality() if guarded else None
        self._last_s: float | None = None
        self._tables: dict[int, Patience] = {}
        self._next = 1
        self._key = 0
        self._worth_now_s = worth_s
        self._silences_s: list[float] = []
        self._price(1.0)

    @property
    def decider(self) -> str:
        """Which of its three policies decides now: `learned`, `greedy` or `at_once`."""
        return self._guard.decider if self._guard is not None else "learned"

    def arrived(self, at_s: float) -> None:
        """Learn the gap since the last caller."""
        gaps = self._gaps
        if self._last_s is not None:
            gaps.observe(at_s - self._last_s if at_s > self._last_s else 0.0)
            if gaps.observed >= self._next:
                self._next = gaps.observed + min(gaps.observed, _REFRESH)
                self._refresh()
        self._last_s = at_s
        guard = self._guard
        if guard is not None:
            worth_s = self._worth_now_s
            guard.arrived(at_s, worth_s)
            shadow = guard.learned
            shadow.until_s = self._learned_s(at_s, shadow.callers, shadow.waited_s)
            shadow = guard.greedy
            shadow.until_s = at_s + (worth_s - shadow.waited_s) / shadow.callers

    def due(self, now_s: float, callers: int, waited_s: float, price: float) -> tuple[float, Reason]:
        """Say until when to wait for the next caller, and why."""
        if price != 1.0 or self._key:
            self._price(price)
        reality = self._reality
        if reality is None:
            return self._decided(now_s, callers, waited_s)
        if not reality.trusts(now_s, callers, waited_s, self._worth_now_s):
            return now_s, "at_once"
        until_s, reason = self._decided(now_s, callers, waited_s)
        reality.decided(until_s)
        return until_s, reason

    def _decided(self, now_s: float, callers: int, waited_s: float) -> tuple[float, Reason]:
        guard = self._guard
        decider = guard.decider if guard is not None else "learned"
        if decider == "learned":
            until_s = self._learned_s(now_s, callers, waited_s)
            return until_s, ("gap" if until_s > now_s else "at_once")
        if decider == "at_once":
            return now_s, "at_once"
        wait_s = (self._worth_now_s - waited_s) / callers
        if wait_s < self._finest_s / 2:
            return now_s, "greedy"
        return now_s + max(wait_s, self._finest_s), "greedy"

    def _learned_s(self, now_s: float, callers: int, waited_s: float) -> float:
        silences_s = self._silences_s
        silence_s = silences_s[callers] if callers < len(silences_s) else 0.0
        if silence_s:
            most_s = (_MOST_WAITING * self._worth_now_s - waited_s) / callers
            if most_s < silence_s:
                finest_s = self._finest_s
                silence_s = most_s if most_s >= finest_s else finest_s if most_s >= finest_s / 2 else 0.0
        return now_s + silence_s

    def _price(self, price: float) -> None:
        """Take the table of a price, or make one."""
        key = round(math.log2(price) * _PRICE_STEPS)
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = Patience(self.worth_s * 2 ** (key / _PRICE_STEPS))
            for _ in range(3):
                table.solve(self._gaps)
        self._key = key
        self._worth_now_s = table.worth_s
        self._silences_s = table.silences_s

    def _refresh(self) -> None:
        """Keep the table in use up to date, and drop the others."""
        table = self._tables[self._key]
        table.solve(self._gaps)
        self._tables = {self._key: table}
        self._silences_s = table.silences_s
