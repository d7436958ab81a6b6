"""Remembering what header values mean, as long as they are short.

Clients send the same few values over and over, so what they mean is worth remembering. But a client may also
send long ones that never come again, and a table that remembered those would be filled by strangers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, update_wrapper
from typing import Any, TypeVar

__all__ = ["LONGEST_REMEMBERED_BYTES", "remembering_short"]

F = TypeVar("F", bound=Callable[..., Any])

LONGEST_REMEMBERED_BYTES = 512
"""Longer values are read each time."""


def remembering_short(places: int) -> Callable[[F], F]:
    """Return a decorator that remembers a function's results by its last argument, a header's value.

    >>> read = []
    >>> @remembering_short(8)
    ... def length(value: bytes | None) -> int:
    ...     read.append(value)
    ...     return len(value or b"")
    >>> length(b"a"), length(b"a"), length(b"b" * 600), length(b"b" * 600), len(read)
    (1, 1, 600, 600, 3)
    """

    def decorate(function: F) -> F:
        remembered = lru_cache(maxsize=places)(function)

        def asked(*arguments: Any) -> Any:
            value = arguments[-1]
            if value is None or len(value) <= LONGEST_REMEMBERED_BYTES:
                return remembered(*arguments)
            return function(*arguments)

        update_wrapper(asked, function)
        return asked  # type: ignore[return-value]  # it takes and returns the same

    return decorate
