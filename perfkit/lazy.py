"""Front doors that open a name when it is first asked for (PEP 562).

Reading settings must not load a Redis client, and a service must not pay for the laboratory; yet both are
offered under short names. A room that would load too much declares where its names live and lets this fetch
them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

__all__ = ["opening"]


def opening(room: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return a module's `__getattr__` that loads each name from the module it lives in.

    Args:
        room: The module's `__name__`.
        homes: The module each public name lives in.

    >>> opening("perfkit.cache", {"cached": "perfkit.cache.decorator"})("cached").__name__
    'cached'
    """

    def fetch(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    return fetch
