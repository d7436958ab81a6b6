"""Virtual time: an event loop that never waits.

When nothing is ready it jumps to the next timer instead of sleeping until then, so an hour of timeouts and
TTLs passes as fast as the code between them runs, and the same seed gives the same order of events. What
costs processor time costs no virtual time: a simulation is for queues, TTLs and batches, never for codecs.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from perfkit.errors import MeasurementError

__all__ = ["VirtualTimeLoop", "run_real", "run_virtual"]

T = TypeVar("T")

_EPOCH_S = 1_767_225_600.0  # 2026-01-01 UTC: the same in every run


class _JumpingSelector(selectors.SelectSelector):
    """Returns what is ready; otherwise moves its own clock by the time it was asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise MeasurementError(
                "The simulation waits for something that can never happen: no timer is set and nothing is "
                "ready. A real socket, thread or subprocess was awaited under virtual time."
            )
        self.now_s += max(timeout, 0.0)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop on its own clock, which starts at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Return virtual seconds."""
        return self._jumping.now_s

    def epoch_s(self) -> float:
        """Return virtual seconds since 1970: the loop's, from a fixed day on."""
        return _EPOCH_S + self._jumping.now_s


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time, in a thread of its own if a loop runs here already.

    >>> async def day() -> float:
    ...     await asyncio.sleep(86_400)
    ...     return asyncio.get_running_loop().time()
    >>> run_virtual(day())
    86400.0

    Raises:
        MeasurementError: it waits for something that can never happen.
    """
    return _wherever(main, VirtualTimeLoop)


def run_real(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on the wall clock, in a thread of its own if a loop runs here already."""
    return _wherever(main, None)


def _wherever(main: Coroutine[Any, Any, T], loop: Callable[[], asyncio.AbstractEventLoop] | None) -> T:
    """A notebook's cells run inside a loop, where no second one may start; a thread has room for one."""

    def run() -> T:
        with asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(main)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    outcome: list[T] = []
    failure: list[BaseException] = []

    def elsewhere() -> None:
        try:
            outcome.append(run())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=elsewhere, name="perfkit-loop")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
