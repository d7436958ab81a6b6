"""Redis, shared out by workload: one bounded, fair pool for each kind of use."""

from perfkit.pools.client import OptimizedRedis
from perfkit.pools.endpoint import Endpoint
from perfkit.pools.pools import PoolType, RedisPools, get_optimized_redis_client
from perfkit.pools.settings import PoolSettings, PoolsSettings

__all__ = [
    "Endpoint",
    "OptimizedRedis",
    "PoolSettings",
    "PoolType",
    "PoolsSettings",
    "RedisPools",
    "get_optimized_redis_client",
]
