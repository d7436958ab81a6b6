"""Virtual time: an event loop that never waits.

When nothing is ready it jumps to the next timer instead of sleeping until then, so an hour of timeouts and
TTLs passes as fast as the code between them runs, and the same seed gives the same order of events. What
costs processor time costs no virtual time: a simulation is for queues, TTLs and batches, never for codecs.
"""

from __future__ import annotations

import asyncio
import selectors
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Generic, TypeVar

from perfkit.clock import a_loop_keeps_its_own_time
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
        a_loop_keeps_its_own_time()
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
        KeyboardInterrupt: Ctrl-C came, even if the coroutine then ended as if it had not.
    """
    return _wherever(_Stoppable(main, VirtualTimeLoop))


def run_real(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on the wall clock, in a thread of its own if a loop runs here already.

    Raises:
        KeyboardInterrupt: Ctrl-C came, even if the coroutine then ended as if it had not.
    """
    return _wherever(_Stoppable(main, asyncio.new_event_loop))


class _Stoppable(Generic[T]):
    """A coroutine on a loop of its own, which can be told from outside to stop.

    `asyncio.run` turns Ctrl-C into a cancellation and forgets it when the coroutine ends all the same, as one
    does whose last step was under way. A sweep would then go on as if nobody had asked it to stop.
    """

    def __init__(self, main: Coroutine[Any, Any, T], loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._main = main
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._told = False

    def run(self) -> T:
        """Run to the end; where signals can be had, Ctrl-C tells it to stop."""
        mine = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, self._on_signal) if mine else None
        try:
            with asyncio.Runner(loop_factory=self._loop) as runner:
                outcome = runner.run(self._started())
        except BaseException:
            if self._told:
                raise KeyboardInterrupt from None
            raise
        finally:
            if mine:
                signal.signal(signal.SIGINT, before)
        if self._told:
            raise KeyboardInterrupt
        return outcome

    def stop(self) -> None:
        """Cancel what runs; the second time, give up on its own way of ending."""
        if self._told:
            raise KeyboardInterrupt
        self._told = True
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    async def _started(self) -> T:
        self._task = asyncio.current_task()
        if self._told:
            raise asyncio.CancelledError
        return await self._main

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.stop()


def _wherever(work: _Stoppable[T]) -> T:
    """A notebook's cells run inside a loop, where no second one may start; a thread has room for one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work.run()
    outcome: list[T] = []
    failure: list[BaseException] = []

    def elsewhere() -> None:
        try:
            outcome.append(work.run())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=elsewhere, name="perfkit-loop")
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        work.stop()
        thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
