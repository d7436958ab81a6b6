"""Bodies like those an AI service sends: the same bytes from the same seed, wherever they are made."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import Any

__all__ = ["KINDS", "SIZES", "payload"]

SIZES = {"1.4 kB": 1_400, "10 kB": 10_500, "100 kB": 102_000}

_TEXT = """
the model returns a ranked list of passages and each of them carries its score source and offset so that
a reader can follow where an answer came from before trusting it with anything that matters to a customer
shipping billing support account region latency budget storage network retry window token prompt context
"""
_WORDS = _TEXT.split()
_CITIES = ("Lisbon", "Osaka", "Turin", "Quito", "Accra", "Leeds", "Porto", "Lyon")


def _order(rng: random.Random, number: int) -> dict[str, Any]:
    return {
        "id": 100_000 + number,
        "status": rng.choice(("created", "paid", "shipped", "delivered")),
        "currency": "EUR",
        "created_at": f"2026-11-{rng.randint(1, 28):02d}T{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}Z",
        "customer": {"id": rng.randint(1, 5_000), "tier": rng.choice(("basic", "plus", "pro"))},
        "items": [
            {
                "sku": f"SKU-{rng.randint(1, 400):05d}",
                "quantity": rng.randint(1, 5),
                "unit_price": {"amount": rng.randint(100, 9_999), "currency": "EUR"},
                "discounts": [],
                "gift": False,
            }
            for _ in range(rng.randint(1, 4))
        ],
        "shipping": {"method": "standard", "address": {"city": rng.choice(_CITIES), "country": "PT"}},
    }


def _user(rng: random.Random, number: int) -> dict[str, Any]:
    return {
        "id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "name": f"User {number}",
        "email": f"user{rng.randint(1, 99_999)}@mail.example",
        "score": round(rng.random(), 6),
        "location": {"lat": round(rng.uniform(-90, 90), 6), "lon": round(rng.uniform(-180, 180), 6)},
        "bio": _prose(rng, 22),
    }


def _message(rng: random.Random, number: int) -> dict[str, Any]:
    return {
        "id": f"msg_{rng.getrandbits(64):016x}",
        "role": ("user", "assistant")[number % 2],
        "model": "text-large",
        "content": _prose(rng, 60),
        "usage": {"prompt_tokens": rng.randint(10, 900), "completion_tokens": rng.randint(10, 900)},
    }


def _embedding(rng: random.Random, number: int) -> dict[str, Any]:
    return {"index": number, "embedding": [round(rng.gauss(0, 0.05), 7) for _ in range(64)]}


def _prose(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(_WORDS, k=words)).capitalize() + "."


KINDS: dict[str, Callable[[random.Random, int], dict[str, Any]]] = {
    "orders": _order,
    "users": _user,
    "llm": _message,
    "embeddings": _embedding,
}


@lru_cache
def payload(kind: str, size_bytes: int, seed: int = 1) -> bytes:
    """Return a JSON document of about a size: as many records as fit, and one at least."""
    rng = random.Random(f"{kind} {seed}")  # noqa: S311  # bytes to be repeated, not a secret
    records: list[bytes] = []
    length = len(b'{"data":[]}')
    while not records or length < size_bytes:
        record = json.dumps(KINDS[kind](rng, len(records)), separators=(",", ":")).encode()
        if records and length + len(record) > size_bytes:
            break
        records.append(record)
        length += len(record) + 1
    return b'{"data":[' + b",".join(records) + b"]}"
