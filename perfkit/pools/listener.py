"""A connection on which Redis speaks first: to a subscriber, or to a client that tracks keys.

It is redis-py's connection, so addresses, passwords, TLS and the stand-in work as everywhere, used below
redis-py's `PubSub`. That class connects again by itself when a connection is lost, without a word to whoever
must know that something went unheard, and on a stalled server it waits for the greeting without end.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from perfkit.pools.failures import RedisLost, RedisTimeout
from perfkit.pools.fair import FairPool

__all__ = ["Listener", "listener_of"]


class Listener:
    """One connection, beside those that a pool lends, until it is lost or closed. For one task at a time.

    >>> import asyncio, fakeredis
    >>> async def first_words() -> list[object]:
    ...     async with fakeredis.FakeAsyncRedis() as client:
    ...         listener = await Listener.over(client.connection_pool)
    ...         await listener.say("SUBSCRIBE", "news")
    ...         told = [await listener.hear(1.0)]
    ...         await client.publish("news", "hello")
    ...         told.append(await listener.hear(1.0))
    ...         await listener.aclose()
    ...     return told
    >>> asyncio.run(first_words())
    [[b'subscribe', b'news', 1], [b'message', b'news', b'hello']]
    """

    def __init__(self, pool: ConnectionPool, connection: AbstractConnection, *, owns_pool: bool) -> None:
        self._pool = pool
        self._connection: AbstractConnection | None = connection
        self._owns_pool = owns_pool
        self._name = str(getattr(pool, "name", "redis"))
        parser = getattr(connection, "_parser", None)
        if hear_invalidations := getattr(parser, "set_invalidation_push_handler", None):
            hear_invalidations(_as_it_is)  # without a handler redis-py drops them in silence

    @classmethod
    async def over(cls, pool: ConnectionPool) -> Listener:
        """Return a listener to the server of a pool; one of perfkit's own pools lends nothing for it.

        Raises:
            RedisTimeout, RedisLost, redis.exceptions.RedisError: there was no connection to be had.
        """
        owns_pool = isinstance(pool, FairPool)
        pool = pool.beside() if isinstance(pool, FairPool) else pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py's
        listener = cls(pool, connection, owns_pool=owns_pool)
        try:
            _heed_cancellation()
        except asyncio.CancelledError:
            await listener.aclose()
            raise
        return listener

    @property
    def takes_pushes(self) -> bool:
        """Whether the connection speaks RESP3, in which alone Redis can tell of keys that changed."""
        return str(getattr(self._connection, "protocol", "")) == "3"

    async def say(self, *args: str | bytes) -> None:
        """Send a command without waiting for what comes of it.

        Raises:
            RedisLost: the connection is gone.
        """
        try:
            await self._open().send_command(*args, check_health=False)
            _heed_cancellation()
        except (RedisConnectionError, OSError) as trouble:
            raise self._lost(trouble) from None

    async def hear(self, within_s: float | None) -> Any:
        """Return the next thing that Redis says, a reply or a push; None when it says nothing for so long.

        Args:
            within_s: How long to wait; None for as long as it takes, with no timer set.

        Raises:
            RedisLost: the connection is gone.
            redis.exceptions.ResponseError: Redis refused what was said.
        """
        connection = self._open()
        try:
            heard = await connection.read_response(
                timeout=within_s, disconnect_on_error=False, push_request=True
            )
        except RedisConnectionError as trouble:
            raise self._lost(trouble) from None
        except RedisError:
            raise
        except OSError as trouble:
            raise self._lost(trouble) from None
        _heed_cancellation()
        return heard

    async def hear_in_time(self, within_s: float) -> Any:
        """Return the next thing that Redis says.

        Raises:
            RedisTimeout: it says nothing for so long.
            RedisLost, redis.exceptions.ResponseError: as `hear`.
        """
        heard = await self.hear(within_s)
        if heard is None:
            heard = await self.hear(0)  # our own loop may have been away, and the words be here unread
        if heard is None:
            raise RedisTimeout(
                f"Redis said nothing to the listener of pool {self._name} for {within_s:g} s, although it "
                "was asked: it is stalled, or the line is cut.",
                pool=self._name,
            )
        return heard

    async def aclose(self) -> None:
        """Close the connection, without waiting for the other side."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        await connection.disconnect(nowait=True)
        await self._pool.release(connection)
        if self._owns_pool:
            await self._pool.aclose()

    def _open(self) -> AbstractConnection:
        if self._connection is None or not self._connection.is_connected:
            raise self._lost("it was closed")
        return self._connection

    def _lost(self, trouble: object) -> RedisLost:
        return RedisLost(
            f"The listener of pool {self._name} lost its connection: {trouble}", pool=self._name, sent=True
        )


def _heed_cancellation() -> None:
    """Raise a cancellation that redis-py's `wait_for` swallowed, as before Python 3.12 (bpo-37658)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _as_it_is(push: Any) -> Any:
    return push


async def listener_of(client: Any) -> Listener:
    """Open a listener to where a client's commands go: one of perfkit's, or any of redis-py's on one server.

    Raises:
        RedisTimeout, RedisLost, redis.exceptions.RedisError: there was no connection to be had.
    """
    door = getattr(client, "open_listener", None)
    listener: Listener = await (Listener.over(client.connection_pool) if door is None else door())
    return listener
