"""A connection pool whose waiters are served in the order they came.

Fairness
--------
redis-py's `BlockingConnectionPool` wakes a waiter when a connection comes back, but the task that gave it
back runs on and takes it again before the waiter does. Of 32 equal workers over 4 connections, 4 did nearly
all the work and 28 had one turn each: Jain's index of fairness is 0.13, where 1 is perfect and 1/n is a
monopoly (R. Jain, D. Chiu, W. Hawe, DEC-TR-301, 1984). Here each connection is a slot of a semaphore, and
`asyncio.Semaphore` hands a freed slot to its longest waiter at once, so nobody can overtake. The index is 1.

Cancellation
------------
A caller may be cancelled at any `await`. Taking a connection gives it back on the way out; giving one back
waits for nothing, so it cannot be cut in half. A connection that was cancelled before it was ready (say,
between connecting and authenticating) is closed, never lent to the next caller.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from perfkit.pools.failures import PoolClosed, RedisLost, RedisPoolExhausted, RedisTimeout
from perfkit.pools.settings import PoolSettings

__all__ = ["FairPool"]


class FairPool(ConnectionPool):
    """At most `max_connections` at once; further callers stand in line, each for `acquire_timeout_seconds`.

    `waiting` callers stand in line now, `waits` is how many ever did, `refusals` how many of them in vain.
    """

    def __init__(self, name: str, settings: PoolSettings, **connection: Any) -> None:
        super().__init__(max_connections=settings.max_connections, **connection)
        self.name = name
        self.waiting = 0
        self.waits = 0
        self.refusals = 0
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.max_connections)
        self._closed = False

    @property
    def in_use(self) -> int:
        """How many connections are lent out."""
        return len(self._in_use_connections)

    @property
    def idle(self) -> int:
        """How many connections are open and free."""
        return sum(connection.is_connected for connection in self._available_connections)

    def beside(self) -> FairPool:
        """Return a pool of one connection to the same server, which counts among none of this one's.

        Raises:
            PoolClosed: the pool was closed.
        """
        if self._closed:
            raise PoolClosed(self.name)
        return FairPool(
            self.name,
            self._settings.model_copy(update={"max_connections": 1}),
            connection_class=self.connection_class,
            **self.connection_kwargs,
        )

    async def get_connection(
        self, command_name: str | None = None, *keys: Any, **options: Any
    ) -> AbstractConnection:
        """Return a connection that is ready for a command; redis-py's arguments are without meaning.

        Raises:
            PoolExhausted: none came free within `acquire_timeout_seconds`.
            RedisTimeout: a new one was not ready within `connect_timeout_seconds`.
            RedisLost: the server is away.
            redis.exceptions.AuthenticationError: user or password are wrong.
            PoolClosed: the pool was closed.
        """
        await self._take_slot()
        try:
            connection = self._lent()
        except BaseException:
            self._slots.release()
            raise
        try:
            await self._make_ready(connection)
        except BaseException:
            connection.mark_for_reconnect()  # type: ignore[no-untyped-call]  # redis-py's
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        """Give a connection back, for the longest waiter to have."""
        self._in_use_connections.remove(connection)
        try:
            if self._closed or connection.should_reconnect():  # type: ignore[no-untyped-call]  # redis-py's
                await connection.disconnect(nowait=True)
        finally:
            last = len(
                self._available_connections
            )  # the last is lent first, so a closed one goes to the front
            self._available_connections.insert(last if connection.is_connected else 0, connection)
            self._slots.release()

    async def aclose(self) -> None:
        """Close every connection; those lent out now fail, and whoever comes later is refused."""
        self._closed = True
        await super().aclose()

    async def _take_slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        patience_s = self._settings.acquire_timeout_seconds
        self.waits += 1
        self.waiting += 1
        try:
            async with asyncio.timeout(patience_s):
                await self._slots.acquire()
        except TimeoutError:
            self.refusals += 1
            raise RedisPoolExhausted(
                f"All {self.max_connections} connections of pool {self.name} stayed in use for "
                f"{patience_s:g} s, and {self.waiting - 1} others wait too. Raise "
                f"pools.{self.name}.max_connections, or ask less at once.",
                pool=self.name,
                waited_seconds=patience_s,
            ) from None
        finally:
            self.waiting -= 1

    def _lent(self) -> AbstractConnection:
        if self._closed:
            raise PoolClosed(self.name)
        connection: AbstractConnection = self.get_available_connection()  # type: ignore[no-untyped-call]  # redis-py's
        return connection

    async def _make_ready(self, connection: AbstractConnection) -> None:
        """redis-py's own connect timeout ends before the handshake, which a stalled server never answers."""
        patience_s = self._settings.connect_timeout_seconds
        try:
            async with asyncio.timeout(patience_s):
                await self.ensure_connection(connection)
        except (TimeoutError, RedisTimeoutError):
            raise RedisTimeout(
                f"A connection of pool {self.name} was not ready within {patience_s:g} s: the server is away "
                f"or stalled. See pools.{self.name}.connect_timeout_seconds.",
                pool=self.name,
                sent=False,
            ) from None
        except AuthenticationError:
            raise
        except RedisConnectionError as trouble:
            raise RedisLost(
                f"Pool {self.name} could not connect: {trouble}", pool=self.name, sent=False
            ) from None
