"""The short way where only heads are changed: bodies pass as they come, unread and never held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from perfkit.asgi.head import Head
from perfkit.asgi.messages import Message, Send
from perfkit.asgi.request import Request
from perfkit.asgi.timing import error_type

if TYPE_CHECKING:
    from perfkit.asgi.stages import Stages

__all__ = ["HeadsOnly"]

_FILES = frozenset({"http.response.pathsend", "http.response.zerocopysend"})


class HeadsOnly:
    """The answer to one request, where nothing is done to its body: `send` is what the application gets."""

    __slots__ = ("_ended", "_request", "_send", "_sent_bytes", "_stages", "_started_s", "_status")

    def __init__(self, stages: Stages, request: Request, send: Send) -> None:
        self._stages = stages
        self._request = request
        self._send = send
        self._status: int | None = None
        self._sent_bytes = 0
        self._ended = stages.timing is None
        self._started_s = 0.0 if stages.timing is None else stages.timing.begin(request)

    def send(self, message: Message) -> Awaitable[None]:
        """Take a message of the application."""
        kind = message["type"]
        if kind == "http.response.start" and self._status is None:
            return self._send(self._told(message))
        if kind == "http.response.body":
            self._sent_bytes += len(message.get("body", b""))
            if not message.get("more_body", False) and not self._ended:
                return self._last(message)
        elif kind in _FILES and not self._ended:
            return self._last(message)
        return self._send(message)

    def finish(self) -> None:
        """Take note that the application has returned."""
        self._end("" if self._ended else "incomplete")

    def fail(self, error: BaseException) -> None:
        """Take note that the application raised."""
        self._end(error_type(error), client_left=isinstance(error, asyncio.CancelledError))

    def _told(self, message: Message) -> Message:
        head, stages = Head(message["status"], message.get("headers", ())), self._stages
        self._status = head.status
        if stages.policies is not None:
            stages.policies.apply(self._request, head)
        if stages.timing is not None:
            stages.timing.head(head, self._started_s)
        return {**message, "headers": head.fields}

    async def _last(self, message: Message) -> None:
        await self._send(message)
        self._end("")

    def _end(self, error: str, *, client_left: bool = False) -> None:
        if self._ended:
            return
        self._ended = True
        timing = self._stages.timing
        assert timing is not None  # noqa: S101  # for the type checker: without it all has ended from the start
        status = self._status if self._status is not None else 0 if client_left else 500
        timing.end(self._request, status, self._started_s, self._sent_bytes, error)
