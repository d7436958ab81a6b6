"""What a caller gets: the text, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Source", "TextAnswer"]

Source: TypeAlias = Literal["model", "joined", "cache"]
"""Who answered: the model, a call that was under way for the same prompt, or the cache."""


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """A text that a model wrote.

    The token counts are of the request that the model answered, also where its answer came from the cache.
    """

    text: str
    finish_reason: str = ""
    """`STOP`, `MAX_TOKENS` (the text is cut), `SAFETY` (it was broken off), …"""
    input_tokens: int = 0
    output_tokens: int = 0
    source: Source = "model"
    model_version: str = ""
