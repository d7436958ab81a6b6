"""A real server, a clock and a tier between them, for tests of what the remote tier leaves there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from perfkit.cache import RemoteTier
from perfkit.pools.server import RedisServer, find_server

NOW_S = 1_767_225_600.0


class Time:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOW_S

    def __call__(self) -> float:
        return self.now


def started() -> Iterator[RedisServer]:
    if find_server() is None:
        pytest.skip("no Redis server to start; install perfkit[server]")
    with RedisServer.start() as server:
        yield server


def connected(server: RedisServer) -> Redis:
    return Redis.from_url(server.url, retry=Retry(NoBackoff(), 0))


async def put(tier: RemoteTier, key: str, value: object, ttl_seconds: float = 60.0) -> bool:
    return await tier.set(key, value, ttl_seconds=ttl_seconds, born_epoch_s=NOW_S)


async def value_of(tier: RemoteTier, key: str) -> Any:
    entry = await tier.get(key)
    return "nothing" if entry is None else entry.value
