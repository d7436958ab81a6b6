"""What the cache and the exchange that carries a response know of each other."""

from __future__ import annotations

from typing import Protocol

from perfkit.asgi.head import Head
from perfkit.asgi.messages import Message
from perfkit.asgi.response_cache.kept import Kept

__all__ = ["Exchange", "Tee"]


class Tee(Protocol):
    """Hears a response after the cache policy and before any other stage."""

    def head(self, head: Head) -> None:
        """Hear the head."""
        ...

    def body(self, chunk: bytes, more: bool) -> None:
        """Hear a piece of the body, before it is filtered or compressed."""
        ...

    def other(self, message: Message) -> None:
        """Hear a message that is neither: trailers, a file the server sends by itself."""
        ...


class Exchange(Protocol):
    """One request's response on its way to the client."""

    tee: Tee | None
    cache_status: bytes

    async def send(self, message: Message) -> None:
        """Take a message of the application: what it is given as `send`."""
        ...

    async def reply(self, kept: Kept, *, age_seconds: int, cache_status: bytes) -> None:
        """Answer with a stored response: fields, 304 or 206, compression, head and body."""
        ...
