"""A response's head: its status and fields, while the stages of the middleware change them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from perfkit.asgi.messages import Fields
from perfkit.asgi.request import joined

__all__ = ["Head"]


class Head:
    """A response's status and fields.

    It holds a list of its own: an application may send the same list with every answer, and finds it as it
    left it. Names are in small letters here, whatever the application wrote.

    >>> head = Head(200, [(b"Content-Type", b"text/html"), (b"vary", b"Origin")])
    >>> head.vary_by(b"accept-encoding")
    >>> head.set(b"etag", b'W/"1"')
    >>> head.fields
    [(b'content-type', b'text/html'), (b'vary', b'Origin, Accept-Encoding'), (b'etag', b'W/"1"')]
    """

    __slots__ = ("_known", "fields", "get", "status")

    def __init__(self, status: int, headers: Iterable[Iterable[bytes]]) -> None:
        self.status = status
        fields: Fields = []
        known: dict[bytes, bytes] = {}
        for name, value in headers:  # for every response, and a loop takes less than comprehensions do
            name = name.lower()
            known[name] = value
            fields.append((name, value))
        if len(known) != len(fields):
            known = joined(fields)
        self.fields = fields
        self._known = known
        self.get: Callable[[bytes], bytes | None] = known.get
        """Return a field's value, its lines joined by commas, or None."""

    def set(self, name: bytes, value: bytes) -> None:
        """Give a field one value, in place of all it had."""
        if name in self._known:
            self._without((name,))
        self._known[name] = value
        self.fields.append((name, value))

    def drop(self, *names: bytes) -> None:
        """Take fields away; those that are not there are not missed."""
        present = [name for name in names if name in self._known]
        if present:
            self._without(present)
            for name in present:
                del self._known[name]

    def recast(self, gone: frozenset[bytes], new: Fields) -> None:
        """Take fields away and add others, whose names must be among those or not there: all in one pass."""
        self.fields = [field for field in self.fields if field[0] not in gone]
        self.fields += new
        known = dict(self.fields)
        self._known = known if len(known) == len(self.fields) else joined(self.fields)
        self.get = self._known.get

    def vary_by(self, name: bytes) -> None:
        """Say that the answer depends on a request field (RFC 9110 §12.5.5); `*` says so already."""
        before = self._known.get(b"vary")
        if before is None:
            self._known[b"vary"] = written = _written(name)
            self.fields.append((b"vary", written))
        elif (after := _merged(before, name)) != before:
            self.set(b"vary", after)

    def copy(self) -> Head:
        """Return a head of the same status and fields that changes by itself."""
        twin = Head.__new__(Head)
        twin.status, twin.fields = self.status, self.fields.copy()
        twin._known = known = self._known.copy()
        twin.get = known.get
        return twin

    def lent(self) -> Head:
        """Return a head whose fields may be added to; asked by name, it knows what this one knows."""
        twin = Head.__new__(Head)
        twin.status, twin.fields, twin._known, twin.get = (
            self.status,
            self.fields.copy(),
            self._known,
            self.get,
        )
        return twin

    def message(self, **more: Any) -> dict[str, Any]:
        """Return the message that starts the response."""
        return {"type": "http.response.start", "status": self.status, "headers": self.fields, **more}

    def _without(self, names: Iterable[bytes]) -> None:
        gone = frozenset(names)
        self.fields = [field for field in self.fields if field[0] not in gone]


@lru_cache(maxsize=256)
def _merged(vary: bytes, name: bytes) -> bytes:
    names = {part.strip().lower() for part in vary.split(b",")}
    return vary if b"*" in names or name in names else vary + b", " + _written(name)


@lru_cache(maxsize=64)
def _written(name: bytes) -> bytes:
    """A field's name as people write it in `Vary`; its case is of no meaning."""
    return b"-".join(part.capitalize() for part in name.split(b"-"))
