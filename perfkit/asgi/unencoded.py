"""The short way, for a client that takes no coding where nothing but compression is on.

Its response passes as it comes; only its head says that other clients might have been given another
(RFC 9110 §12.5.5). Most of what a middleware costs is being in between, so here is next to nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable

from perfkit.asgi.compress import may_be_compressed
from perfkit.asgi.content import content_of
from perfkit.asgi.head import Head
from perfkit.asgi.messages import Message, Scope, Send

__all__ = ["accept_encoding_of", "saying_vary"]

_VARY = (b"vary", b"Accept-Encoding")
_TELLING = frozenset({b"cache-control", b"content-encoding", b"content-range", b"vary"})
"""Fields that need a second look: the answer may vary by more, or be one that is never compressed."""
_NEVER_CODED = frozenset({204, 205})


def accept_encoding_of(scope: Scope) -> bytes | None:
    """Return what a request says of codings, its lines joined."""
    found: bytes | None = None
    for name, value in scope.get("headers", ()):
        if name == b"accept-encoding":
            found = value if found is None else found + b", " + value
    return found


def saying_vary(send: Send) -> Send:
    """Return a `send` that adds `Vary: Accept-Encoding` where a response could have been compressed."""

    def passing(message: Message) -> Awaitable[None]:
        return send(_varied(message) if message["type"] == "http.response.start" else message)

    return passing


def _varied(message: Message) -> Message:
    content_type: bytes | None = None
    lines = message.get("headers", ())
    for name, value in lines:
        small = name.lower()
        if small == b"content-type":
            content_type = value
        elif small in _TELLING:
            return _looked_at(message)
    status = message["status"]
    if status < 200 or status in _NEVER_CODED or not content_of(content_type).compressible:
        return message
    return {**message, "headers": [*lines, _VARY]}


def _looked_at(message: Message) -> Message:
    head = Head(message["status"], message.get("headers", ()))
    if not may_be_compressed(head):
        return message
    head.vary_by(b"accept-encoding")
    return {**message, "headers": head.fields}
