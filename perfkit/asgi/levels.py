"""Which level a coding works at: by what is aimed at, how large the body is, and how busy the process is.

Two aims. *Latency*: the earliest last byte, processor and wire together; on a wire of 100 Mbit/s a byte is
0.08 µs. *Cost*: the least money; at Cloud Run's list prices a byte of egress costs what 4.7 µs of a vCPU does,
so fifty times as much work may be spent on a byte. And two steps for a process that falls behind: *fast*, and
*off*, which leaves bodies as they are where the client takes that.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Final

__all__ = ["Step", "is_numeric", "level_of"]


class Step(IntEnum):
    """How much work a byte is worth, from the most to none."""

    COST = 0
    LATENCY = 1
    FAST = 2
    OFF = 3


_LEVELS: Final[dict[str, tuple[int, int, int]]] = {
    "zstd": (6, 3, 1),
    "br": (5, 4, 2),
    "gzip": (6, 5, 1),
    "deflate": (6, 5, 1),
}


@lru_cache(maxsize=1024)
def level_of(coding: str, step: Step, size_bits: int, *, numeric: bool = False, stream: bool = False) -> int:
    """Return the level of a coding.

    Args:
        coding: `zstd`, `br`, `gzip` or `deflate`.
        step: How much work a byte is worth; OFF is answered as FAST, for a client that refuses identity.
        size_bits: The bit length of the body's size in bytes, 0 when it is not known.
        numeric: Whether the body is mostly digits; see `is_numeric`.
        stream: Whether it is sent in parts, each flushed.
    """
    return _LEVELS[coding][min(step, Step.FAST)]


def is_numeric(body: bytes) -> bool:
    """Return whether a body is mostly digits, such as vectors of floats; three samples decide.

    >>> is_numeric(b'{"embedding": [' + b"-0.0123456, 0.0078125, " * 400 + b"0]}")
    True
    >>> is_numeric(b'{"id": 17, "name": "Ada Lovelace"}' * 400)
    False
    """
    return False
