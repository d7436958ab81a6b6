"""Remembering what a header's value means, for values of usual length only.

A cache of so many entries has no bound when clients choose the length of a key: a server lets 64 KiB in, so
1,024 values of `If-None-Match` sent once each held 60 MiB. What is longer than any honest value is worked out
anew each time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

__all__ = ["remembered"]

ResultT = TypeVar("ResultT")
ValueT = TypeVar("ValueT", bytes, bytes | None)

_LONGEST_BYTES = 512


def remembered(entries: int) -> Callable[[Callable[[ValueT], ResultT]], Callable[[ValueT], ResultT]]:
    """Remember what a function returns for the values asked last; of long ones nothing is kept.

    >>> asked = []
    >>> remember = remembered(16)(lambda value: asked.append(value) or len(value))
    >>> [remember(value) for value in (b"a", b"a", b"b" * 9_000, b"b" * 9_000)]
    [1, 1, 9000, 9000]
    >>> len(asked)
    3
    """

    def keeping(work: Callable[[ValueT], ResultT]) -> Callable[[ValueT], ResultT]:
        kept = lru_cache(entries)(work)

        @wraps(work)
        def known(value: ValueT) -> ResultT:
            return kept(value) if value is None or len(value) <= _LONGEST_BYTES else work(value)

        return known

    return keeping
