"""Many requests for an answer nobody has yet: one asks the application, the others wait for what it gets.

The one that asks leads in its own task, so that the answer streams to its own client as it is made. The
others wait for three words: the answer, once it is whole; that it may not be shared, as soon as its head says
so, and then all go to the application at once, not one after the other; or that the leader was lost (its
client hung up), and then the next one leads. A target whose answers were not to be shared is remembered for a
short time, and nobody waits for those (Varnish calls this hit-for-miss).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, TypeAlias

from perfkit.asgi.request import Request
from perfkit.asgi.response_cache.kept import Kept
from perfkit.clock import Clock

__all__ = ["Flight", "Flights", "Word", "is_personal"]

_NOT_SHARED_FOR_S = 30.0
_NOT_SHARED_AT_MOST = 4_096

Word: TypeAlias = Kept | Literal["go", "again"]
"""What those who wait are told: the answer, to ask the application themselves, or to look once more."""


class Flight:
    """One request that asks the application, as those who wait for its answer see it."""

    __slots__ = ("key", "matches", "waiting")

    def __init__(self, key: str) -> None:
        self.key = key
        self.waiting: list[tuple[asyncio.Future[Word], Request]] = []
        self.matches: Callable[[Request], bool] | None = None
        """Tells whether the answer under way is one for a request; known with its head."""

    def selects(self, matches: Callable[[Request], bool]) -> None:
        """Learn whom the answer is for, and let the others look for theirs."""
        self.matches = matches
        staying = []
        for future, request in self.waiting:
            if matches(request):
                staying.append((future, request))
            elif not future.done():
                future.set_result("again")
        self.waiting = staying


class Flights:
    """The requests under way that others may wait for, and the targets nobody should wait for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way: dict[str, Flight] = {}
        self._not_shared: dict[tuple[str, bool], float] = {}

    def get(self, key: str) -> Flight | None:
        """Return the flight for a key that can be joined."""
        return self._under_way.get(key)

    def lead(self, key: str) -> Flight:
        """Begin a flight."""
        flight = self._under_way[key] = Flight(key)
        return flight

    async def wait(self, flight: Flight, request: Request, within_seconds: float) -> Word:
        """Return what becomes of a flight; `go` when it takes too long."""
        if flight.matches is not None and not flight.matches(request):
            return "again"
        future: asyncio.Future[Word] = asyncio.get_running_loop().create_future()
        place = future, request
        flight.waiting.append(place)
        try:
            async with asyncio.timeout(within_seconds):
                return await future
        except TimeoutError:
            return "go"
        finally:
            if place in flight.waiting:
                flight.waiting.remove(place)

    def end(self, flight: Flight, word: Word) -> None:
        """Tell all who wait, once; nobody joins any more."""
        if self._under_way.get(flight.key) is flight:
            del self._under_way[flight.key]
        for future, _ in flight.waiting:
            if not future.done():
                future.set_result(word)
        flight.waiting = []

    def not_shared(self, key: str, request: Request) -> None:
        """Remember for a while that answers to requests like this one are not to be shared."""
        not_shared, place = self._not_shared, (key, is_personal(request))
        not_shared.pop(place, None)
        while len(not_shared) >= _NOT_SHARED_AT_MOST:
            del not_shared[next(iter(not_shared))]
        not_shared[place] = self._clock() + _NOT_SHARED_FOR_S

    def shared(self, key: str, request: Request) -> None:
        """Forget that: an answer was."""
        self._not_shared.pop((key, is_personal(request)), None)

    def is_not_shared(self, key: str, request: Request) -> bool:
        """Tell whether answers to such requests were lately not to be shared."""
        place = key, is_personal(request)
        until = self._not_shared.get(place)
        if until is None:
            return False
        if self._clock() < until:
            return True
        del self._not_shared[place]
        return False


def is_personal(request: Request) -> bool:
    """Tell whether a request brings credentials: answers to it are often not shared where others are."""
    return request.get(b"authorization") is not None or request.get(b"cookie") is not None
