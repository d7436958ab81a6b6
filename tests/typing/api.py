"""What users write, checked by mypy and never run."""

from perfkit import Outside, Settings, Stack
from perfkit.cache import CacheStats, TieredCache, cached, get_tiered_cache
from perfkit.pools import Endpoint, OptimizedRedis, PoolType, get_optimized_redis_client


@cached(ttl_seconds=300, namespace="doubled")
async def doubled(n: int) -> int:
    return 2 * n


async def use() -> None:
    client: OptimizedRedis = await get_optimized_redis_client(pool_type=PoolType.CACHE)
    await client.batch_set({"key1": "value1"}, ttl_seconds=300)
    cache: TieredCache = get_tiered_cache()
    await cache.set("k", {"data": "value"}, l1_ttl_seconds=60, l2_ttl_seconds=3600)
    stats: CacheStats = await cache.get_stats()
    four: int = await doubled(2)
    five: int = await cache.get_or_load("five", lambda: doubled(5))
    async with Stack.open(Settings(), outside=Outside(endpoint=Endpoint.embedded())) as stack:
        assert stack.settings.fingerprint, (stats.hit_ratio, four + five)
