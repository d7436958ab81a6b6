"""Taking back what a request has changed (RFC 9111 §4.4).

A response without an error to an unsafe method says that its target may be another now, and so may be what
`Location` and `Content-Location` name, if it is of the same origin: another's answers are not for a site to
take back. It happens before the client gets the response, so that whoever reads after writing reads the new.
"""

from __future__ import annotations

from perfkit.asgi.head import Head
from perfkit.asgi.messages import Message, Send
from perfkit.asgi.request import Request
from perfkit.asgi.response_cache.asking import Asking
from perfkit.asgi.response_cache.key import Keys
from perfkit.asgi.response_cache.shelf import Shelf

__all__ = ["Invalidation", "is_unsafe"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def is_unsafe(method: str) -> bool:
    """Tell whether a method may change something (RFC 9110 §9.2.1); one that is not known may."""
    return method not in _SAFE


class Invalidation:
    """Takes back what is kept of a target, here and on the other instances."""

    def __init__(self, shelf: Shelf, keys: Keys, asking: Asking) -> None:
        self._shelf = shelf
        self._keys = keys
        self._asking = asking

    async def take_back(self, target: str) -> None:
        """Take back all answers of a target."""
        self._asking.overtake(target)
        await self._shelf.take_back(target)

    def listening(self, request: Request, send: Send) -> Send:
        """Return the `send` of an unsafe request."""

        async def heard(message: Message) -> None:
            if message["type"] == "http.response.start" and 200 <= message["status"] < 400:
                head = Head(message["status"], message.get("headers", ()))
                for target in self._targets(request, head):
                    await self.take_back(target)
            await send(message)

        return heard

    def _targets(self, request: Request, head: Head) -> list[str]:
        targets = [self._keys.of(request)]
        for name in (b"location", b"content-location"):
            reference = head.get(name)
            target = None if reference is None else self._keys.of_reference(request, reference)
            if target is not None and target not in targets:
                targets.append(target)
        return targets
