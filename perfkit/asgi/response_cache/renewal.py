"""Asking the application again: with the validators of what is kept, and behind the backs of those served.

A renewal in the background is a request of its own. Its scope is a copy, so nothing of the request that set
it off is changed or lives longer; its `receive` brings an empty body and then nothing, since no client can
hang up; what it sends passes the cache policy and the cache, and goes nowhere.
"""

from __future__ import annotations

import asyncio

from perfkit.asgi.head import Head
from perfkit.asgi.messages import Fields, Message, Receive, Scope
from perfkit.asgi.policy import CachePolicies
from perfkit.asgi.request import Request
from perfkit.asgi.response_cache.kept import Kept
from perfkit.asgi.response_cache.protocols import Tee

__all__ = ["Unseen", "nobody", "silent", "unconditional", "validating"]

_CONDITIONS = frozenset({b"if-none-match", b"if-modified-since"})
_OF_A_PART = frozenset({b"range", b"if-range"})
_BY_THE_SERVER = ("http.response.pathsend", "http.response.zerocopysend")


def validating(scope: Scope, kept: Kept) -> Scope:
    """Return a request that asks whether a stored response is still true."""
    conditions: Fields = []
    if kept.etag is not None:
        conditions.append((b"if-none-match", kept.etag))
    if kept.last_modified is not None:
        conditions.append((b"if-modified-since", kept.last_modified))
    return {**scope, "headers": [*_without(scope, _CONDITIONS), *conditions]}


def unconditional(scope: Scope) -> Scope:
    """Return a request for the whole answer, so that there is something to keep."""
    return {**scope, "headers": _without(scope, _CONDITIONS)}


def nobody(scope: Scope) -> Scope:
    """Return a GET like this request that no client waits for."""
    extensions = scope.get("extensions")
    copy: Scope = {**scope, "method": "GET", "headers": _without(scope, _CONDITIONS | _OF_A_PART)}
    if extensions:
        copy["extensions"] = {key: each for key, each in extensions.items() if key not in _BY_THE_SERVER}
    if isinstance(scope.get("state"), dict):
        copy["state"] = dict(scope["state"])
    return copy


class Unseen:
    """The exchange of a renewal in the background: what the application sends goes to the cache alone."""

    def __init__(self, request: Request, policies: CachePolicies | None) -> None:
        self._request = request
        self._policies = policies
        self.tee: Tee | None = None
        self.cache_status = b""

    async def send(self, message: Message) -> None:
        """Let the cache hear a message."""
        tee, kind = self.tee, message["type"]
        if tee is None:
            return
        if kind == "http.response.start":
            head = Head(message["status"], message.get("headers", ()))
            if self._policies is not None:
                self._policies.apply(self._request, head)
            tee.head(head)
        elif kind == "http.response.body":
            tee.body(bytes(message.get("body", b"")), message.get("more_body", False))
        else:
            tee.other(message)

    async def reply(self, kept: Kept, *, age_seconds: int, cache_status: bytes) -> None:
        """Send nothing: nobody waits."""


def silent() -> Receive:
    """Return a `receive` that brings an empty body, and then nothing."""
    brought = False

    async def receive() -> Message:
        nonlocal brought
        if brought:
            await asyncio.get_running_loop().create_future()
        brought = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


def _without(scope: Scope, names: frozenset[bytes]) -> Fields:
    return [(name, value) for name, value in scope["headers"] if name not in names]
