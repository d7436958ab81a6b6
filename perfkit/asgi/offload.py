"""Decides whether a body is compressed here or in a thread, by how long it is going to take."""

from __future__ import annotations

__all__ = ["Pace"]


class Pace:
    """How fast one codec works at one level, learned from what it did."""
