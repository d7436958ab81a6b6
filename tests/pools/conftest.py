"""Shared fixtures: one real server a module, endpoints of both kinds, and the same server behind TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, PoolType, RedisPools
from perfkit.pools.server import RedisServer, find_server
from perfkit.pools.server_cluster import ClusterServer

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
