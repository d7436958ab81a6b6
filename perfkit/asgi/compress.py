"""The stage that compresses responses."""

from __future__ import annotations

import random
from collections.abc import Awaitable
from dataclasses import dataclass, field

from perfkit.asgi.codecs import Encoder
from perfkit.asgi.head import Head
from perfkit.asgi.request import Request
from perfkit.asgi.settings import AsgiSettings
from perfkit.clock import Clock, now_s

__all__ = ["CodingCounts", "Compression", "CompressionCounts", "without_a_length_too_large"]


@dataclass(slots=True)
class CodingCounts:
    """What was done in one coding."""

    responses: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    codec_seconds: float = 0.0
    """Time spent in the codec: of the event loop, or of the thread that did it."""
    offloaded: int = 0
    """Those of `responses` that a thread compressed."""


@dataclass(slots=True)
class CompressionCounts:
    """What compression did since it was made, in plain numbers."""

    by_coding: dict[str, CodingCounts] = field(default_factory=dict)
    left_alone: dict[str, int] = field(default_factory=dict)
    """Responses that travelled as they were, by reason."""


class Compression:
    """Compresses responses; one a middleware. Changes heads, never bodies' meaning.

    Args:
        settings: The knobs `compress_*`.
        clock: Measures codecs and the lag of the loop.
        rng: Draws the noise; the system's own secure source by default.
    """

    def __init__(
        self, settings: AsgiSettings, *, clock: Clock = now_s, rng: random.Random | None = None
    ) -> None:
        self.counts = CompressionCounts()

    def whole(self, request: Request, head: Head, body: bytes) -> bytes | Awaitable[bytes]:
        """Return a body as it shall travel, its head changed to match; an awaitable when a thread does the work.

        Until an awaitable is done, the head is not to be read or changed.
        """
        return body

    def stream(self, request: Request, head: Head) -> Encoder | None:
        """Return an encoder for a body that comes in parts, its head changed to match, or None to send it as it is."""
        return None

    def bodiless(self, request: Request, head: Head) -> None:
        """Change the head of an answer without a body (to HEAD, or a 304) to what it would be with one."""

    def part(self, encoder: Encoder, chunk: bytes, *, more: bool) -> bytes | Awaitable[bytes]:
        """Return `encoder.feed(chunk)`, or `encoder.end(chunk)` for the last, from a thread if it is long."""
        return encoder.feed(chunk) if more else encoder.end(chunk)


def without_a_length_too_large(request: Request, head: Head) -> None:
    """Drop a `Content-Length` above 30 MiB over HTTP/1.1, where Cloud Run refuses 32 MiB unless chunked."""
