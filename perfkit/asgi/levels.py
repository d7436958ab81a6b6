"""Which level a coding works at: by what is aimed at, how large the body is, and how busy the process is.

Two aims. *Latency*: the earliest last byte, processor and wire together; on a wire of 100 Mbit/s a byte is
0.08 µs. *Cost*: the least money; at Cloud Run's list prices a byte of egress costs what 4.7 µs of a vCPU do,
so a byte is worth sixty times the work. And two steps for a process that falls behind: *fast*, and *off*,
which leaves bodies as they are where the client takes that.

Microseconds of one core → bytes, of JSON of 11 and of 102 KB; the least of many interleaved rounds (brotli
1.2.1, libzstd 1.5.7, zlib-ng 2.3.3):

               orders 11 KB  users 11 KB   llm 11 KB     orders 102 KB  users 102 KB   llm 102 KB
    zstd 1     17 → 1204     42 → 4710     56 → 4035     124 → 9495     286 → 41304    384 → 34921   fast
    zstd 2     16 → 1212     45 → 4767     54 → 4033     155 → 9855     339 → 39750    387 → 34499   latency
    zstd 3     18 → 1257     55 → 4733     66 → 4002     237 → 10060    483 → 39276    534 → 32904
    zstd 7     71 → 1112     120 → 4590    162 → 3830    813 → 8161     1652 → 39182   1764 → 32197  cost
    br 1       29 → 1555     62 → 5055     63 → 4290     172 → 10982    440 → 41843    481 → 35367   fast
    br 3       42 → 1236     95 → 4710     102 → 3949    325 → 9793     905 → 39167    874 → 33396   latency
    br 4       76 → 1193     158 → 4691    204 → 3989    531 → 9316     1328 → 38771   1516 → 33158
    br 6       90 → 1080     186 → 4586    229 → 3776    942 → 8416     2278 → 38255   2592 → 31124  cost
    zlib-ng 1  16 → 1905     43 → 6683     39 → 5599     136 → 15552    440 → 57129    325 → 49477   fast
    zlib-ng 5  40 → 1296     88 → 4669     107 → 3918    393 → 10267    1267 → 39505   1555 → 32159  latency
    zlib-ng 7  47 → 1258     118 → 4616    158 → 3878    582 → 9277     2006 → 38695   3802 → 31024  cost
    zlib 9     84 → 1237     145 → 4728    210 → 3904    2866 → 8814    4417 → 39598   8413 → 31075

Summed over the columns zstd 2 is the soonest on that wire (1 is 0.5 % later, 3 is 3 %), and brotli 3 needs
two thirds of what 4 does for at most 5 % more bytes. zlib-ng 6 is both faster and denser than 5 below 8 KB.
Its level 3 would be sooner still on large bodies, with up to 8 % more bytes.

Vectors of floats turn this round: searching longer finds nothing. Of 102 KB zstd 1 makes 41419 bytes in 301
µs, zstd 7 makes 45972 in 2093, and zlib 9 as many in 10493. So numbers have rows of their own.

Streams flush each part, so what a level costs is mostly memory. zstd as `perfkit.asgi.codecs.zstd` sets it up
shrinks events of a model's answer 13.1 times at level 2 (1.4 µs an event, 0.2 MiB a stream) and 13.8 times at
9 (2.5 µs, 0.4 MiB); brotli 12.9 times at 3 (3.6 µs, 0.4 MiB), 13.4 at 6, 8 at 2 (1 µs), and not at all below,
where one part teaches nothing for the next; zlib-ng 14.7 times at 5 (1.8 µs, 0.3 MiB), 14.6 at 1 (0.7 µs).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = ["SMALL_BYTES", "Step", "is_numeric", "level_of"]


class Step(IntEnum):
    """How much work a byte is worth, from the most to none."""

    COST = 0
    LATENCY = 1
    FAST = 2
    OFF = 3


_WORDS: Final = {"zstd": (7, 2, 1), "br": (6, 3, 1), "gzip": (7, 5, 1), "deflate": (7, 5, 1)}
_NUMBERS: Final = {"zstd": (1, 1, 1), "br": (4, 3, 1), "gzip": (6, 3, 1), "deflate": (6, 3, 1)}
_STREAMS: Final = {"zstd": (9, 2, 1), "br": (6, 3, 2), "gzip": (7, 5, 1), "deflate": (7, 5, 1)}
"""Levels at the steps COST, LATENCY and FAST."""

SMALL_BYTES: Final = 8_192
"""Below this size the levels are those of small bodies."""

_NUMERIC_FROM_BYTES: Final = 4_096
_QUOTE_WITHIN_BYTES: Final = 64
_SAMPLE_BYTES: Final = 256
_MOST_OTHERS: Final = 32
_NUMERIC: Final = b"0123456789.,-+eE \n[]"


def level_of(
    coding: str, step: Step, *, small: bool = False, numeric: bool = False, stream: bool = False
) -> int:
    """Return the level of a coding.

    >>> level_of("zstd", Step.LATENCY), level_of("br", Step.COST), level_of("zstd", Step.COST, numeric=True)
    (2, 6, 1)

    Args:
        coding: `zstd`, `br`, `gzip` or `deflate`.
        step: How much work a byte is worth; OFF is answered as FAST, for a client that refuses identity.
        small: Whether the body is smaller than `SMALL_BYTES`.
        numeric: Whether the body is mostly digits; see `is_numeric`.
        stream: Whether it is sent in parts, each flushed.
    """
    rows = _STREAMS if stream else _NUMBERS if numeric else _WORDS
    level = rows[coding][min(step, Step.FAST)]
    return 6 if small and step is Step.LATENCY and rows is _WORDS and coding in ("gzip", "deflate") else level


def is_numeric(body: bytes) -> bool:
    """Return whether a body is mostly digits, as vectors of floats are, from a few samples.

    Bodies below 4 KiB are not looked at: there, levels differ by less than looking costs.

    >>> is_numeric(b'{"embedding": [' + b"-0.0123456, 0.0078125, " * 400 + b"0]}")
    True
    >>> is_numeric(b'{"id": 17, "name": "Ada Lovelace"}' * 400)
    False
    """
    size = len(body)
    if size < _NUMERIC_FROM_BYTES:
        return False
    # By the golden ratio, or every place looked at could be where one of many equal vectors ends.
    first, second = size * 382 // 1000, size * 618 // 1000
    find, within = body.find, _QUOTE_WITHIN_BYTES
    if find(b'"', first, first + within) >= 0 and find(b'"', second, second + within) >= 0:
        return False  # as most bodies say at once
    return sum(_is_numeric_at(body, start) for start in (first, second, size * 191 // 1000)) >= 2


def _is_numeric_at(body: bytes, start: int) -> bool:
    return len(body[start : start + _SAMPLE_BYTES].translate(None, _NUMERIC)) < _MOST_OTHERS
