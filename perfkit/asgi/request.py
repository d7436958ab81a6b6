"""A request as the middleware reads it: once, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from perfkit.asgi.messages import Scope

__all__ = ["Request", "fields_of", "joined"]


class Request:
    """A request's method, and its fields by name; several lines of one are joined by commas (RFC 9110 §5.3).

    >>> lines = [(b"accept-encoding", b"br"), (b"accept-encoding", b"gzip"), (b"host", b"a.example")]
    >>> request = Request({"type": "http", "method": "GET", "path": "/", "headers": lines})
    >>> request.get(b"accept-encoding"), request.get(b"cookie")
    (b'br, gzip', None)
    """

    __slots__ = ("get", "method", "scheme", "scope")

    def __init__(self, scope: Scope, fields: dict[bytes, bytes] | None = None) -> None:
        """Read a scope; `fields` are those of `fields_of`, where they are known already."""
        self.scope = scope
        self.method: str = scope.get("method", "GET")
        self.scheme: str = scope.get("scheme", "http")
        if fields is None:
            fields = fields_of(scope)
        self.get: Callable[[bytes], bytes | None] = fields.get
        """Return the value of a field, whose name is in small letters, or None."""


def fields_of(scope: Scope) -> dict[bytes, bytes]:
    """Return a request's fields by name."""
    lines = scope.get("headers", ())
    if not isinstance(lines, list):  # ASGI allows anything that can be iterated; let nobody use it up
        lines = scope["headers"] = list(lines)
    fields: dict[bytes, bytes] = dict(lines)
    return fields if len(fields) == len(lines) else joined(lines)


def joined(lines: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return fields by name, the lines of one name joined in their order."""
    fields: dict[bytes, bytes] = {}
    for name, value in lines:
        before = fields.get(name)
        fields[name] = value if before is None else before + b", " + value
    return fields
