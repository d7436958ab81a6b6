"""The fault proxy passes bytes, ends and back-pressure on, in both its forms, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
import redis
from redis.asyncio import Redis

from perfkit.pools.fault_proxy import FaultProxy
from perfkit.pools.fault_proxy import stream as fault_stream
from perfkit.pools.fault_proxy.process import FaultProxyProcess
from perfkit.pools.fault_proxy.toxics import StreamToxics, Toxics
from perfkit.pools.server import RedisServer

Proxy: TypeAlias = FaultProxy | FaultProxyProcess
Started: TypeAlias = Callable[[str], AbstractAsyncContextManager[Proxy]]
Connected: TypeAlias = Callable[[Proxy], AbstractAsyncContextManager[Any]]
Until: TypeAlias = Callable[[Callable[[], bool]], Awaitable[bool]]

INCR = b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"
PING = b"*1\r\n$4\r\nPING\r\n"
FOREVER_MS = 600_000.0
PATIENCE_S = 10.0


async def test_all_bytes_pass_and_are_counted(proxy: Proxy, until: Until) -> None:
    """Both ways, also more than any buffer holds; and the count of connections goes up and down."""
    value = bytes(range(256)) * 20_000
    requests_before, replies_before = proxy.request_bytes, proxy.reply_bytes
    async with Redis.from_url(proxy.url) as client:
        await client.set("k", value)
        assert await client.get("k") == value
        assert proxy.connections == 1

    assert await until(lambda: proxy.connections == 0)
    assert len(value) < proxy.request_bytes - requests_before < len(value) + 10_000
    assert len(value) < proxy.reply_bytes - replies_before < len(value) + 10_000


async def test_a_unix_socket_can_be_the_upstream(server: RedisServer, started: Started) -> None:
    """The address that comes out is TCP."""
    async with started(server.url) as proxy, Redis.from_url(proxy.url) as client:
        assert await client.ping()


async def test_a_request_arrives_though_its_sender_has_gone(
    proxy: Proxy, direct: redis.Redis, connected: Connected, until: Until
) -> None:
    """What was on its way still is: the end travels behind it, and then nothing is left open."""
    proxy.set(Toxics(requests=StreamToxics(latency_ms=20)))
    async with connected(proxy) as line:
        line.say(INCR)

    assert await until(lambda: direct.get("n") == b"1")
    assert await until(lambda: proxy.connections == 0)


async def test_a_client_that_vanishes_in_front_of_its_reply_is_missed(
    proxy: Proxy, direct: redis.Redis, connected: Connected, until: Until
) -> None:
    """The server's side ends as well, late or not."""
    proxy.set(Toxics(replies=StreamToxics(latency_ms=10)))
    direct.set("k", b"x" * 8_000_000)
    async with connected(proxy) as line:
        line.say(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
        await line.hear(1)

    assert await until(lambda: proxy.connections == 0)
    assert await until(lambda: len(direct.client_list()) == 1)


async def test_all_connections_are_reset_at_once(proxy: Proxy, connected: Connected) -> None:
    """Each client gets ECONNRESET; the next one is welcome."""
    async with connected(proxy) as first, connected(proxy) as second:
        for line in (first, second):
            line.say(PING)
            await line.hear(7)
        proxy.reset_all()

        for line in (first, second):
            with pytest.raises(ConnectionResetError):
                await line.rest()
    async with Redis.from_url(proxy.url) as client:
        assert await client.ping()


async def test_an_upstream_that_is_away_resets_its_clients(connected: Connected, started: Started) -> None:
    """The nearest thing to a refusal; the proxy itself goes on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with started(f"redis://127.0.0.1:{unused.getsockname()[1]}/0") as proxy:
            for _ in range(2):
                with pytest.raises(ConnectionResetError):
                    async with connected(proxy) as line:
                        await line.rest()
            assert proxy.connections == 0


@pytest.mark.parametrize("toxics", [Toxics(), Toxics.both(latency_ms=2)])
async def test_a_half_closed_connection_still_answers(
    toxics: Toxics, connected: Connected, until: Until, started: Started
) -> None:
    """Its writer has said all; the other direction is open until it has, too."""

    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.read()
        writer.write(said[::-1])
        writer.close()
        await writer.wait_closed()

    async with (
        await asyncio.start_server(answer_at_the_end, "127.0.0.1", 0) as upstream,
        started(url_of(upstream)) as proxy,
    ):
        proxy.set(toxics)
        async with connected(proxy) as line:
            line.say(b"abc")
            line.say_no_more()

            assert await line.rest() == b"cba"
        assert await until(lambda: proxy.connections == 0)


@pytest.mark.parametrize("toxics", [Toxics(), Toxics.both(latency_ms=1)])
async def test_a_client_that_vanishes_after_its_last_word_is_missed(
    toxics: Toxics, connected: Connected, until: Until, started: Started
) -> None:
    """Nothing is read from it any more, so only what is sent to it can tell."""
    failed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        with contextlib.suppress(OSError):
            while True:
                writer.write(b"x" * 1_000)
                await writer.drain()
                await asyncio.sleep(0)
        failed.set()

    async with (
        await asyncio.start_server(talk, "127.0.0.1", 0) as upstream,
        started(url_of(upstream)) as proxy,
    ):
        proxy.set(toxics)
        async with connected(proxy) as line:
            line.say_no_more()
            await line.hear(1)

        assert await until(lambda: proxy.connections == 0)
        async with asyncio.timeout(PATIENCE_S):
            await failed.wait()


@pytest.mark.parametrize("latency_ms", [0, 1, FOREVER_MS])
async def test_a_client_that_does_not_read_stops_the_server(latency_ms: float, started: Started) -> None:
    """Nothing piles up in between without bounds, and everything arrives in the end."""
    async with Pouring() as pouring, started(url_of(pouring.server)) as proxy:
        proxy.set(Toxics(replies=StreamToxics(latency_ms=latency_ms)))
        with socket.create_connection(("127.0.0.1", urlsplit(proxy.url).port)) as client:
            assert 0 < await pouring.stopped_at() < Pouring.ALL_BYTES / 2
            proxy.clear()

            assert await Pouring.drunk_by(client) == Pouring.ALL_BYTES


async def test_what_is_due_and_not_taken_stops_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line with latency holds what is on its way, not what nobody fetches at its end."""
    monkeypatch.setattr(fault_stream, "_WINDOW_BYTES", 2 * Pouring.ALL_BYTES)
    async with Pouring() as pouring, FaultProxy.start(url_of(pouring.server), rtt_ms=1) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            assert 0 < await pouring.stopped_at() < Pouring.ALL_BYTES / 2
            assert await Pouring.drunk_by(client) == Pouring.ALL_BYTES


async def test_closing_leaves_nothing(server: RedisServer, connected: Connected, until: Until) -> None:
    """No connection, no task, no port; twice does no harm."""
    before = asyncio.all_tasks()
    proxy = FaultProxy.start(server.url, toxics=Toxics.both(latency_ms=FOREVER_MS))
    async with connected(proxy) as line:
        line.say(PING)
        assert await until(lambda: proxy.connections == 1)
        await proxy.aclose()
        await proxy.aclose()

        assert await line.rest() == b""
    assert proxy.connections == 0
    assert asyncio.all_tasks() == before
    proxy.clear()  # it does not come back
    with pytest.raises(ConnectionRefusedError):
        async with connected(proxy):
            pass


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_that_is_being_made_is_called_off(server: RedisServer, turns: int) -> None:
    """Whenever the end comes: before the first step to the upstream, amid them, or after the last."""
    before = asyncio.all_tasks()
    async with FaultProxy.start(server.tcp_url) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port)):
            proxy._accept()
            for _ in range(turns):
                await asyncio.sleep(0)
            assert proxy.connections == 1
            await proxy.aclose()

            assert proxy.connections == 0
            assert asyncio.all_tasks() == before


async def test_it_is_down_from_the_start_if_asked(server: RedisServer, connected: Connected) -> None:
    """A port is held but refuses."""
    async with FaultProxy.start(server.url, toxics=Toxics(down=True)) as proxy:
        with pytest.raises(ConnectionRefusedError):
            async with connected(proxy):
                pass
        proxy.clear()
        async with Redis.from_url(proxy.url) as client:
            assert await client.ping()


async def test_running_out_of_files_is_a_pause(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next connection waits until there is one, and is not refused."""
    accept, failures = socket.socket.accept, [OSError(errno.EMFILE, "too many open files")]

    def scarce(listener: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", scarce)
    async with FaultProxy.start(server.url) as proxy, Redis.from_url(proxy.url) as client:
        assert await client.ping()
    assert not failures


async def test_it_says_where_it_leads_but_no_password() -> None:
    """A proxy shows up in logs."""
    async with FaultProxy.start("redis://:hunter2@127.0.0.1:6379/0", rtt_ms=2) as proxy:
        assert repr(proxy) == (
            f"FaultProxy(127.0.0.1:{proxy.port} to 'redis://:***@127.0.0.1:6379/0', rtt_ms=2)"
        )
        assert proxy.url == f"redis://:hunter2@127.0.0.1:{proxy.port}/0"


def url_of(server: asyncio.Server) -> str:
    """The address of a server that is no Redis."""
    return f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


class Pouring:
    """A server that sends more than all buffers together hold, to each that comes."""

    PIECE = b"x" * 65_536
    ALL_BYTES = 1_600 * len(PIECE)

    async def __aenter__(self) -> Pouring:
        self.sent_bytes = 0
        self.server = await asyncio.start_server(self._pour, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def stopped_at(self) -> int:
        """What was sent once no more goes out, or everything."""
        before = 0
        while before != self.sent_bytes or not before:
            before = self.sent_bytes
            await asyncio.sleep(0.03)
        return before

    @staticmethod
    async def drunk_by(client: socket.socket) -> int:
        """What a client reads until the end."""
        client.setblocking(False)
        read = 0
        async with asyncio.timeout(PATIENCE_S):
            while chunk := await asyncio.get_running_loop().sock_recv(client, 1_000_000):
                read += len(chunk)
        return read

    async def _pour(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.sent_bytes < self.ALL_BYTES:
            writer.write(self.PIECE)
            await writer.drain()
            self.sent_bytes += len(self.PIECE)
        writer.close()
        await writer.wait_closed()
