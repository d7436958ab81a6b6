"""The calls of a workload as texts: how many tokens each has, and words that stand for them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from perfkit.lab.arrivals import BYTES_PER_TOKEN
from perfkit.lab.embed.traffic import Vertex
from perfkit.lab.workload import Workload
from perfkit.vertex.models import embedding_spec

__all__ = ["AskedCalls"]

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_HEAD_WORDS: Final = 2
"""Two words of three letters tell three hundred million texts apart; so short a word is one token."""
_RECENT: Final = 8


class AskedCalls:
    """What each call of a workload brings: the same for every arm and every stage."""

    def __init__(self, workload: Workload, vertex: Vertex, seed: int) -> None:
        """Draw which calls repeat an earlier one."""
        self.texts_per_call = vertex.texts_per_call
        self._numbers = _repeating(workload.objects, vertex.duplicate_share, seed)
        tokens = np.ceil(workload.sizes / BYTES_PER_TOKEN).astype(np.int64)
        by_object = np.ones(workload.n_objects, dtype=np.int64)
        by_object[workload.objects[::-1]] = tokens[::-1]  # the first size of an object counts
        most = embedding_spec(vertex.model).max_text_tokens
        self._tokens = np.clip(by_object, 1, most)[self._numbers]

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Tokens of each call, all of its texts together."""
        return self._tokens * self.texts_per_call

    def texts(self, index: int) -> list[str]:
        """Return the texts of a call.

        A text has as many words of three letters as it has tokens; its first words are its object's own.
        """
        first = int(self._numbers[index]) * self.texts_per_call
        tokens = int(self._tokens[index])
        return [_text(first + number, tokens) for number in range(self.texts_per_call)]


def _text(number: int, tokens: int) -> str:
    base, head = len(_LETTERS), ""
    for _ in range(min(_HEAD_WORDS, tokens)):
        for _letter in range(3):
            number, letter = divmod(number, base)
            head += _LETTERS[letter]
        head += " "
    return (head + "and " * (tokens - _HEAD_WORDS)).rstrip()


def _repeating(objects: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Objects of the calls, a share of them those of one of the calls shortly before."""
    if not share or len(objects) < 2:
        return objects
    rng = np.random.default_rng([seed, 6])
    repeats = rng.random(len(objects)) < share
    back = rng.integers(1, _RECENT + 1, size=len(objects))
    numbers = objects.copy()
    for index in np.flatnonzero(repeats).tolist():
        numbers[index] = numbers[max(index - int(back[index]), 0)]
    return numbers
