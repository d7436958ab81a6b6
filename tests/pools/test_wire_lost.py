"""A shared connection that ends at an awkward moment: nobody waits in vain, nobody is told a lie."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis
from perfkit.pools.failures import RedisLost
from perfkit.pools.gate import Gate
from perfkit.pools.settings import PoolSettings
from perfkit.pools.wire import MuxConnection, pack
from tests.pools.scripted_server import HELLO, bulk, scripted
from tests.pools.waiting import until

Opened = Callable[..., OptimizedRedis]


async def test_a_connection_that_ends_right_after_its_greeting_fails_its_first_caller_at_once(
    opened: Opened,
) -> None:
    """The caller gets the connection and its end in one turn of the loop; it once waited for the deadline."""

    async def greet_and_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1_000)
        writer.write(HELLO)
        writer.close()

    async with await asyncio.start_server(greet_and_end, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = opened(
            Endpoint.from_url(f"redis://127.0.0.1:{port}"), retries=0, command_timeout_seconds=30.0
        )
        async with asyncio.timeout(10):
            with pytest.raises(RedisLost) as lost:
                await client.get("a")

    metrics = await client.get_metrics()
    assert not lost.value.sent
    assert (metrics["failed"], metrics["in_flight"], metrics["connections"]) == (1, 0, 0)


async def test_what_is_asked_of_a_connection_that_is_closing_is_not_sent() -> None:
    """It fails as not sent, so that whoever asked may repeat it, whatever it is."""
    gate = Gate("default", PoolSettings(), probe=null_probe)
    loop = asyncio.get_running_loop()
    async with scripted(lambda _command, _visit: bulk("v")) as server:
        _, connection = await loop.create_connection(
            lambda: MuxConnection(
                "default", gate, loop, on_sending=lambda: None, on_lost=lambda _connection: None
            ),
            "127.0.0.1",
            server.port,
        )
        await gate.enter()
        connection.abort("the test says so")
        while_closing = connection.call(pack(("INCR", "n")), 0)
        async with asyncio.timeout(10):
            with pytest.raises(RedisLost) as first:
                await while_closing
            await gate.enter()
            with pytest.raises(RedisLost) as second:
                await connection.call(pack(("INCR", "n")), 0)

        assert not first.value.sent
        assert not second.value.sent
        assert gate.limiter.in_flight == connection.pending == 0
        assert not server.heard


async def test_what_redis_says_unasked_is_nobody_s_reply(opened: Opened) -> None:
    """A push between two replies is passed over, and the connection lives on."""
    async with scripted(lambda _command, _visit: bulk("v") + b">1\r\n+invalidate\r\n") as server:
        client = opened(server.endpoint, retries=0)

        assert [await client.get("a"), await client.get("b")] == [b"v", b"v"]
        assert client.metrics["in_flight"] == 0
        assert len(server.visits) == 1


@pytest.mark.parametrize("unasked", [b"$1\r\nv\r\n", b"garbage\r\n", b"-ERR unasked\r\n"])
async def test_bytes_that_nobody_asked_for_end_the_connection(opened: Opened, unasked: bytes) -> None:
    """After a reply to nothing, or what is none, it is not known any more whose reply is whose."""
    async with scripted(lambda _command, _visit: bulk("v")) as server:
        client = opened(server.endpoint, retries=0)
        assert await client.get("a") == b"v"

        server.visits[0].say(unasked)
        await until(lambda: server.visits[0].ended)

        assert await client.get("a") == b"v"
        assert len(server.visits) == 2
