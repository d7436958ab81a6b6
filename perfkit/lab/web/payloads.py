"""Bodies a service answers with: made from an object's number, so that every arm serves the same bytes.

Four shapes, since compressors differ by shape more than by size: orders (keys and words that repeat), users
(identifiers, prose, coordinates), llm (a chat's messages) and embeddings (digits, which hardly compress).
Prose is drawn from a vocabulary by Zipf's law, as words are in a language; against English text of the same
length gzip finds about as much in it.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, Literal, TypeAlias, cast

from perfkit.lab.web.traffic import Payload

__all__ = ["FIELDS", "MOST_BYTES", "Shape", "body_of", "shape_of"]

Shape: TypeAlias = Literal["orders", "users", "llm", "embeddings"]

MOST_BYTES = 64 * 1024**2
"""No body is made larger."""

_SHAPES: tuple[Shape, ...] = ("orders", "users", "llm", "embeddings")
_SYLLABLES = "ba co de fu gi ha lo me ni or pa qui re su ta un ve wi ya zo ler ing tion ment".split()  # noqa: SIM905  # one line instead of thirty
_VOCABULARY = 2_000
_CITIES = ("Berlin", "Lagos", "Lima", "Osaka", "Oslo", "Pune", "Quito", "Turin")
_STATES = ("new", "paid", "packed", "shipped", "returned")

FIELDS: dict[Shape, tuple[str, ...]] = {
    "orders": ("id", "status", "created_at", "customer", "currency", "total", "items"),
    "users": ("id", "name", "email", "city", "latitude", "longitude", "bio"),
    "llm": ("id", "role", "model", "content", "tokens"),
    "embeddings": ("index", "model", "embedding"),
}
"""What an item of a body is made of, for requests that name fields."""


def shape_of(payload: Payload, number: int) -> Shape:
    """Return the shape of one object's body.

    >>> shape_of("users", 7), shape_of("mixed", 7)
    ('users', 'embeddings')
    """
    return _SHAPES[number % len(_SHAPES)] if payload == "mixed" else payload


def body_of(payload: Payload, number: int, size: int) -> bytes:
    """Return an object's body: JSON of about so many bytes, over by less than an item.

    >>> body_of("orders", 3, 500) == body_of("orders", 3, 500)
    True
    >>> sorted(json.loads(body_of("llm", 1, 2_000)))
    ['count', 'items']
    """
    rng = random.Random(number)  # noqa: S311  # a body that can be repeated, not a secret
    pieces: list[str] = []
    length = len('{"items":[],"count":0}')
    for item in _items(shape_of(payload, number), rng):
        piece = json.dumps(item, separators=(",", ":"))
        pieces.append(piece)
        length += len(piece) + 1
        if length >= min(size, MOST_BYTES):
            break
    return f'{{"items":[{",".join(pieces)}],"count":{len(pieces)}}}'.encode()


def _items(shape: Shape, rng: random.Random) -> Iterator[dict[str, Any]]:
    make = _MAKERS[shape]
    place = 0
    while True:
        yield make(rng, place)
        place += 1


def _order(rng: random.Random, place: int) -> dict[str, Any]:
    return {
        "id": f"ord_{rng.randrange(10**9):09d}",
        "status": rng.choice(_STATES),
        "created_at": f"2026-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}T{rng.randint(0, 23):02d}:00Z",
        "customer": {"id": rng.randrange(10**6), "city": rng.choice(_CITIES)},
        "currency": "EUR",
        "total": round(rng.uniform(5, 500), 2),
        "items": [
            {"sku": f"SKU-{rng.randrange(5_000):05d}", "quantity": rng.randint(1, 4), "unit_price": 9.99}
            for _ in range(rng.randint(1, 4))
        ],
    }


def _user(rng: random.Random, place: int) -> dict[str, Any]:
    first, last = _words(rng, 1).title(), _words(rng, 1).title()
    return {
        "id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "name": f"{first} {last}",
        "email": f"{first.lower()}.{last.lower()}@example.com",
        "city": rng.choice(_CITIES),
        "latitude": round(rng.uniform(-90, 90), 6),
        "longitude": round(rng.uniform(-180, 180), 6),
        "bio": _words(rng, rng.randint(8, 40)),
    }


def _message(rng: random.Random, place: int) -> dict[str, Any]:
    count = rng.randint(15, 180)
    return {
        "id": f"msg_{rng.getrandbits(64):016x}",
        "role": "user" if place % 2 == 0 else "assistant",
        "model": "text-large",
        "content": _words(rng, count).capitalize() + ".",
        "tokens": round(count * 1.3),
    }


def _embedding(rng: random.Random, place: int) -> dict[str, Any]:
    vector = [round(rng.gauss(0, 0.04), 8) for _ in range(64)]
    return {"index": place, "model": "text-embedding", "embedding": vector}


_MAKERS = cast(
    "dict[Shape, Callable[[random.Random, int], dict[str, Any]]]",
    {"orders": _order, "users": _user, "llm": _message, "embeddings": _embedding},
)


def _vocabulary() -> list[str]:
    rng = random.Random(0)  # noqa: S311  # the same words for everybody
    words = {"".join(rng.choices(_SYLLABLES, k=rng.randint(1, 4))) for _ in range(2 * _VOCABULARY)}
    return sorted(words, key=lambda word: (len(word), word))[:_VOCABULARY]


_WORDS = _vocabulary()
_REACHED = list(accumulate(1 / rank for rank in range(1, len(_WORDS) + 1)))


def _words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(_WORDS, cum_weights=_REACHED, k=count))
