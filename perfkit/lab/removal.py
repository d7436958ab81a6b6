"""Taking away what an arm has written to a Redis that others may use too."""

from __future__ import annotations

from perfkit.pools import PoolType, RedisPools

__all__ = ["remove_keys"]


async def remove_keys(pools: RedisPools, prefix: str) -> None:
    """Remove every key that begins so; a server that is gone has none of them, or lets them expire."""
    client = pools.client(PoolType.DEFAULT)
    try:
        keys = [key async for key in client.scan_iter(match=f"{prefix}*", count=1_000)]
        await client.batch_delete([key.decode() for key in keys])
    except Exception:  # noqa: S110  # whatever it is, nobody waits for these keys
        pass
