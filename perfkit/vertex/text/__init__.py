"""Texts that a model writes: kept, shared by those who ask the same, asked for at a pace that is allowed."""

from __future__ import annotations

from perfkit.vertex.text.answer import Source, TextAnswer
from perfkit.vertex.text.calls import Caching, TextCalls
from perfkit.vertex.text.stats import TextStats

__all__ = ["Caching", "Source", "TextAnswer", "TextCalls", "TextStats"]
