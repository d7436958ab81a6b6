"""Conditional requests (stub)."""

from __future__ import annotations

from perfkit.asgi.head import Head
from perfkit.asgi.request import Request

__all__ = ["as_not_modified", "etag_of", "not_modified"]


def etag_of(body: bytes) -> bytes:
    """Return a weak entity tag of a body."""
    raise NotImplementedError


def not_modified(request: Request, head: Head) -> bool:
    """Tell whether a GET or HEAD that would be answered by this 200 is to be answered by 304."""
    raise NotImplementedError


def as_not_modified(head: Head) -> Head:
    """Return the head of a 304 in place of a 200."""
    raise NotImplementedError
