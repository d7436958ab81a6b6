"""The tiered cache: answers kept in memory and in Redis, so that the origin is asked as seldom as can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.lazy import opening

if TYPE_CHECKING:
    from perfkit.cache.advise import Advice
    from perfkit.cache.codecs import Codecs, VectorCodec, train_dictionary
    from perfkit.cache.decorator import CachedFunction, cached
    from perfkit.cache.memory import MemoryTier
    from perfkit.cache.prefetch import Prefetcher, prefetch_source
    from perfkit.cache.process import get_tiered_cache
    from perfkit.cache.record import Recorder
    from perfkit.cache.remote import RemoteTier
    from perfkit.cache.settings import CacheSettings
    from perfkit.cache.tiered import CacheResult, CacheStats, TieredCache
    from perfkit.cache.tiers import Tiers
    from perfkit.cache.typed import ModelCache
    from perfkit.cache.warm import Warmer

__all__ = [
    "Advice",
    "CacheResult",
    "CacheSettings",
    "CacheStats",
    "CachedFunction",
    "Codecs",
    "MemoryTier",
    "ModelCache",
    "Prefetcher",
    "Recorder",
    "RemoteTier",
    "TieredCache",
    "Tiers",
    "VectorCodec",
    "Warmer",
    "cached",
    "get_tiered_cache",
    "prefetch_source",
    "train_dictionary",
]

__getattr__ = opening(
    __name__,
    {
        "Advice": "perfkit.cache.advise",
        "CacheResult": "perfkit.cache.tiered",
        "CacheSettings": "perfkit.cache.settings",
        "CacheStats": "perfkit.cache.tiered",
        "CachedFunction": "perfkit.cache.decorator",
        "Codecs": "perfkit.cache.codecs",
        "MemoryTier": "perfkit.cache.memory",
        "ModelCache": "perfkit.cache.typed",
        "Prefetcher": "perfkit.cache.prefetch",
        "Recorder": "perfkit.cache.record",
        "RemoteTier": "perfkit.cache.remote",
        "TieredCache": "perfkit.cache.tiered",
        "Tiers": "perfkit.cache.tiers",
        "VectorCodec": "perfkit.cache.codecs",
        "Warmer": "perfkit.cache.warm",
        "cached": "perfkit.cache.decorator",
        "get_tiered_cache": "perfkit.cache.process",
        "prefetch_source": "perfkit.cache.prefetch",
        "train_dictionary": "perfkit.cache.codecs",
    },
)
