"""Filters for bodies that come in pieces: line by line, or gathered to one document."""

from __future__ import annotations

__all__ = ["LineFilter", "WholeFilter"]


class LineFilter:
    """Filters NDJSON: each line by itself, as soon as it is complete."""

    def feed(self, chunk: bytes) -> bytes:
        """Return the lines that this chunk completes, filtered."""
        raise NotImplementedError

    def end(self, chunk: bytes = b"") -> bytes:
        """Return the rest, filtered."""
        raise NotImplementedError


class WholeFilter:
    """Gathers a document up to `asgi.fields_max_bytes` and filters it at the end; a larger one passes whole."""

    def feed(self, chunk: bytes) -> bytes:
        """Keep a chunk and return nothing; or, once too much came, return everything as it is."""
        raise NotImplementedError

    def end(self, chunk: bytes = b"") -> bytes:
        """Return the filtered document, or what is left of a larger one."""
        raise NotImplementedError
