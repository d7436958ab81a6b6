"""A service to be put behind a real server: members as JSON, events that wait for a go, large bodies."""

from __future__ import annotations

import asyncio
import json

from perfkit.asgi import AsgiSettings, PerformanceMiddleware
from perfkit.asgi.messages import Receive, Scope, Send
from tests.asgi.imitated import body, start

__all__ = ["EVENTS", "MEBIBYTE", "MEMBERS", "Service", "bare", "layered", "members_of"]

MEMBERS = [
    {"id": n, "name": f"member {n}", "email": f"m{n}@example.org", "about": "likes long walks " * 4}
    for n in range(120)
]
EVENTS = [b'data: {"token": "word %d"}\n\n' % n for n in range(8)]

_LINE = b"".join(b'{"id": %d, "name": "member %d", "tags": ["a", "b"]}\n' % (n, n * n) for n in range(30_000))
MEBIBYTE = _LINE[: 1024**2]


def members_of(user: str) -> bytes:
    """Return what one user reads."""
    return json.dumps({"user": user, "members": MEMBERS}).encode()


class Service:
    """The application; events wait until `go` has been released for each."""

    def __init__(self) -> None:
        self.go = asyncio.Semaphore(0)
        self.told_of_disconnects = 0
        self.streaming = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        await getattr(self, scope["path"].strip("/").replace("-", "_") or "members")(scope, receive, send)

    async def members(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in one message."""
        content = json.dumps(MEMBERS).encode()
        await send(
            start(
                200,
                ("content-type", "application/json"),
                ("content-length", str(len(content))),
                ("etag", '"1"'),
            )
        )
        await send(body(content))

    async def mine(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer each user with his own."""
        user = dict(scope["headers"]).get(b"authorization", b"nobody").decode()
        await send(start(200, ("content-type", "application/json")))
        await asyncio.sleep(0)
        await send(body(members_of(user)))

    async def pieces(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in many messages of no stated length."""
        await send(start(200, ("content-type", "application/json")))
        content = json.dumps(MEMBERS).encode()
        for at in range(0, len(content), 1_500):
            await send(body(content[at : at + 1_500], more=True))
        await send(body())

    async def events(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send an event each time somebody says go."""
        await send(start(200, ("content-type", "text/event-stream"), ("cache-control", "no-store")))
        for event in EVENTS:
            await self.go.acquire()
            await send(body(event, more=True))
        await send(body())

    async def endless(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client is gone."""
        self.streaming += 1
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await send(start(200, ("content-type", "text/event-stream")))
            while not gone.done():
                await send(body(EVENTS[0], more=True))
                await asyncio.sleep(0.001)
            self.told_of_disconnects += 1
        finally:
            gone.cancel()
            self.streaming -= 1

    async def broken(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Fail amid a body."""
        await send(start(200, ("content-type", "text/event-stream")))
        await send(body(EVENTS[0], more=True))
        raise ValueError("the application failed")

    async def nothing(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer without a body."""
        await send(start(204))
        await send(body())

    async def large_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send 64 MiB, a MiB at a time."""
        await send(start(200, ("content-type", "application/json")))
        for _ in range(64):
            await send(body(MEBIBYTE, more=True))
        await send(body())

    async def large_whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send 64 MiB in one message."""
        await send(start(200, ("content-type", "application/json"), ("content-length", str(64 * 1024**2))))
        await send(body(MEBIBYTE * 64))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


bare = Service()
layered = PerformanceMiddleware(Service(), AsgiSettings())
