"""What the environment says of the cache: its knobs, and the Redis of the pool `cache`."""

from __future__ import annotations

import os
from collections.abc import Mapping

from perfkit.cache.settings import CacheSettings
from perfkit.knobs import of_environment
from perfkit.pools import OptimizedRedis, PoolType, get_optimized_redis_client

__all__ = ["PREFIX", "environment_is_alone", "environments_client", "environments_settings"]

PREFIX = "perfkit:"
"""Stands before every key of a cache that the environment configures."""


def environment_is_alone(env: Mapping[str, str] | None = None) -> bool:
    """Tell whether no server is named: the embedded stand-in is this process's own, nobody else hears."""
    return not (os.environ if env is None else env).get("PERFKIT_REDIS_URL")


async def environments_client() -> OptimizedRedis:
    """Return the running loop's client of the pool `cache`, which raises when Redis is away."""
    return (await get_optimized_redis_client(PoolType.CACHE)).raising


def environments_settings(env: Mapping[str, str] | None = None) -> CacheSettings:
    """Return the knobs that `PERFKIT_CACHE__…` variables set.

    >>> environments_settings({"PERFKIT_CACHE__L1_TTL_SECONDS": "5"}).l1_ttl_seconds
    5.0

    Raises:
        SettingsError: one of them is refused.
    """
    return of_environment(CacheSettings, "cache", os.environ if env is None else env)
