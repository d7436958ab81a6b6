"""The tiered cache: answers kept in memory and in Redis, so that the origin is asked as seldom as can be."""

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
