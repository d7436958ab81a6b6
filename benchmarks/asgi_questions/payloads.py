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
the of and to a in is that for it with as was on are by this be at from or have an they which you had not
but what all were when we there can your said use each she how their will other about out many then them
these so some her would make like him into time has look two more write go see number no way could people my
than first water been call who its now find long down day did get come made may part over new sound take
only little work know place year live back give most very after thing our just name good sentence man think
say great where help through much before line right too mean old any same tell boy follow came want show
also around form three small set put end does another well large must big even such because turn here why
ask went men read need land different home us move try kind hand picture again change off play spell air
away animal house point page letter mother answer found study still learn should world model passage score
source offset reader customer shipping billing support account region latency budget storage network window
token prompt context review release meeting report engineer design garden kitchen mountain river travel
music photography chess coffee running novel history science teacher student doctor lawyer artist builder
driver market product service quality price order delivery contract
"""
"""Common words, the most common first."""
_WORDS = _TEXT.split()
_COMMON = [1 / rank for rank in range(3, len(_WORDS) + 3)]
"""How often each comes, as Zipf has it."""
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
    return " ".join(rng.choices(_WORDS, _COMMON, k=words)).capitalize() + "."


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
