"""Single-flight: many callers want the same answer at the same time, and the work is done once.

The usual way makes the first caller do the work while the others wait for it; then a first caller that is
cancelled (its client hung up) fails everybody behind it. Here nobody leads. The work runs in a task of its
own, every caller is a waiter behind a shield, and a cancelled waiter only leaves:

    run(key) ──> flight of key? ──no──> start a task ──┐
                      └────────yes, join it ───────────┴──> wait, shielded ──> result or error, to all
                                                                ├── cancelled: leave; the last one out
                                                                │   cancels the task
                                                                └── out of patience: leave; the task goes on

A flight is out of the table before its waiters wake, so an error reaches those who waited and nobody later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from perfkit.errors import Unavailable

__all__ = ["Flight", "OutOfPatience", "SingleFlight"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Flight:
    """One piece of work under way, as the work itself sees it.

    `overtaken` becomes true when `SingleFlight.forget` was called for its key: the answer is still good for
    those who wait, and must not be stored, because something newer is known. `detached` says that the work
    goes on though nobody waits.
    """

    __slots__ = ("detached", "overtaken", "waiters")

    def __init__(self, *, detached: bool = False) -> None:
        self.overtaken = False
        self.detached = detached
        self.waiters = 0


class OutOfPatience(TimeoutError):
    """A caller waited as long as it wanted to; the work goes on, which `joined` says another had begun."""

    def __init__(self, message: str, *, joined: bool) -> None:
        super().__init__(message)
        self.joined = joined


class SingleFlight(Generic[K, T]):
    """Runs at most one piece of work per key at a time. Belongs to one event loop.

    >>> async def square(flight: Flight) -> int:
    ...     await asyncio.sleep(0)
    ...     print("worked")
    ...     return 49
    >>> async def three_at_once() -> list[tuple[int, bool]]:
    ...     flights: SingleFlight[str, int] = SingleFlight()
    ...     return await asyncio.gather(*(flights.run("seven", square) for _ in range(3)))
    >>> asyncio.run(three_at_once())
    worked
    [(49, False), (49, True), (49, True)]
    """

    def __init__(self) -> None:
        self._flights: dict[K, tuple[Flight, asyncio.Task[T]]] = {}
        self._tasks: set[asyncio.Task[T]] = set()

    def __len__(self) -> int:
        """Return how many keys have a flight that can be joined."""
        return len(self._flights)

    async def run(
        self, key: K, work: Callable[[Flight], Awaitable[T]], *, within_seconds: float | None = None
    ) -> tuple[T, bool]:
        """Return the answer for `key` and whether this caller joined work that was already under way.

        Args:
            key: Whose answer is wanted.
            work: Called once for all who ask meanwhile.
            within_seconds: How long this caller waits; when it is over, the work goes on without it.

        Raises:
            OutOfPatience: `within_seconds` are over.
            Unavailable: the work was cancelled from within, or by `aclose`.
            Exception: whatever `work` raised, to every waiter.
        """
        under_way = self._flights.get(key)
        flight, task = under_way or self._start(key, work)
        flight.waiters += 1
        try:
            if within_seconds is not None and not task.done():
                done, _ = await asyncio.wait({task}, timeout=within_seconds)
                if not done:
                    flight.detached = True
                    raise OutOfPatience(
                        f"no answer within {within_seconds:g} s", joined=under_way is not None
                    )
            return await asyncio.shield(task), under_way is not None
        except asyncio.CancelledError:
            if task.cancelled() and not _is_being_cancelled():
                raise Unavailable(
                    f"The work for {key!r} was cancelled although this caller still waited, so there is no "
                    "answer. Ask again, or see what cancelled it.",
                    dependency="single-flight",
                ) from None
            raise
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.detached and not task.done():
                self._remove(key, flight)
                task.cancel()

    def start(self, key: K, work: Callable[[Flight], Awaitable[T]]) -> bool:
        """Have work done that nobody waits for yet; return False when the key's is under way already.

        Whoever asks meanwhile joins it. An error that nobody waited for is dropped: `work` says so itself.
        """
        if key in self._flights:
            return False
        self._start(key, work, detached=True)
        return True

    def forget(self, key: K) -> None:
        """Let nobody join the flight of `key` any more, and mark it overtaken."""
        under_way = self._flights.pop(key, None)
        if under_way is not None:
            under_way[0].overtaken = True

    async def aclose(self) -> None:
        """Cancel all work and wait until it has ended."""
        self._flights.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(
        self, key: K, work: Callable[[Flight], Awaitable[T]], *, detached: bool = False
    ) -> tuple[Flight, asyncio.Task[T]]:
        flight = Flight(detached=detached)
        task = asyncio.get_running_loop().create_task(self._fly(key, flight, work))
        self._tasks.add(task)  # the loop itself holds tasks only weakly

        def ended(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            self._remove(key, flight)  # a task that was cancelled before its first step has not done so
            if not task.cancelled():
                task.exception()  # looked at, even if everybody who waited has left

        task.add_done_callback(ended)
        if not task.done():  # an eager task may have ended already
            self._flights[key] = flight, task
        return flight, task

    async def _fly(self, key: K, flight: Flight, work: Callable[[Flight], Awaitable[T]]) -> T:
        try:
            return await work(flight)
        finally:
            self._remove(key, flight)

    def _remove(self, key: K, flight: Flight) -> None:
        under_way = self._flights.get(key)
        if under_way is not None and under_way[0] is flight:
            del self._flights[key]


def _is_being_cancelled() -> bool:
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0
