"""Filters a body that comes in pieces, line by line."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["LineFilter"]


class LineFilter:
    r"""Filters NDJSON: each line by itself, as soon as it is complete.

    A line that is no JSON passes as it is, and so does one of more than `max_bytes`, of which no more than
    that is held back.

    >>> lines = LineFilter(lambda line: line.upper() if b"a" in line else None, max_bytes=100)
    >>> lines.feed(b"a\r\n\nbb\nca"), lines.feed(b"b"), lines.end()
    (b'A\r\n\nbb\n', b'', b'CAB')
    """

    __slots__ = ("_apply", "_held", "_max_bytes", "_passing", "_size")

    def __init__(self, apply: Callable[[bytes], bytes | None], max_bytes: int) -> None:
        """Begin a stream.

        Args:
            apply: Filters a line; None leaves it as it is.
            max_bytes: Longer lines pass.
        """
        self._apply = apply
        self._max_bytes = max_bytes
        self._held: list[bytes] = []
        self._size = 0
        self._passing = False

    def feed(self, chunk: bytes) -> bytes:
        """Return the lines that this chunk completes, filtered."""
        first, *lines = bytes(chunk).split(b"\n")
        if not lines:
            return self._more(first)
        *middle, last = lines
        out = [self._ended(first), *map(self._line, middle), b""]
        out[-1] = self._more(last) if last else b""
        return b"\n".join(out)

    def end(self, chunk: bytes = b"") -> bytes:
        """Return the rest, filtered."""
        out = self.feed(chunk)
        return out + self._ended(b"")

    def _more(self, part: bytes) -> bytes:
        """Hold a part of a line back, or let it pass."""
        if self._passing:
            return part
        self._held.append(part)
        self._size += len(part)
        if self._size <= self._max_bytes:
            return b""
        self._passing = True
        return self._taken()

    def _ended(self, part: bytes) -> bytes:
        """Return what was held back of a line, with its last part."""
        if self._passing:
            self._passing = False
            return part
        if self._held:
            self._held.append(part)
            part = self._taken()
        return self._line(part)

    def _taken(self) -> bytes:
        whole = b"".join(self._held)
        self._held.clear()
        self._size = 0
        return whole

    def _line(self, line: bytes) -> bytes:
        bare = line.rstrip(b" \t\r")
        if not bare:
            return line
        filtered = self._apply(bare)
        return line if filtered is None else filtered + line[len(bare) :]
