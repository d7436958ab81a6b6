"""One small service, written in each of the frameworks the middleware is made for.

GET /users       a list of users, as JSON
GET /users/7     one of them
GET /events      an event stream
GET /later       an answer, and something to do after it
GET /broken      an error nobody caught
/inner/…         another application, mounted: `/inner/hello`
/echo            a WebSocket
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from perfkit.asgi.messages import Receive, Scope, Send

__all__ = ["EVENTS", "USERS", "Made", "hello"]

USERS = [
    {"id": n, "name": f"User {n}", "email": f"user{n}@example.org", "about": "Walks, reads, and writes. " * 3}
    for n in range(80)
]
EVENTS = [f'data: {{"token": "word {n}"}}\n\n' for n in range(4)]


@dataclass
class Made:
    """An application, and what it noted of what it did."""

    app: Any = None
    noted: list[str] = field(default_factory=list)
    lifespan: bool = True

    async def events(self) -> AsyncIterator[str]:
        """Yield events as they happen."""
        for event in EVENTS:
            await asyncio.sleep(0)
            yield event

    async def note(self, what: str) -> None:
        """Note something that was to be done later."""
        self.noted.append(what)

    @asynccontextmanager
    async def life(self, *_: object) -> AsyncIterator[None]:
        """Note the start and the end."""
        self.noted.append("started")
        yield
        self.noted.append("stopped")


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer in plain ASGI: the mounted application."""
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"hello": "inner", "more": "%s"}' % (b"x" * 2_000)})
