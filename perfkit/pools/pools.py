"""One pool per workload, so that a slow or busy workload cannot take another's connections."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from enum import StrEnum
from weakref import WeakKeyDictionary

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from perfkit.events import Probe, log_probe
from perfkit.knobs import iter_knobs, parsed, replaced
from perfkit.pools.client import OptimizedRedis
from perfkit.pools.endpoint import Endpoint
from perfkit.pools.fair import FairPool
from perfkit.pools.settings import PoolSettings, PoolsSettings

__all__ = ["PoolType", "RedisPools", "get_optimized_redis_client"]


class PoolType(StrEnum):
    """What a connection is used for."""

    DEFAULT = "default"
    READ_HEAVY = "read_heavy"
    WRITE_HEAVY = "write_heavy"
    ANALYTICS = "analytics"
    CACHE = "cache"


class RedisPools:
    """The pools of one process; they open connections as they are needed.

    >>> import asyncio
    >>> async def main() -> list[bytes | None]:
    ...     pools = RedisPools(endpoint=Endpoint.embedded())
    ...     client = pools.client(PoolType.CACHE)
    ...     await client.batch_set({"a": 1, "b": 2}, ttl_seconds=300)
    ...     values = await client.batch_get(["a", "b", "c"])
    ...     await pools.aclose()
    ...     return values
    >>> asyncio.run(main())
    [b'1', b'2', None]
    """

    def __init__(
        self,
        settings: PoolsSettings | None = None,
        endpoint: Endpoint | None = None,
        *,
        probe: Probe = log_probe,
    ) -> None:
        self._settings = settings or PoolsSettings()
        self._endpoint = endpoint or Endpoint.from_env(probe=probe)
        self._clients: dict[PoolType, OptimizedRedis] = {}

    def client(self, pool_type: PoolType = PoolType.DEFAULT) -> OptimizedRedis:
        """Return the workload's client; the same one every time."""
        if pool_type not in self._clients:
            settings: PoolSettings = getattr(self._settings, pool_type.value)
            pool = FairPool(pool_type.value, settings, **_connection(self._endpoint, settings))
            self._clients[pool_type] = OptimizedRedis(pool, settings, backend=self._endpoint.backend)
        return self._clients[pool_type]

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.connection_pool.aclose()
        self._clients.clear()


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, RedisPools] = WeakKeyDictionary()


async def get_optimized_redis_client(pool_type: PoolType = PoolType.DEFAULT) -> OptimizedRedis:
    """Return the workload's client as the environment configures it, shared by all of the running loop.

    Raises:
        SettingsError: a `PERFKIT_POOLS__…` variable is refused.
        RealServerRequired: no Redis is configured and the embedded one is forbidden.
    """
    loop = asyncio.get_running_loop()
    if loop not in _of_loop:
        _of_loop[loop] = RedisPools(_settings_from(os.environ))
    return _of_loop[loop].client(pool_type)


def _settings_from(env: Mapping[str, str]) -> PoolsSettings:
    knobs = {
        f"PERFKIT_POOLS__{info.path.upper().replace('.', '__')}": info for info in iter_knobs(PoolsSettings())
    }
    values = {info.path: parsed(info, env[name], place=name) for name, info in knobs.items() if name in env}
    return replaced(PoolsSettings(), values)


def _connection(endpoint: Endpoint, settings: PoolSettings) -> dict[str, object]:
    """redis-py's keywords, with its surprises switched off.

    No retries: the default repeats writes. No maintenance notifications: with them on, a connection with an
    unread reply is handed to the next caller. No `socket_timeout`: below Python 3.12 it swallows
    cancellations; the client's own deadline stands around the whole command instead. No driver info: it
    costs a round trip on every connect.
    """
    if endpoint.backend == "fakeredis":
        return dict(endpoint.connection)
    return {
        **endpoint.connection,
        "retry": Retry(NoBackoff(), 0),
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "driver_info": None,
        "socket_connect_timeout": settings.connect_timeout_seconds,
        "socket_timeout": None,
        "health_check_interval": 30,
    }
