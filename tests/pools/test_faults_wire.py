"""A line that cuts, resets, swallows and garbles: a reply is its caller's own, or there is an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import RedisError

from perfkit.errors import Unavailable
from perfkit.pools import Endpoint, OptimizedRedis
from perfkit.pools.failures import RedisLost, RedisTimeout
from perfkit.pools.fault_proxy import FaultProxy
from perfkit.pools.fault_proxy.toxics import StreamToxics, Toxics
from perfkit.pools.server import RedisServer
from tests.pools.scripted_server import HELLO, Answer, Command, Visit, bulk, scripted
from tests.pools.waiting import until

Opened = Callable[..., OptimizedRedis]
TRANSPORTS = pytest.mark.parametrize("transport", ["mux", "classic"])
REPLIES: dict[str, tuple[Callable[[OptimizedRedis], Any], bytes, Any]] = {
    "bulk": (lambda client: client.get("k"), b"$11\r\nhello\r\n$1\r\n\r\n", b"hello\r\n$1\r\n"),
    "none": (lambda client: client.get("k"), b"$-1\r\n", None),
    "null of RESP3": (lambda client: client.get("k"), b"_\r\n", None),
    "number": (lambda client: client.incr("k"), b":1234567\r\n", 1_234_567),
    "status": (lambda client: client.set("k", 1), b"+OK\r\n", True),
    "array": (
        lambda client: client.mget("a", "b", "c"),
        b"*3\r\n$1\r\n1\r\n_\r\n$2\r\n\r\n\r\n",
        [b"1", None, b"\r\n"],
    ),
    "map": (
        lambda client: client.hgetall("k"),
        b"%2\r\n+a\r\n:1\r\n$1\r\nb\r\n,2.5\r\n",
        {b"a": 1, b"b": 2.5},
    ),
    "many": (
        lambda client: client.execute_many([("GET", "a"), ("INCR", "b"), ("GET", "c")]),
        b"$1\r\n1\r\n:22\r\n$3\r\n333\r\n",
        [b"1", 22, b"333"],
    ),
}


@TRANSPORTS
@pytest.mark.parametrize("name", REPLIES)
async def test_a_reply_cut_at_any_byte_is_an_error_and_never_a_shorter_answer(
    opened: Opened, transport: str, name: str
) -> None:
    """The connection ends after each number of bytes in turn; only all of them are an answer."""
    ask, reply, right = REPLIES[name]
    send = b""

    def answer(_command: Command, visit: Visit) -> Answer:
        if len(visit.heard) == 2:  # the greeting and this; what belongs to it follows
            visit.say(send)
            if len(send) < len(reply):
                visit.end()
        return None

    async with scripted(answer) as server:
        for cut in range(len(reply) + 1):
            send = reply[:cut]
            client = opened(server.endpoint, transport=transport, retries=0)
            if cut == len(reply):
                assert await ask(client) == right
            else:
                with pytest.raises(RedisLost):
                    await ask(client)
            assert client.metrics["in_flight"] == client.metrics["own_connections"] == 0


@TRANSPORTS
async def test_a_greeting_cut_at_any_byte_is_an_error(opened: Opened, transport: str) -> None:
    """Nothing was sent, so the command is whole on the next connection."""
    said = b""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1_000)
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        endpoint = Endpoint.from_url(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
        for cut in range(len(HELLO)):
            said = HELLO[:cut]
            client = opened(endpoint, transport=transport, retries=0)
            with pytest.raises(RedisLost) as lost:
                await client.incr("n")
            assert not lost.value.sent
            assert client.metrics["connections"] == 0


@TRANSPORTS
@pytest.mark.parametrize("piece", [1, 3, 7])
async def test_replies_in_pieces_are_the_same_replies(
    opened: Opened, server: RedisServer, transport: str, piece: int
) -> None:
    """However the network slices them."""
    toxics = Toxics(replies=StreamToxics(slicer_bytes=piece), requests=StreamToxics(slicer_bytes=piece))
    async with FaultProxy.start(server.tcp_url, toxics=toxics) as proxy:
        client = opened(Endpoint.from_url(proxy.url), transport=transport, command_timeout_seconds=10)
        await client.batch_set({f"k{n}": f"{n}\r\n$-1\r\n" for n in range(50)})

        answers = await asyncio.gather(*(client.get(f"k{n}") for n in range(50)), client.hgetall("absent"))

        assert answers == [*(f"{n}\r\n$-1\r\n".encode() for n in range(50)), {}]


@TRANSPORTS
async def test_cuts_resets_and_stalls_of_the_line_never_mix_replies_up(
    opened: Opened, server: RedisServer, transport: str
) -> None:
    """Under load, with replies cut at 200 different bytes, RST from both sides and a swallowing line."""
    async with FaultProxy.start(server.tcp_url) as proxy:
        client = opened(
            Endpoint.from_url(proxy.url),
            transport=transport,
            max_connections=16,
            retries=0,
            command_timeout_seconds=0.1,
            connect_timeout_seconds=0.1,
            breaker_open_seconds=0.01,
        )
        await client.batch_set({f"k{n}": f"value of k{n}" for n in range(16)})
        right = wrong = failed = 0
        over = False

        async def work(n: int) -> None:
            nonlocal right, wrong, failed
            while not over:
                try:
                    value = await client.get(f"k{n}")
                except (Unavailable, RedisError):
                    failed += 1
                    await asyncio.sleep(0.001)
                else:
                    right += value == f"value of k{n}".encode()
                    wrong += value != f"value of k{n}".encode()

        workers = [asyncio.create_task(work(n)) for n in range(16)]
        for fault in range(60):
            seen = right
            await until(lambda seen=seen: right > seen + 20)
            if fault % 3 == 0:
                proxy.set(Toxics(replies=StreamToxics(limit_data_bytes=fault * 5)))
            elif fault % 3 == 1:
                proxy.reset_all()
            else:
                proxy.set(Toxics(replies=StreamToxics(reset_peer_ms=0)))
            lost = failed
            await until(lambda lost=lost: failed > lost)
            proxy.clear()
        for half in ("requests", "replies"):  # the line swallows what goes one way, and closes nothing
            proxy.set(Toxics(**{half: StreamToxics(blackhole=True)}))
            await until(lambda: client.metrics["circuit_state"] == "open")
            proxy.clear()
            seen = right
            await until(lambda seen=seen: right > seen + 20)
        over = True
        await asyncio.gather(*workers)

        metrics = client.metrics
        assert (wrong, metrics["in_flight"], metrics["own_connections"]) == (0, 0, 0)
        assert metrics["calls"] == sum(metrics[end] for end in ("ok", "failed", "rejected", "cancelled"))


@pytest.mark.parametrize("half", ["requests", "replies"])
async def test_a_line_that_swallows_for_good_is_replaced(
    opened: Opened, server: RedisServer, half: str
) -> None:
    """The kernel would wait for a quarter of an hour; after twice the deadline a new connection is made."""
    async with FaultProxy.start(server.tcp_url) as proxy:
        client = opened(
            Endpoint.from_url(proxy.url), retries=0, command_timeout_seconds=0.1, connect_timeout_seconds=0.1
        )
        assert await client.set("a", 1)
        proxy.set(Toxics(**{half: StreamToxics(blackhole=True)}))
        with pytest.raises(RedisTimeout) as late:
            await client.get("a")
        assert late.value.sent
        await until(lambda: client.metrics["connections"] == 0)
        proxy.clear()

        assert await client.get("a") == b"1"
        assert client.metrics["connects"] == 2


@TRANSPORTS
async def test_a_line_that_is_down_refuses_and_comes_back(
    opened: Opened, server: RedisServer, transport: str
) -> None:
    """Connections refused, as with no process behind the port."""
    async with FaultProxy.start(server.tcp_url) as proxy:
        client = opened(Endpoint.from_url(proxy.url), transport=transport, breaker_open_seconds=0.02)
        assert await client.set("a", 1)
        proxy.set(Toxics(down=True))
        for _ in range(15):
            with pytest.raises(Unavailable):
                await client.incr("n")
        assert client.metrics["circuit_state"] == "open"
        proxy.clear()

        async def back() -> bool:
            try:
                return await client.get("a") == b"1"
            except Unavailable:
                return False

        await until(back)


@TRANSPORTS
@pytest.mark.parametrize("garbage", [b"garbage\r\n", b"\x00\xff\r\n", b"*x\r\n", b"$-5\r\n", b"$x\r\n"])
async def test_what_is_no_protocol_ends_the_connection(
    opened: Opened, transport: str, garbage: bytes
) -> None:
    """Whoever waited on it hears so; the next has a connection that was never garbled."""

    def answer(command: Command, _visit: Visit) -> Answer:
        return garbage if command[-1] == b"bad" else bulk(command[-1])

    async with scripted(answer) as server:
        client = opened(server.endpoint, transport=transport, retries=0)
        assert await client.get("good") == b"good"
        with pytest.raises(RedisLost):
            await client.get("bad")
        assert await client.get("good") == b"good"
        assert client.metrics["in_flight"] == 0


@TRANSPORTS
async def test_a_reply_too_many_is_nobodys(opened: Opened, transport: str) -> None:
    """Sent while nobody waits, it ends the connection, and never answers the next command."""

    def answer(command: Command, _visit: Visit) -> Answer:
        return bulk(command[-1]) + (bulk("unasked") if command[-1] == b"twice" else b"")

    async with scripted(answer) as server:
        client = opened(server.endpoint, transport=transport, retries=0)
        for name in ("once", "twice", "after", "later"):
            assert await client.get(name) == name.encode()
