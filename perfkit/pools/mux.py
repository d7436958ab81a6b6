"""The shared connections of a pool: opened when first needed, once for all who wait, watched by one timer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any, Final

from redis.exceptions import RedisError

from perfkit.pools.failures import PoolClosed, RedisLost, RedisTimeout
from perfkit.pools.gate import Gate
from perfkit.pools.handshake import open_connection
from perfkit.pools.settings import PoolSettings
from perfkit.pools.wire import MuxConnection
from perfkit.resilience import Watchdog

__all__ = ["MuxTransport"]

_PAUSE_S: Final = 0.25
"""After a connection could not be opened beside others, before it is tried again."""


class MuxTransport:
    """Some connections to one server, each shared by all callers.

    A connection that is lost is opened again by the next caller, not before: a server that nobody asks is
    left alone, and one that is down is tried only as often as the breaker lets callers through.
    """

    def __init__(
        self,
        gate: Gate,
        settings: PoolSettings,
        connection: Mapping[str, Any],
        *,
        replica: bool = False,
    ) -> None:
        self._gate = gate
        self._settings = settings
        self._connection = connection
        self._replica = replica
        self._slots: list[MuxConnection | None] = [None] * settings.mux_connections
        self._opening: dict[int, asyncio.Task[MuxConnection]] = {}
        self._turn = 0
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._open_again_s = -math.inf
        self._watchdog = Watchdog(settings.command_timeout_seconds, self._expire, clock=gate.clock)

    @property
    def most(self) -> int:
        """How many connections there may be."""
        return len(self._slots)

    @property
    def open(self) -> int:
        """How many connections are open."""
        return sum(connection is not None and connection.alive for connection in self._slots)

    @property
    def busy(self) -> int:
        """How many of them have a call on them that is without its reply."""
        return sum(connection.pending > 0 for connection in self._slots if connection is not None)

    @property
    def pending(self) -> int:
        """How many calls are without their reply, those that were given up among them."""
        return sum(connection.pending for connection in self._slots if connection is not None)

    @property
    def stalls(self) -> int:
        """How often our own event loop was late, and Redis was not blamed for it."""
        return self._watchdog.stalls

    def ready(self) -> MuxConnection | None:
        """Return the connection to use now, or None when one must be opened first."""
        slots = self._slots
        if len(slots) == 1:
            connection = slots[0]
            return connection if connection is not None and connection.alive else None
        due = (self._turn + 1) % len(slots)
        for step in range(len(slots)):
            slot = (due + step) % len(slots)
            connection = slots[slot]
            if connection is not None and connection.alive:
                self._turn = slot
                if step:
                    self._open_beside(due)
                return connection
        return None  # it stays this one's turn until it is opened, however often one asks before

    async def connected(self) -> MuxConnection:
        """Return a connection, opening it if need be; callers who come meanwhile wait for the same one.

        Raises:
            RedisTimeout, RedisLost, redis.exceptions.RedisError: as `open_connection`.
            PoolClosed: the pool was closed.
        """
        self._turn = slot = (self._turn + 1) % len(self._slots)
        connection = self._slots[slot]
        if connection is None or not connection.alive:
            task = self._opening.get(slot) or self._open(slot)
            try:
                connection = await asyncio.shield(task)
            except RedisError as failure:
                raise _anew(failure) from None
            except asyncio.CancelledError:
                if task.cancelled() and not _is_being_cancelled():
                    raise PoolClosed(self._gate.name) from None
                raise
            finally:
                del task  # it holds the failure, whose traceback holds this frame
        return connection

    async def aclose(self) -> None:
        """Close every connection; whoever waits for a reply is told so."""
        self._closed = True
        self._watchdog.close()
        tasks = list(self._opening.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in self._slots:
            if connection is not None:
                await connection.aclose()

    def _open(self, slot: int) -> asyncio.Task[MuxConnection]:
        if self._closed:
            raise PoolClosed(self._gate.name)
        task = self._loop.create_task(self._connect(slot))
        self._opening[slot] = task
        task.add_done_callback(lambda task: self._opened(slot, task))
        return task

    def _open_beside(self, slot: int) -> None:
        """Open a connection that is missing, while another carries: callers neither wait nor fail for it."""
        if slot not in self._opening and not self._closed and self._loop.time() >= self._open_again_s:
            self._open(slot)

    async def _connect(self, slot: int) -> MuxConnection:
        connection = await open_connection(
            self._make,
            self._connection,
            pool=self._gate.name,
            where=self._gate.where,
            patience_s=self._settings.connect_timeout_seconds,
            replica=self._replica,
        )
        self._gate.counts.connects += 1
        self._slots[slot] = connection
        return connection

    def _opened(self, slot: int, task: asyncio.Task[MuxConnection]) -> None:
        self._opening.pop(slot, None)
        if not task.cancelled() and task.exception():  # looked at, even if everybody who waited has left
            self._open_again_s = self._loop.time() + _PAUSE_S

    def _make(self) -> MuxConnection:
        return MuxConnection(
            self._gate.name,
            self._gate,
            self._loop,
            where=self._gate.where,
            on_sending=self._sending,
            on_lost=self._lost,
            flush_max_commands=self._settings.flush_max_commands,
            flush_max_bytes=self._settings.flush_max_bytes,
        )

    def _sending(self) -> None:
        self._watchdog.wake()
        self._gate.pulse.wake()

    def _lost(self, connection: MuxConnection) -> None:
        if connection in self._slots and not self._closed:
            self._gate.counts.disconnects += 1

    def _expire(self, at_s: float) -> bool:
        patience_s = self._settings.command_timeout_seconds
        waiting = [
            connection.expire(at_s - patience_s, patience_s)
            for connection in self._slots
            if connection is not None
        ]
        return any(waiting)


def _is_being_cancelled() -> bool:
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


def _anew(failure: RedisError) -> RedisError:
    """A copy for each who waited: one exception raised in many tasks would gather the tracebacks of all."""
    if isinstance(failure, RedisLost | RedisTimeout):
        return type(failure)(str(failure), pool=failure.dependency.removeprefix("pool "), sent=failure.sent)
    return type(failure)(*failure.args)
