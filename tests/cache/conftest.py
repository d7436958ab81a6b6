"""What several files' tests of the remote tier share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from perfkit.cache import RemoteTier
from perfkit.events import Event
from perfkit.pools.server import RedisServer
from tests.cache.on_redis import Time, connected, started

server = pytest.fixture(started, scope="module", name="server")
mortal = pytest.fixture(started, name="mortal")  # a server of one test's own, which may kill it


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    """A client of the module's server, which is empty."""
    async with connected(server) as client:
        await client.flushall()
        yield client


@pytest.fixture
def heard() -> list[Event]:
    """What the probe was told."""
    return []


@pytest.fixture
def clock() -> Time:
    """Epoch seconds of the tier."""
    return Time()


@pytest.fixture
def tier(redis: Redis, heard: list[Event], clock: Time) -> RemoteTier:
    """A tier over the real server."""
    return RemoteTier(redis, prefix="t:", epoch=clock, probe=heard.append)
