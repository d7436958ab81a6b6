"""The tiered cache: answers kept in memory and in Redis, so that the origin is asked as seldom as can be."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfkit.cache.decorator import CachedFunction, cached, get_tiered_cache
    from perfkit.cache.memory import MemoryTier
    from perfkit.cache.remote import RemoteTier
    from perfkit.cache.settings import CacheSettings
    from perfkit.cache.tiered import CacheResult, CacheStats, TieredCache

__all__ = [
    "CacheResult",
    "CacheSettings",
    "CacheStats",
    "CachedFunction",
    "MemoryTier",
    "RemoteTier",
    "TieredCache",
    "cached",
    "get_tiered_cache",
]

_HOMES = {
    "CacheResult": "tiered",
    "CacheSettings": "settings",
    "CacheStats": "tiered",
    "CachedFunction": "decorator",
    "MemoryTier": "memory",
    "RemoteTier": "remote",
    "TieredCache": "tiered",
    "cached": "decorator",
    "get_tiered_cache": "decorator",
}


def __getattr__(name: str) -> object:
    """Load a part when it is first asked for: reading settings must not load a Redis client."""
    if name not in _HOMES:
        raise AttributeError(f"module 'perfkit.cache' has no attribute {name!r}")
    return getattr(importlib.import_module(f"perfkit.cache.{_HOMES[name]}"), name)
