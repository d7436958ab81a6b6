"""Texts of a given number of tokens, all different, and what is asked of them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MODEL", "Piece", "piece"]

MODEL = "text-embedding-005"


class Piece(NamedTuple):
    """A text, and its tokens as the server will count them."""

    content: str
    tokens: int
