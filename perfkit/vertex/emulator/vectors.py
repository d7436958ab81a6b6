"""Vectors that place similar texts close, without a model.

A text becomes features: its words, pairs of neighbouring words, and the runs of three to five letters within
each word, which spelling and endings share. Each feature adds its weight, with a sign of its own, to one of
the places of a long row of integers (Weinberger et al., "Feature hashing for large scale multitask learning",
ICML 2009): the dot product of two rows estimates what the texts share. A Hadamard transform over random signs
then spreads the row over all places (the subsampled randomised transform of Ailon and Chazelle, STOC 2006),
so that the vector is dense and any beginning of it keeps the angles about right, as Matryoshka embeddings do:
`dimensions` cuts and normalises again.

Vectors of real models all lean the same way: unrelated texts are far from orthogonal. So every text has one
feature in common, of a weight that gives unrelated ones a cosine of about `_LEAN`; and each task type one
more, small enough that query and document of the same words stay close.

Weights are integers, and sums and transforms of integers are exact in float32: the same text has the same
bits on every machine and in every version, whatever order it adds in. Hashes are xxh3, never `hash()`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from xxhash import xxh3_64_intdigest

from perfkit.vertex.protocols import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Vectors"]

_WORD: Final = re.compile(r"\w+")
_KEPT_WORDS: Final = 32_768
_KEPT_BYTES: Final = 16_000_000

_WORD_WEIGHT: Final = 12
_STOP_WEIGHT: Final = 4
_PAIR_WEIGHT: Final = 5
_RUN_WEIGHT: Final = 5
_STOP_RUN_WEIGHT: Final = 1
_LEAN: Final = 0.5
_TASK: Final = 0.05
_STOP_WORDS: Final = (
    "a about am an and any are as at be been but by can could did do does for from get had has have how i "
    "if in into is it its just me my no not of on or our please so some than that the their them then there "
    "these "
    "they this to up us was we were what when where which who why will with would you your"
)
_STOP: Final = frozenset(_STOP_WORDS.split())


class Vectors:
    """Embeds texts as one model would.

    >>> from perfkit.vertex.protocols import Text
    >>> model = Vectors("text-embedding-005", 768)
    >>> ask, same, other = model.of(
    ...     [Text("how do I reset my PIN"), Text("how can I reset the PIN"), Text("rain today")],
    ...     dimensions=256,
    ... )
    >>> bool(ask @ same > ask @ other + 0.2), ask.shape
    (True, (256,))

    Args:
        model: Google's id: two models have nothing in common.
        full: How long a vector is unless a shorter one is asked for.
        kind: `cheap` vectors are told apart and nothing more.
    """

    def __init__(self, model: str, full: int, *, kind: Literal["semantic", "cheap"] = "semantic") -> None:
        self._full = full
        self._kind = kind
        self._edge = 32 if full <= 1_024 else 64
        self._places = self._edge**2
        self._salt = _hashed(model)
        self._signs = _signs(model, self._places)
        self._kept: dict[tuple[Text, int], NDArray[np.float32]] = {}
        self._keep_most = max(1, _KEPT_BYTES // (4 * full))

    def of(self, texts: Sequence[Text], *, dimensions: int | None = None) -> list[NDArray[np.float32]]:
        """Return one unit vector a text; they are kept for a while, and may not be written to."""
        length = dimensions or self._full
        if self._kind == "cheap":
            return [self._cheap(text, length) for text in texts]
        kept = self._kept
        new = [text for text in dict.fromkeys(texts) if (text, length) not in kept]
        if new:
            if len(kept) + len(new) > self._keep_most:
                kept.clear()
            kept.update(zip(((text, length) for text in new), self._embedded(new, length), strict=True))
        return [kept[text, length] for text in texts]

    def _embedded(self, texts: Sequence[Text], length: int) -> list[NDArray[np.float32]]:
        rows = np.stack([self._row(text) for text in texts])
        rows *= self._signs
        squares = _hadamard(self._edge) @ rows.reshape(-1, self._edge, self._edge) @ _hadamard(self._edge)
        vectors = squares.reshape(len(texts), -1)[:, :length].astype(np.float64)
        vectors /= np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
        made = [row.astype(np.float32) for row in vectors]  # a view would hold on to all the others
        for vector in made:
            vector.flags.writeable = False
        return made

    def _row(self, text: Text) -> NDArray[np.float32]:
        words = _WORD.findall(text.content.casefold())
        if text.title:
            words += _WORD.findall(text.title.casefold())
        parts = [_word_features(word) for word in words]
        parts += [_pair_feature(pair) for pair in pairwise(words)]
        parts.append(_whole_feature(text.content if not words else ""))
        hashes = np.concatenate([hashes for hashes, _ in parts])
        weights = np.concatenate([weights for _, weights in parts])
        row = np.bincount(hashes & (self._places - 1), weights=weights, minlength=self._places)
        strength = math.sqrt(float(row @ row))
        lean = round(strength * math.sqrt(_LEAN / (1 - _LEAN)))
        row[self._salt % self._places] += lean
        if text.task_type not in ("", "DEFAULT"):
            row[_hashed(text.task_type) % self._places] += round(strength * math.sqrt(_TASK))
        return row.astype(np.float32)

    def _cheap(self, text: Text, length: int) -> NDArray[np.float32]:
        number = _hashed(f"{self._salt} {text.task_type}\0{text.title}\0{text.content}")
        vector = np.zeros(length, np.float32)
        first = number % length
        angle = (number >> 32) / 2.0**32 * math.pi
        vector[first] = math.cos(angle)
        vector[(first + 1 + (number >> 16) % max(1, length - 1)) % length] += math.sin(angle)
        return vector


_Features = tuple["NDArray[np.int64]", "NDArray[np.float64]"]


@lru_cache(maxsize=_KEPT_WORDS)
def _word_features(word: str) -> _Features:
    stop = word in _STOP
    spelled = f"<{word}>"
    sizes = (3, 4, 5) if word.isascii() else (2, 3)
    runs = {spelled[at : at + size] for size in sizes for at in range(len(spelled) - size + 1)}
    whole, run = (_STOP_WEIGHT, _STOP_RUN_WEIGHT) if stop else (_WORD_WEIGHT, _RUN_WEIGHT)
    return _signed([f"w {word}", *sorted(runs)], [whole] + [run] * len(runs))


@lru_cache(maxsize=_KEPT_WORDS)
def _pair_feature(pair: tuple[str, str]) -> _Features:
    stop = pair[0] in _STOP and pair[1] in _STOP
    return _signed([f"p {pair[0]} {pair[1]}"], [_STOP_WEIGHT // 2 if stop else _PAIR_WEIGHT])


@lru_cache(maxsize=256)
def _whole_feature(text: str) -> _Features:
    """A text without a word is told apart by the whole of it."""
    return _signed([f"t {text}"], [_WORD_WEIGHT]) if text else _signed([], [])


def _signed(features: list[str], weights: list[int]) -> _Features:
    numbers = [_hashed(feature) for feature in features]
    return (
        np.array([number >> 2 for number in numbers], np.int64),
        np.array([w if n & 1 else -w for n, w in zip(numbers, weights, strict=True)], np.float64),
    )


def _hashed(text: str) -> int:
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=4)
def _hadamard(edge: int) -> NDArray[np.float32]:
    """Sylvester's matrix of +1 and −1."""
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < edge:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


@lru_cache(maxsize=8)
def _signs(model: str, places: int) -> NDArray[np.float32]:
    bits = [_hashed(f"{model} {at}") & 1 for at in range(places)]
    return np.array(bits, np.float32) * 2 - 1
