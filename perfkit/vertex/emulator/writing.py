"""Texts that look generated: the same for the same prompt where chance is turned off.

What is written means nothing. It has words of the prompt, so that a reader sees to which question an answer
belongs, a length drawn from a lognormal, and it ends as Gemini's do: by itself (`STOP`), at a stop sequence
(`STOP` as well), or at `max_output_tokens` (`MAX_TOKENS`).
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from xxhash import xxh3_64_intdigest

from perfkit.vertex.emulator.tokens import counted
from perfkit.vertex.protocols import GenerateRequest

__all__ = ["Written", "written"]

_SPREAD: Final = 0.5
_PIECE_TOKENS: Final = 12
_LONGEST: Final = 8_192
_ECHOED: Final = 400
_TEXT: Final = (
    "answer because case cause change check clear common cost data detail different direct each easy effect "
    "example fact first follow general good group help idea important know large level limit line long main "
    "matter mean measure method most need number often option order other part place plan point question "
    "rather reason result rule same second see several short show simple small step still such table take "
    "test thing time type use value way whole work"
)
_WORDS: Final = tuple(_TEXT.split())


@dataclass(frozen=True, slots=True)
class Written:
    """A text that was generated, cut into what a stream would carry."""

    pieces: tuple[str, ...]
    piece_tokens: tuple[int, ...]
    finish_reason: str
    input_tokens: int

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces)

    @property
    def output_tokens(self) -> int:
        """Of all of it."""
        return sum(self.piece_tokens)


def written(request: GenerateRequest, rng: random.Random, *, median_tokens: int) -> Written:
    """Write the answer to a request.

    With a temperature of 0, or with a seed, the request alone decides; otherwise the generator that was given
    decides as well.

    >>> ask = GenerateRequest("gemini-3.8-flash", "Why is the sky blue?", temperature=0, max_output_tokens=5)
    >>> one, other = (written(ask, random.Random(n), median_tokens=100) for n in (1, 2))
    >>> one == other, one.output_tokens, one.finish_reason
    (True, 5, 'MAX_TOKENS')
    """
    chance = random.Random(_chosen(request, rng))  # noqa: S311  what is drawn protects nothing
    wanted = max(1, round(median_tokens * math.exp(_SPREAD * chance.gauss(0.0, 1.0))))
    most = min(request.max_output_tokens or _LONGEST, _LONGEST)
    words: list[str] = []
    tokens = 0
    for word in _words(request, chance):
        cost = counted(word).tokens
        if tokens + cost > min(wanted, most):
            break
        words.append(word)
        tokens += cost
    reason = "MAX_TOKENS" if wanted > most else "STOP"
    text = " ".join(words) + ("." if words and reason == "STOP" and tokens < most else "")
    stops = [at for stop in request.stop if stop and (at := text.find(stop)) >= 0]
    if stops:
        text, reason = text[: min(stops)], "STOP"
    pieces = tuple(_pieces(text))
    asked = counted(request.prompt).tokens + counted(request.system).tokens
    return Written(pieces, tuple(counted(piece).tokens for piece in pieces), reason, asked)


def _chosen(request: GenerateRequest, rng: random.Random) -> int:
    fixed = request.temperature == 0 or request.seed is not None
    drawn = (request.seed or 0) if fixed else rng.getrandbits(32)
    told = f"{request.model}\0{request.system}\0{request.prompt}\0{drawn}"
    return xxh3_64_intdigest(told.encode("utf-8", "surrogatepass"))


def _words(request: GenerateRequest, chance: random.Random) -> Iterator[str]:
    """Yield words without end, one in four of them from the prompt."""
    asked = re.findall(r"\w{3,20}", request.prompt[:_ECHOED].casefold()) or list(_WORDS)
    while True:
        length = chance.randint(6, 14)
        for at in range(length):
            word = chance.choice(asked) if chance.random() < 0.25 else chance.choice(_WORDS)
            if at == 0:
                word = word.capitalize()
            yield word + ("." if at == length - 1 else "")


def _pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces of some twelve tokens; joined, they are the text."""
    piece: list[str] = []
    tokens = 0
    for word in re.findall(r"\s*\S+|\s+$", text):
        piece.append(word)
        tokens += counted(word).tokens
        if tokens >= _PIECE_TOKENS:
            yield "".join(piece)
            piece, tokens = [], 0
    if piece:
        yield "".join(piece)
