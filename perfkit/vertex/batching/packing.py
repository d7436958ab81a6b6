"""How many tokens a text will count as, and what fits into one request."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["TokenEstimate"]


class TokenEstimate:
    """Estimates tokens by a text's length and script; learns from what the server counted. One for each model."""

    def __init__(self, max_text_tokens: int = 2_048, *, max_tokens: int = 20_000) -> None:
        """Take the length at which the model cuts a text, and how many tokens one request may have."""

    @property
    def room(self) -> int:
        """How many estimated tokens to put into one request: a little below the limit."""
        raise NotImplementedError

    def of(self, text: str) -> int:
        """Return about how many tokens a text has, rather too many than too few; at least 1."""
        raise NotImplementedError

    def learn(self, texts: Sequence[str], counted_tokens: Sequence[int]) -> None:
        """Take the server's counts of texts that were not truncated."""
        raise NotImplementedError

    def too_many(self, estimated: int, said_limit: int | None, said_count: int | None = None) -> None:
        """Learn that a request believed to fit was refused for its tokens; with what the server counted, if it said."""
        raise NotImplementedError
