"""brotli (RFC 7932): the densest coding every browser reads, at several times the work of zstd."""

from __future__ import annotations

from typing import Final

import brotli

from perfkit.asgi.codecs.base import Encoder

__all__ = ["Brotli"]

_STREAM_WINDOW_LOG: Final = 16


class Brotli:
    """The coding `br`.

    >>> packed = Brotli().compress(b"far away " * 100, 5, text=True)
    >>> brotli.decompress(packed) == b"far away " * 100, len(packed) < 40
    (True, True)
    """

    coding = "br"

    def compress(self, body: bytes, level: int, *, text: bool = False) -> bytes:
        """Return a whole body, its window no larger than it needs."""
        mode = brotli.MODE_TEXT if text else brotli.MODE_GENERIC
        return brotli.compress(body, mode=mode, quality=level, lgwin=_window_log(len(body)))

    def encoder(self, level: int, *, text: bool = False) -> Encoder:
        """Return a stream with a small window."""
        return _Stream(level, text)


def _window_log(size_bytes: int) -> int:
    return min(max(size_bytes.bit_length(), 16), 22)


class _Stream:
    __slots__ = ("_compressor",)

    def __init__(self, level: int, text: bool) -> None:
        mode = brotli.MODE_TEXT if text else brotli.MODE_GENERIC
        self._compressor = brotli.Compressor(mode=mode, quality=level, lgwin=_STREAM_WINDOW_LOG)

    def feed(self, chunk: bytes) -> bytes:
        if not chunk:
            return b""
        return self._compressor.process(chunk) + self._compressor.flush()

    def end(self, chunk: bytes = b"") -> bytes:
        return (self._compressor.process(chunk) if chunk else b"") + self._compressor.finish()
