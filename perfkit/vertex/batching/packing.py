"""How many tokens a text will count as, before the server has counted them.

A request may hold so many tokens, and only the server knows its tokenizer. What is known here is the length
and the script: a token is about four bytes of English and less of a text in which each sign says more. So a
text is estimated by its bytes over a ratio that is learned for each class of scripts from the counts that
come back. The ratio follows a low quantile of what is seen (about the 5th percentile, by a stochastic step
of unequal sizes: H. Robbins, S. Monro, 1951), because an estimate too high wastes a little room, and one too
low a request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["TokenEstimate"]

_FIRST_RATIO = 3.0
"""Bytes a token, before anything was counted."""
_LOW_SHARE = 0.05
_STEP = 0.04
_ROOM = 0.97
_LEAST_RATIO, _MOST_RATIO = 0.5, 16.0
_SHORT = 8
"""Texts with fewer tokens say little of the ratio: each has a token or two whatever its length."""


class TokenEstimate:
    """Estimates tokens by a text's length and script, and learns from what the server counted; one a model.

    >>> estimate = TokenEstimate(2_048, max_tokens=20_000)
    >>> estimate.of("How do I reset my password?"), estimate.room
    (9, 19400)
    """

    __slots__ = ("_max_text_tokens", "_ratios", "_room")

    def __init__(self, max_text_tokens: int = 2_048, *, max_tokens: int = 20_000) -> None:
        """Take the length at which the model cuts a text, and how many tokens one request may have."""
        self._max_text_tokens = max_text_tokens
        self._room = int(max_tokens * _ROOM)
        self._ratios = [_FIRST_RATIO, _FIRST_RATIO]
        """Of texts that are plain ASCII, and of others."""

    @property
    def room(self) -> int:
        """How many estimated tokens to put into one request: a little below the limit."""
        return self._room

    def of(self, text: str) -> int:
        """Return about how many tokens a text has, rather too many than too few; at least 1.

        Also those that the model will cut off: they count against what a request may hold.
        """
        if text.isascii():
            tokens = math.ceil(len(text) / self._ratios[0])
        else:
            tokens = math.ceil(len(text.encode("utf-8", "replace")) / self._ratios[1])
        return tokens or 1

    def learn(self, texts: Sequence[str], counted_tokens: Sequence[int]) -> None:
        """Take the server's counts; those of texts that were cut say nothing and are left out."""
        ratios, cut = self._ratios, self._max_text_tokens
        for text, tokens in zip(texts, counted_tokens, strict=True):
            if not _SHORT <= tokens < cut:
                continue
            plain = text.isascii()
            size = len(text) if plain else len(text.encode("utf-8", "replace"))
            kind = 0 if plain else 1
            ratio = ratios[kind]
            step = _LOW_SHARE if size > ratio * tokens else _LOW_SHARE - 1.0
            ratios[kind] = min(_MOST_RATIO, max(_LEAST_RATIO, ratio * (1.0 + _STEP * step)))

    def too_many(self, estimated: int, said_limit: int | None, said_count: int | None = None) -> None:
        """Learn that a request was refused for its tokens although it was believed to fit.

        Args:
            estimated: What it was believed to hold.
            said_limit: What the server takes, if it said.
            said_count: What the server counted, if it said.
        """
        excess = said_count / estimated if said_count and estimated else 1.25
        self._ratios = [max(_LEAST_RATIO, ratio / min(2.0, max(1.1, excess))) for ratio in self._ratios]
        if said_limit:
            self._room = min(self._room, max(1, int(said_limit * _ROOM)))
