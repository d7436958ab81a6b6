"""Shared fixtures: one real server a module, endpoints of both kinds, and the same server behind TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
import redis

from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, PoolType, RedisPools
from perfkit.pools.fault_proxy import FaultProxy
from perfkit.pools.fault_proxy.process import FaultProxyProcess
from perfkit.pools.fault_proxy.toxics import Toxics
from perfkit.pools.server import RedisServer, find_server
from perfkit.pools.server.cluster import ClusterServer
from tests.pools.watched import Watched

Proxy: TypeAlias = FaultProxy | FaultProxyProcess

pytest.register_assert_rewrite("tests.pools.client_case")  # its failures show both sides, like a test's own


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A real server of this module's own."""
    if find_server() is None:
        pytest.skip("no Redis server to start; install perfkit[server]")
    with RedisServer.start() as started:
        yield started


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterServer]:
    """A cluster of this module's own: three primaries, all alive when a test ends."""
    if find_server() is None:
        pytest.skip("no Redis server to start; install perfkit[server]")
    with ClusterServer.start() as started:
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


@pytest.fixture(scope="session")
def tls_authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """Proof that a server is 127.0.0.1 (but not `localhost`), and the file by which clients judge it."""
    import trustme  # takes a tenth of a second, which only tests of TLS should pay

    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    return context, file


@pytest.fixture(scope="session")
def tls_ca_file(tls_authority: tuple[ssl.SSLContext, Path]) -> Path:
    """The certificate of the authority that `tls_endpoint_url` is vouched for by; nobody else knows it."""
    return tls_authority[1]


@pytest.fixture(scope="module")
def tls_endpoint_url(server: RedisServer, tls_authority: tuple[ssl.SSLContext, Path]) -> Iterator[str]:
    """The module's server behind TLS, as the address of a client that trusts its authority.

    The server in the wheel speaks no TLS, so a terminator stands before it, in a thread with a loop of its
    own: it serves blocking clients and those of any test's loop.
    """
    context, file = tls_authority
    with _terminator(context, server.port) as port:
        yield f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={file}"


@contextlib.contextmanager
def _terminator(context: ssl.SSLContext, onward_port: int) -> Iterator[int]:
    """Relay what comes in by TLS to a plain port, both ways, until the block ends; yield where."""
    started: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        over = asyncio.Event()
        relays = await asyncio.start_server(
            lambda reader, writer: _relay(reader, writer, onward_port), "127.0.0.1", 0, ssl=context
        )
        started.set_result((relays.sockets[0].getsockname()[1], asyncio.get_running_loop(), over))
        await over.wait()
        relays.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="tls-terminator")
    thread.start()
    port, loop, over = started.result(timeout=10)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(timeout=10)


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, onward_port: int) -> None:
    """Carry bytes until either side ends; then both do."""
    sinks = [writer]

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):  # the client left without saying so, as a cancelled one does
            while chunk := await source.read(65_536):
                sink.write(chunk)
                await sink.drain()
        sink.close()

    try:
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", onward_port)
        sinks.append(onward_writer)
        await asyncio.gather(carry(reader, onward_writer), carry(onward_reader, writer))
    except asyncio.CancelledError:  # the terminator ends
        pass
    finally:
        for sink in sinks:
            sink.transport.abort()


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that this test may hurt."""
    with RedisServer.start() as started:
        yield started


@pytest.fixture
async def watch() -> AsyncIterator[Callable[..., Watched]]:
    """Open watched pools that are closed when the test ends."""
    every: list[Watched] = []

    def open_pools(endpoint: Endpoint, **knobs: Any) -> Watched:
        every.append(Watched(endpoint, **knobs))
        return every[-1]

    yield open_pools
    for each in every:
        await each.pools.aclose()
