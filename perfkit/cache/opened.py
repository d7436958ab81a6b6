"""A Redis client that may not have been opened yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from redis.exceptions import RedisError

from perfkit.errors import Unavailable

__all__ = ["AWAY", "Opened"]

C = TypeVar("C")

AWAY: Final = (RedisError, OSError, TimeoutError, Unavailable)
"""How Redis fails; whoever can do without it catches these."""


class Opened(Generic[C]):
    """A client, or one that is opened when it is first asked for, once for all who ask.

    >>> async def main() -> str:
    ...     async def client() -> str:
    ...         print("opening")
    ...         return "a client"
    ...     opened = Opened(client)
    ...     await opened()
    ...     return await opened()
    >>> asyncio.run(main())
    opening
    'a client'
    """

    __slots__ = ("_client", "_opening")

    def __init__(self, client: C | Callable[[], Awaitable[C]]) -> None:
        self._client = client
        self._opening = asyncio.Lock()

    async def __call__(self) -> C:
        """Return the client, opening it if need be."""
        if callable(self._client):
            async with self._opening:
                if callable(self._client):
                    self._client = await self._client()
        return self._client
