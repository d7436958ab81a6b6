"""The tiered cache: answers kept in memory and in Redis, so that the origin is asked as seldom as can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.lazy import opening

if TYPE_CHECKING:
    from perfkit.cache.codecs import GENERAL, Codecs, Dictionary, ModelCodec, VectorCodec, train_dictionary
    from perfkit.cache.decorator import CachedFunction, cached, get_tiered_cache
    from perfkit.cache.memory import MemoryTier
    from perfkit.cache.remote import RemoteCounts, RemoteTier, Stored
    from perfkit.cache.settings import CacheSettings
    from perfkit.cache.tiered import CacheResult, CacheStats, TieredCache
    from perfkit.cache.typed import ModelCache, ModelCacheStats

__all__ = [
    "GENERAL",
    "CacheResult",
    "CacheSettings",
    "CacheStats",
    "CachedFunction",
    "Codecs",
    "Dictionary",
    "MemoryTier",
    "ModelCache",
    "ModelCacheStats",
    "ModelCodec",
    "RemoteCounts",
    "RemoteTier",
    "Stored",
    "TieredCache",
    "VectorCodec",
    "cached",
    "get_tiered_cache",
    "train_dictionary",
]

__getattr__ = opening(
    __name__,
    {
        "GENERAL": "perfkit.cache.codecs",
        "CacheResult": "perfkit.cache.tiered",
        "CacheSettings": "perfkit.cache.settings",
        "CacheStats": "perfkit.cache.tiered",
        "CachedFunction": "perfkit.cache.decorator",
        "Codecs": "perfkit.cache.codecs",
        "Dictionary": "perfkit.cache.codecs",
        "MemoryTier": "perfkit.cache.memory",
        "ModelCache": "perfkit.cache.typed",
        "ModelCacheStats": "perfkit.cache.typed",
        "ModelCodec": "perfkit.cache.codecs",
        "RemoteCounts": "perfkit.cache.remote",
        "RemoteTier": "perfkit.cache.remote",
        "Stored": "perfkit.cache.remote",
        "TieredCache": "perfkit.cache.tiered",
        "VectorCodec": "perfkit.cache.codecs",
        "cached": "perfkit.cache.decorator",
        "get_tiered_cache": "perfkit.cache.decorator",
        "train_dictionary": "perfkit.cache.codecs",
    },
)
