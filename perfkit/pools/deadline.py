"""The time one command may take on a connection lent to it alone.

A timer that is late says that our own event loop was away: the reply may lie unread in the kernel meanwhile.
So the command is granted the time that the loop was not there, as `perfkit.resilience.Watchdog` does it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from perfkit.pools.failures import RedisTimeout

__all__ = ["CommandDeadline"]

_TOLERANCE: Final = 0.1
"""A timer later than this share of its time was not merely jostled by its neighbours."""


@dataclass(frozen=True, slots=True)
class CommandDeadline:
    """Gives up what takes too long, once it has its connection; the connection is then closed by redis-py."""

    pool: str
    patience_s: float
    sent: bool = True
    """Whether what is given up may have left."""

    @asynccontextmanager
    async def over(self, what: str, *, waits_s: float = 0.0) -> AsyncIterator[None]:
        """Bound the block.

        Args:
            what: Names the block in the error.
            waits_s: How much longer it may take because it waits on purpose; infinity sets no bound.

        Raises:
            RedisTimeout: it took longer.
        """
        patience_s = self.patience_s + waits_s
        try:
            async with asyncio.timeout(None) as scope:
                timer = _Timer(scope, patience_s)
                try:
                    yield
                finally:
                    timer.cancel()
        except TimeoutError:
            raise RedisTimeout(
                f"{what} on pool {self.pool} took longer than {patience_s:g} s and was given up; if it "
                f"writes, it may have happened. Raise pools.{self.pool}.command_timeout_seconds, or ask less "
                "at once.",
                pool=self.pool,
                sent=self.sent,
            ) from None


class _Timer:
    """Ends a scope in time, unless the loop was away when time was up."""

    __slots__ = ("_due_s", "_handle", "_loop", "_scope", "_tolerance_s")

    def __init__(self, scope: asyncio.Timeout, patience_s: float) -> None:
        self._scope = scope
        self._loop = asyncio.get_running_loop()
        self._tolerance_s = patience_s * _TOLERANCE
        self._due_s = self._loop.time() + patience_s
        self._handle = self._loop.call_at(self._due_s, self._look) if patience_s < math.inf else None

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _look(self) -> None:
        late_s = self._loop.time() - self._due_s
        if late_s > self._tolerance_s:
            self._due_s += 2 * late_s
            self._handle = self._loop.call_at(self._due_s, self._look)
        else:
            self._scope.reschedule(self._due_s)
