"""Texts of a given number of tokens, all different."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, cycle, islice
from typing import NamedTuple

__all__ = ["MODEL", "Piece", "Writer"]

MODEL = "text-embedding-005"
MAX_TOKENS = 2_048
"""What the model reads of a text; what is longer is cut there, so it may as well be cut here."""
SENTENCE = (
    "what has to wait for its turn is best sent with all that came in the time it had to wait and the more "
    "of it there is the less each part of it costs but who comes alone should not be kept from going alone"
)


class Piece(NamedTuple):
    """A text, and its tokens as the server will count them."""

    content: str
    tokens: int


class Writer:
    """Writes texts by their numbers: the same number and length is the same text."""

    def __init__(self, counted: Callable[[str], int]) -> None:
        """Take what counts the tokens of a text, as the server does."""
        words = [word for word in SENTENCE.split() if counted(word) == 1]
        self._counted = counted
        self._body = " ".join(islice(cycle(words), MAX_TOKENS))
        self._ends = list(accumulate(len(word) + 1 for word in islice(cycle(words), MAX_TOKENS)))

    def piece(self, number: int, tokens: int) -> Piece:
        """Return a text of so many tokens, at least those that make it different from all others."""
        begin = _letters(number)
        own = self._counted(begin)
        rest = min(tokens, MAX_TOKENS) - own
        if rest <= 0:
            return Piece(begin, own)
        return Piece(f"{begin} {self._body[: self._ends[rest - 1] - 1]}", own + rest)


def _letters(number: int) -> str:
    """Write a number with letters: a, b, …, z, ba, bb, …

    >>> _letters(0), _letters(27)
    ('a', 'bb')
    """
    letters = ""
    while number or not letters:
        number, last = divmod(number, 26)
        letters = chr(ord("a") + last) + letters
    return letters
