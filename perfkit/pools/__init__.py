"""Redis, shared out by workload: one bounded, fair pool for each kind of use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.lazy import opening

if TYPE_CHECKING:
    from perfkit.pools.client import OptimizedRedis
    from perfkit.pools.endpoint import Endpoint
    from perfkit.pools.health import PoolHealth, Readiness
    from perfkit.pools.pools import PoolType, RedisPools, get_optimized_redis_client, get_redis_pools
    from perfkit.pools.settings import PoolSettings, PoolsSettings

__all__ = [
    "Endpoint",
    "OptimizedRedis",
    "PoolHealth",
    "PoolSettings",
    "PoolType",
    "PoolsSettings",
    "Readiness",
    "RedisPools",
    "get_optimized_redis_client",
    "get_redis_pools",
]

__getattr__ = opening(
    __name__,
    {
        "Endpoint": "perfkit.pools.endpoint",
        "OptimizedRedis": "perfkit.pools.client",
        "PoolHealth": "perfkit.pools.health",
        "PoolSettings": "perfkit.pools.settings",
        "PoolType": "perfkit.pools.pools",
        "PoolsSettings": "perfkit.pools.settings",
        "Readiness": "perfkit.pools.health",
        "RedisPools": "perfkit.pools.pools",
        "get_optimized_redis_client": "perfkit.pools.pools",
        "get_redis_pools": "perfkit.pools.pools",
    },
)
