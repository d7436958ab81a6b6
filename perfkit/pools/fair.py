"""A connection pool whose waiters are served in the order they came.

redis-py's `BlockingConnectionPool` wakes a waiter and then lets whoever runs next take the connection, which
is the task that has just given it back: of 32 equal workers over 4 connections, 28 got one turn (Jain's
index 0.13, docs/pools.md). A semaphore that hands its slot to the longest waiter has an index of 1.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool

from perfkit.errors import PoolExhausted
from perfkit.pools.settings import PoolSettings

__all__ = ["FairPool"]


class FairPool(ConnectionPool):
    """At most `max_connections` at once; the rest wait in line, each for `acquire_timeout_seconds`."""

    def __init__(self, name: str, settings: PoolSettings, **connection: Any) -> None:
        super().__init__(max_connections=settings.max_connections, **connection)
        self.name = name
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.max_connections)
        self.waiting = 0
        self.waits = 0
        self.refusals = 0

    async def get_connection(
        self,
        command_name: str | None = None,
        *keys: Any,
        **options: Any,
    ) -> AbstractConnection:
        """Return a connection, in turn.

        Raises:
            PoolExhausted: none came free in time.
        """
        await self._take_slot()
        try:
            connection: AbstractConnection = await super().get_connection()  # type: ignore[no-untyped-call]  # redis-py's
        except BaseException:
            self._slots.release()
            raise
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        """Give a connection back and let the longest waiter have it."""
        try:
            await super().release(connection)
        finally:
            self._slots.release()

    async def _take_slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        self.waits += 1
        self.waiting += 1
        patience = self._settings.acquire_timeout_seconds
        try:
            async with asyncio.timeout(patience):
                await self._slots.acquire()
        except TimeoutError:
            self.refusals += 1
            raise PoolExhausted(
                f"All {self.max_connections} connections of pool {self.name} stayed in use for "
                f"{patience:g} s. Raise pools.{self.name}.max_connections, or ask less at once.",
                pool=self.name,
                waited_seconds=patience,
            ) from None
        finally:
            self.waiting -= 1
