"""Range requests (stub)."""

from __future__ import annotations

from perfkit.asgi.head import Head
from perfkit.asgi.request import Request

__all__ = ["ranged"]


def ranged(request: Request, head: Head, body: bytes) -> tuple[Head, bytes] | None:
    """Return the 206 or 416 that a Range request gets in place of a whole 200; None: send it whole."""
    raise NotImplementedError
