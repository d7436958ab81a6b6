"""A stored response (stub)."""

from __future__ import annotations

from typing import Any

from perfkit.asgi.messages import Fields

__all__ = ["Kept"]


class Kept:
    """A stored response: status, fields without `Age`, the whole body before any coding of ours.

    `prepared` holds ready-made variants of whoever answers with it; it lives as long as the response is in
    this instance's memory and never reaches Redis.
    """

    __slots__ = ("body", "fields", "prepared", "status")

    def __init__(self, status: int, fields: Fields, body: bytes) -> None:
        self.status = status
        self.fields = fields
        self.body = body
        self.prepared: dict[Any, Any] = {}
