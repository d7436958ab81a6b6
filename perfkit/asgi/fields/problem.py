"""The answer to a request whose choice of fields cannot be read (RFC 9457)."""

from __future__ import annotations

from perfkit.asgi.head import Head
from perfkit.errors import FieldsError

__all__ = ["problem"]


def problem(error: FieldsError) -> tuple[Head, bytes]:
    """Return a 400 `application/problem+json` that says what is wrong and where."""
    raise NotImplementedError
