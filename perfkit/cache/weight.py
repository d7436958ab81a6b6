"""How many bytes a value takes, about: what the memory tier's bound in bytes is counted in."""

from __future__ import annotations

import sys

__all__ = ["default_weight"]


def default_weight(value: object) -> int:
    """Return about how many bytes a value takes: its length for bytes, else what Python holds for it.

    >>> default_weight(b"12345")
    5
    >>> default_weight(["a" * 1000, "a" * 1000]) > 2000
    True
    """
    kind = type(value)
    if kind is bytes or kind is bytearray:
        return len(value)  # type: ignore[arg-type]  # what it is was asked just now
    if kind is str:
        return sys.getsizeof(value)
    total = 0
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        total += sys.getsizeof(item)
        if isinstance(item, str | bytes | int | float) or item is None:
            continue
        if id(item) not in seen:
            seen.add(id(item))
            waiting.extend(_inside(item))
    return total


def _inside(item: object) -> list[object]:
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)
    return [vars(item)] if hasattr(item, "__dict__") and not isinstance(item, type) else []
