"""gzip (RFC 1952) and deflate (RFC 1950), both by zlib-ng.

`deflate` is zlib's format, not bare deflate: RFC 9110 §8.4.1.2 says so, though some clients take both. A gzip
header has room for a time and a system; here the time is always 0, so that equal bodies stay equal bytes.
"""

from __future__ import annotations

from typing import Final

from zlib_ng import zlib_ng

from perfkit.asgi.codecs.base import Encoder

__all__ = ["Deflate", "Gzip"]

_GZIP_WBITS: Final = 31
_ZLIB_WBITS: Final = 15


class _Zlib:
    coding = ""
    _wbits = _ZLIB_WBITS

    def compress(self, body: bytes, level: int) -> bytes:
        """Return a whole body compressed."""
        return zlib_ng.compress(body, level, self._wbits)

    def encoder(self, level: int) -> Encoder:
        """Return a stream."""
        return _Stream(level, self._wbits)


class Gzip(_Zlib):
    """The coding `gzip`.

    >>> packed = Gzip().compress(b"far away " * 100, 5)
    >>> zlib_ng.decompress(packed, 31) == b"far away " * 100, len(packed) < 50
    (True, True)
    """

    coding = "gzip"
    _wbits = _GZIP_WBITS


class Deflate(_Zlib):
    """The coding `deflate`.

    >>> zlib_ng.decompress(Deflate().compress(b"far away", 5))
    b'far away'
    """

    coding = "deflate"


class _Stream:
    __slots__ = ("_compressor",)

    def __init__(self, level: int, wbits: int) -> None:
        self._compressor = zlib_ng.compressobj(level, zlib_ng.DEFLATED, wbits)

    def feed(self, chunk: bytes) -> bytes:
        if not chunk:
            return b""
        return self._compressor.compress(chunk) + self._compressor.flush(zlib_ng.Z_SYNC_FLUSH)

    def end(self, chunk: bytes = b"") -> bytes:
        return self._compressor.compress(chunk) + self._compressor.flush(zlib_ng.Z_FINISH)
