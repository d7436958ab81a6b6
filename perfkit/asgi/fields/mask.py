"""A set of fields that clients ask for, and what it makes of a document."""

from __future__ import annotations

from perfkit.asgi.fields.lines import LineFilter, WholeFilter

__all__ = ["Mask"]


class Mask:
    """A set of fields, ready to be applied to any number of documents."""

    __slots__ = ("__weakref__", "key")

    key: str
    """The set in one canonical text: two ways to write the same set in the same order have one key."""

    def apply(self, body: bytes) -> bytes | None:
        """Return the document with the chosen fields only, or None: send it as it is (not JSON, too large)."""
        raise NotImplementedError

    def lines(self) -> LineFilter:
        """Return what filters one stream of JSON lines."""
        raise NotImplementedError

    def whole(self) -> WholeFilter:
        """Return what gathers one document that comes in pieces, and filters it at its end."""
        raise NotImplementedError
