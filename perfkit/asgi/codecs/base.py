"""What a coding is to the middleware."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Codec", "Encoder"]


class Encoder(Protocol):
    """One response body on its way out, in parts.

    What a client has received decodes to all that was fed: nothing is held back for a better ratio.
    """

    def feed(self, chunk: bytes) -> bytes:
        """Return bytes after which everything fed so far can be decoded; none for an empty chunk."""
        ...

    def end(self, chunk: bytes = b"") -> bytes:
        """Return the last bytes, with a last chunk in them; the encoder is of no use after."""
        ...


class Codec(Protocol):
    """A content coding of the registry (RFC 9110 §18.6), for any number of threads at once."""

    coding: str
    """Its name in `Content-Encoding`."""

    def compress(self, body: bytes, level: int) -> bytes:
        """Return a whole body compressed. The same body at the same level is always the same bytes."""
        ...

    def encoder(self, level: int) -> Encoder:
        """Return a stream of its own, which shares nothing with any other."""
        ...
