"""A text on its way, and the calls that wait for it.

One `Item` stands for a text however many callers want it; each `Call` collects what its own texts came to and
has a future of its own, so that no caller can take another's answer along when it leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from perfkit.vertex.protocols import Text, Vector

if TYPE_CHECKING:
    from perfkit.vertex.batching.lanes import Lane

__all__ = ["Call", "Item", "Outcome", "Request", "Where"]

Outcome: TypeAlias = Vector | Exception
"""What a text came to."""

Where: TypeAlias = Literal["waiting", "parted", "sent", "resting", "done"]
"""In a lane; in a part of a request that was refused; in a request; between two attempts; answered, failed or
left by everybody."""


class Item:
    """A text on its way."""

    __slots__ = ("attempts", "came_s", "lane", "request", "sent", "text", "tokens", "waiters", "where")

    def __init__(self, text: Text, tokens: int, came_s: float, lane: Lane) -> None:
        self.text = text
        self.tokens = tokens
        """As estimated."""
        self.came_s = came_s
        self.lane = lane
        self.sent = False
        """Whether it ever left."""
        self.attempts = 0
        """Requests that failed and carried it."""
        self.where: Where = "waiting"
        self.request: Request | None = None
        """What carries it, while it is sent."""
        self.waiters: list[tuple[Call, int]] = []
        """Who wants it, and at which place among what each wants."""

    def settle(self, outcome: Outcome) -> None:
        """Give the outcome to everybody who still waits."""
        self.where = "done"
        for call, place in self.waiters:
            call.settle(place, outcome)
        self.waiters.clear()


class Call:
    """What one caller asked for, and what came of it so far."""

    __slots__ = ("future", "items", "missing", "outcomes")

    def __init__(self, texts: int, loop: asyncio.AbstractEventLoop) -> None:
        self.missing = texts
        self.items: list[Item] = []
        self.outcomes: list[Outcome | None] = [None] * texts
        self.future: asyncio.Future[Sequence[Outcome]] = loop.create_future()

    def settle(self, place: int, outcome: Outcome) -> None:
        """Take one text's outcome; the last one ends the waiting."""
        self.outcomes[place] = outcome
        self.missing -= 1
        if not self.missing and not self.future.done():
            self.future.set_result([outcome for outcome in self.outcomes if outcome is not None])

    def leave(self) -> list[Item]:
        """Want nothing any more, and return the items that nobody wants now."""
        unwanted = []
        for item in dict.fromkeys(self.items):
            if item.where == "done":
                continue
            item.waiters = [waiter for waiter in item.waiters if waiter[0] is not self]
            if not item.waiters:
                unwanted.append(item)
        return unwanted


class Request:
    """Texts that travel together, once they are on their way."""

    __slots__ = ("bulk", "generation", "items", "reported", "sent_s", "task", "tokens", "trial", "wanted")

    def __init__(
        self, items: list[Item], *, tokens: int, bulk: bool, generation: int, sent_s: float, trial: bool
    ) -> None:
        self.items = items
        self.sent_s = sent_s
        self.reported = False
        """Whether it is known what became of it."""
        self.trial = trial
        """Whether others wait to see if it is small enough."""
        self.tokens = tokens
        """As estimated and taken from the quota."""
        self.bulk = bulk
        self.generation = generation
        """Of the circuit breaker, when it was let through."""
        self.wanted = len(items)
        """Items somebody still waits for; when there are none it is cancelled."""
        self.task: asyncio.Task[None] | None = None
        for item in items:
            item.where, item.request = "sent", self
