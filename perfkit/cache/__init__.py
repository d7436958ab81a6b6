"""The tiered cache: answers kept in memory and in Redis, so that the origin is asked as seldom as can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.lazy import opening

if TYPE_CHECKING:
    from perfkit.cache.decorator import CachedFunction, cached
    from perfkit.cache.memory import MemoryTier
    from perfkit.cache.process import get_tiered_cache
    from perfkit.cache.remote import RemoteTier
    from perfkit.cache.settings import CacheSettings
    from perfkit.cache.tiered import CacheResult, CacheStats, TieredCache
    from perfkit.cache.tiers import Tiers

__all__ = [
    "CacheResult",
    "CacheSettings",
    "CacheStats",
    "CachedFunction",
    "MemoryTier",
    "RemoteTier",
    "TieredCache",
    "Tiers",
    "cached",
    "get_tiered_cache",
]

__getattr__ = opening(
    __name__,
    {
        "CacheResult": "perfkit.cache.tiered",
        "CacheSettings": "perfkit.cache.settings",
        "CacheStats": "perfkit.cache.tiered",
        "CachedFunction": "perfkit.cache.decorator",
        "MemoryTier": "perfkit.cache.memory",
        "RemoteTier": "perfkit.cache.remote",
        "TieredCache": "perfkit.cache.tiered",
        "Tiers": "perfkit.cache.tiers",
        "cached": "perfkit.cache.decorator",
        "get_tiered_cache": "perfkit.cache.process",
    },
)
