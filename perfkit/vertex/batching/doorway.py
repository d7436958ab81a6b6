"""Where texts become requests: which lane goes next, and whether anything may go at all.

A request is composed at the moment it is let through, and not before (late binding). Four things must agree:
there is a lane whose texts are due, a place among the requests under way, a token of the quota, and a circuit
breaker that is closed. Whichever says no also says who will ask again: a place that is given back, a timer of
the quota, the trial of the breaker.

While single queries and bulk work are due at once, bulk has its share of the requests and no more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from perfkit.errors import CircuitOpen
from perfkit.vertex.batching.items import Item, Request
from perfkit.vertex.batching.lanes import Lane
from perfkit.vertex.batching.outlet import Outlet
from perfkit.vertex.batching.policy import Reason

__all__ = ["Doorway", "Limits", "Passed"]


@dataclass(slots=True)
class Limits:
    """What one request may hold; lowered when the server says that it takes less."""

    max_texts: int
    max_tokens: int


class Passed(NamedTuple):
    """What was let through."""

    items: list[Item]
    tokens: int
    """As estimated, and taken from the quota."""
    bulk: bool
    generation: int
    """Of the circuit breaker."""
    why: Reason
    trial: bool
    """Whether no other goes out before this one is answered."""


class House(Protocol):
    """Who the doorway belongs to."""

    def go(self, passed: Passed) -> None:
        """Send what was let through."""
        ...

    def emptied(self, lane: Lane) -> None:
        """Nothing waits in a lane any more."""
        ...

    def shut(self, refusal: CircuitOpen) -> None:
        """The breaker is open: nothing that waits has a chance now."""
        ...


class Doorway:
    """The lanes of one batcher, and the way out of them."""

    __slots__ = (
        *(
            "_credit",
            "_credit_each",
            "_due",
            "_gate",
            "_house",
            "_limits",
            "_loop",
            "_outlet",
            "_parts",
            "_trial",
            "_turn",
        ),
        *("bulk", "single"),
    )

    def __init__(
        self,
        house: House,
        outlet: Outlet,
        limits: Limits,
        *,
        loop: asyncio.AbstractEventLoop,
        bulk_share: float,
    ) -> None:
        self.single, self.bulk = Lane(bulk=False), Lane(bulk=True)
        self._house = house
        self._outlet = outlet
        self._limits = limits
        self._loop = loop
        self._parts: deque[tuple[list[Item], Reason]] = deque()
        self._due: dict[Lane, Reason] = {}
        self._credit = 0.0
        self._credit_each = bulk_share / (1 - bulk_share) if bulk_share < 1 else 1.0
        self._trial: Literal["no", "wanted", "out"] = "no"
        self._turn: asyncio.Handle | None = None
        self._gate: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Texts that are not on their way."""
        parted = sum(item.where == "parted" for items, _why in self._parts for item in items)
        return self.single.texts + self.bulk.texts + parted

    def lane(self, *, bulk: bool) -> Lane:
        """Return the lane of single queries, or that of bulk work."""
        lane = self.bulk if bulk else self.single
        if not lane.texts and lane in self._due:  # whoever it was due for has left
            self._emptied(lane)
        return lane

    def is_due(self, lane: Lane) -> bool:
        """Tell whether a lane's texts wait for a way out and no longer for company."""
        return lane in self._due

    def due_now(self, lane: Lane, why: Reason) -> None:
        """Send a lane's texts."""
        self._due.setdefault(lane, why)
        self.pump()

    def due_this_turn(self, lane: Lane, why: Reason) -> None:
        """Send a lane's texts at the end of this turn of the loop: all who call in it travel together."""
        self._due.setdefault(lane, why)
        if self._turn is None:
            self._turn = self._loop.call_soon(self._turn_ends)

    def due_as_is(self, items: list[Item], why: Reason) -> None:
        """Send exactly these texts in one request, before everything else; `pump` lets them go."""
        for item in items:
            item.where = "parted"
        self._parts.append((items, why))

    def put_back(self, items: Iterable[Item]) -> None:
        """Put texts back to the heads of their lanes, due at once."""
        for lane in (self.single, self.bulk):
            own = [
                item for item in items if item.lane.bulk is lane.bulk and item.where in ("sent", "resting")
            ]
            if own:
                lane.put_back(own)
                self._due.setdefault(lane, "part")
        self.pump()

    def pump(self) -> None:
        """Let through what is due, as far as it goes."""
        while self._lets_one_through():
            pass

    def try_one(self) -> None:
        """Let requests out one at a time until one is answered: how large they may be is being found out."""
        if self._trial == "no":
            self._trial = "wanted"

    def tried(self, request: Request, *, answered: bool) -> None:
        """Hear what became of a request; others may have waited for it."""
        if request.trial:
            self._trial = "no" if answered else "wanted"

    def close(self) -> None:
        """Let nothing through any more."""
        for handle in (self._turn, self._gate):
            if handle is not None:
                handle.cancel()

    def _turn_ends(self) -> None:
        self._turn = None
        self.pump()

    def _lets_one_through(self) -> bool:
        while self._parts:
            items = [item for item in self._parts[0][0] if item.where == "parted"]
            if items:
                return self._lets_through(items[0].lane.bulk, sum(item.tokens for item in items))
            self._parts.popleft()
        for lane in [lane for lane in self._due if not lane.texts]:
            self._emptied(lane)
        lanes = [lane for lane in (self.single, self.bulk) if lane in self._due]
        if len(lanes) == 2 and self._credit >= 1:
            lanes.reverse()
        return any(self._lets_through(lane.bulk, min(lane.tokens, self._limits.max_tokens)) for lane in lanes)

    def _lets_through(self, bulk: bool, tokens: int) -> bool:
        """Ask all who have a say, and see to it that somebody asks again where one says no."""
        outlet = self._outlet
        if self._trial == "out":
            return False
        if not outlet.slots.free(bulk=bulk):
            outlet.slots.when_free(self.pump)
            return False
        wait_s = outlet.quota.take(tokens, bulk=bulk)
        if wait_s > 0:
            self._ask_again(wait_s)
            return False
        try:
            generation = outlet.breaker.admit()
        except CircuitOpen as refusal:
            outlet.quota.unsent(tokens)
            if outlet.breaker.state == "half_open":  # who is on trial gives its place back when that is over
                outlet.slots.when_free(self.pump)
            else:
                self._house.shut(refusal)
            return False
        outlet.slots.take(bulk=bulk)
        items, why = self._composed(bulk)
        carried = sum(item.tokens for item in items)
        if carried != tokens:
            outlet.quota.settle(tokens, carried)
        trial = self._trial == "wanted"
        if trial:
            self._trial = "out"
        self._house.go(Passed(items, carried, bulk, generation, why, trial))
        return True

    def _composed(self, bulk: bool) -> tuple[list[Item], Reason]:
        if self._parts:
            items, why = self._parts.popleft()
            return [item for item in items if item.where == "parted"], why
        lane, limits = self.lane(bulk=bulk), self._limits
        if len(self._due) == 2:
            self._credit = min(1.0, self._credit + (-1 if bulk else self._credit_each))
        why = self._due[lane]
        items = lane.take(max_texts=limits.max_texts, max_tokens=limits.max_tokens)
        if lane.texts:
            self._due[lane] = "full" if len(items) >= limits.max_texts else "tokens"
        else:
            self._emptied(lane)
        return items, why

    def _emptied(self, lane: Lane) -> None:
        self._due.pop(lane, None)
        self._house.emptied(lane)

    def _ask_again(self, wait_s: float) -> None:
        """Come back when the quota may let something through."""
        at_s = self._loop.time() + wait_s
        if self._gate is not None:
            if self._gate.when() <= at_s:
                return
            self._gate.cancel()
        self._gate = self._loop.call_at(at_s, self._gate_opens)

    def _gate_opens(self) -> None:
        self._gate = None
        self.pump()
