"""Each toxic does what it says to a real server, in both forms of the proxy; bad ones are refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import pytest
import redis
from redis.asyncio import Redis

from perfkit.errors import SettingsError
from perfkit.pools.fault_proxy import FaultProxy
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


@pytest.mark.parametrize(
    "fault",
    [
        {"rtt_ms": 40.0},
        {"toxics": Toxics(requests=StreamToxics(latency_ms=40))},
        {"toxics": Toxics(replies=StreamToxics(latency_ms=40))},
        {"toxics": Toxics.both(latency_ms=15), "rtt_ms": 10.0},
    ],
)
async def test_latency_is_added_to_the_round_trip(
    proxy: Proxy, fault: dict[str, float], connected: Connected
) -> None:
    """Never less than was asked for."""
    async with connected(proxy) as line:
        line.say(PING)
        await line.hear(7)
        proxy.set(**fault)  # type: ignore[arg-type]
        began = time.monotonic()
        line.say(PING)
        await line.hear(7)

        assert time.monotonic() - began >= 0.04


async def test_replies_are_late_while_requests_are_not(
    proxy: Proxy, direct: redis.Redis, connected: Connected, until: Until
) -> None:
    """The server acts at once; once the latency is gone, so is what was waiting for it."""
    proxy.set(Toxics(replies=StreamToxics(latency_ms=FOREVER_MS)))
    replies_before = proxy.reply_bytes
    async with connected(proxy) as line:
        line.say(INCR)
        assert await until(lambda: direct.get("n") == b"1")
        assert proxy.reply_bytes == replies_before
        proxy.clear()

        assert await line.hear(4) == b":1\r\n"


async def test_jitter_keeps_the_order(proxy: Proxy, connected: Connected) -> None:
    """Every reply answers its own request, however late each one is."""
    proxy.set(Toxics.both(latency_ms=0.2, jitter_ms=4))
    expected = b"".join(b"$3\r\n%03d\r\n" % number for number in range(300))
    async with connected(proxy) as line:
        for number in range(300):
            line.say(b"*2\r\n$4\r\nECHO\r\n$3\r\n%03d\r\n" % number)
            await asyncio.sleep(0)

        assert await line.hear(len(expected)) == expected


async def test_a_change_of_toxics_keeps_the_order(proxy: Proxy, connected: Connected) -> None:
    """What is sent on the faster line does not overtake what is still on the slower one."""
    expected = b"".join(b"$3\r\n%03d\r\n" % number for number in range(200))
    async with connected(proxy) as line:
        for number in range(200):
            proxy.set(
                (
                    Toxics.both(latency_ms=30),
                    Toxics(),
                    Toxics.both(slicer_bytes=5),
                    Toxics.both(blackhole=True),
                )[number % 4]
            )
            line.say(b"*2\r\n$4\r\nECHO\r\n$3\r\n%03d\r\n" % number)
            await asyncio.sleep(0)
        proxy.clear()

        assert await line.hear(len(expected)) == expected


async def test_bandwidth_holds_the_sender_back(
    proxy: Proxy, direct: redis.Redis, connected: Connected
) -> None:
    """Bytes take their time; the other direction does not."""
    direct.set("k", b"x" * 50_000)
    proxy.set(Toxics(replies=StreamToxics(bandwidth_bytes_per_s=1_000_000)))
    async with connected(proxy) as line:
        began = time.monotonic()
        line.say(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
        await line.hear(50_010)

        assert time.monotonic() - began >= 0.049


async def test_down_means_refused_and_cut_off(proxy: Proxy, connected: Connected) -> None:
    """Open connections end, new ones are refused, and afterwards the same address answers again."""
    url = proxy.url
    async with connected(proxy) as line:
        line.say(PING)
        await line.hear(7)
        proxy.set(Toxics(down=True))

        assert await line.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        async with connected(proxy):
            pass
    assert proxy.connections == 0
    proxy.clear()
    async with Redis.from_url(url) as client:
        assert await client.ping()


async def test_a_blackhole_for_replies_hides_what_was_done(
    proxy: Proxy, direct: redis.Redis, connected: Connected, until: Until
) -> None:
    """A partition in one direction: the write happens, its answer comes when the line heals."""
    proxy.set(Toxics(replies=StreamToxics(blackhole=True)))
    replies_before = proxy.reply_bytes
    async with connected(proxy) as line:
        line.say(INCR)
        assert await until(lambda: direct.get("n") == b"1")
        assert proxy.reply_bytes == replies_before
        proxy.clear()

        assert await line.hear(4) == b":1\r\n"


async def test_a_blackhole_for_requests_keeps_them(
    proxy: Proxy, direct: redis.Redis, connected: Connected
) -> None:
    """Nothing reaches the server until the line heals, and then each byte once."""
    async with connected(proxy) as line:
        proxy.set(Toxics(requests=StreamToxics(blackhole=True)))
        line.say(INCR)
        for _ in range(50):  # far longer than it takes to get there
            direct.ping()
            await asyncio.sleep(0)
        assert direct.get("n") is None
        proxy.clear()

        assert await line.hear(4) == b":1\r\n"
        assert direct.get("n") == b"1"


async def test_a_timeout_says_nothing_and_then_closes(
    proxy: Proxy, direct: redis.Redis, connected: Connected
) -> None:
    """On the replies: the request was carried out."""
    async with connected(proxy) as line:
        proxy.set(Toxics(replies=StreamToxics(timeout_ms=30)))
        began = time.monotonic()
        line.say(INCR)

        assert await line.rest() == b""
        assert time.monotonic() - began >= 0.02
        assert direct.get("n") == b"1"


@pytest.mark.parametrize(("stream", "done"), [("requests", None), ("replies", b"1")])
async def test_a_reset_takes_the_place_of_the_next_bytes(
    proxy: Proxy, direct: redis.Redis, stream: str, done: bytes | None, connected: Connected
) -> None:
    """On the requests the command never ran; on the replies it did. The caller cannot tell."""
    async with connected(proxy) as line:
        line.say(PING)
        await line.hear(7)
        proxy.set(Toxics(**{stream: StreamToxics(reset_peer_ms=0)}))  # type: ignore[arg-type]
        line.say(INCR)

        with pytest.raises(ConnectionResetError):
            await line.rest()
        assert direct.get("n") == done


async def test_a_reset_that_is_called_off_lets_the_bytes_pass(
    proxy: Proxy, connected: Connected, until: Until
) -> None:
    """They were held, not lost."""
    proxy.set(Toxics(requests=StreamToxics(reset_peer_ms=FOREVER_MS)))
    async with connected(proxy) as line:
        line.say(PING)
        assert await until(lambda: proxy.connections == 1)
        proxy.clear()

        assert await line.hear(7) == b"+PONG\r\n"


async def test_replies_come_in_slices(proxy: Proxy, connected: Connected) -> None:
    """They are whole in the end, and were not before."""
    proxy.set(Toxics(replies=StreamToxics(slicer_bytes=2, slicer_delay_ms=5)))
    pieces = []
    async with connected(proxy) as line:
        line.say(PING)
        while sum(map(len, pieces)) < 7:
            pieces.append(await line.hear_some())

    assert b"".join(pieces) == b"+PONG\r\n"
    assert len(pieces) > 1


async def test_a_client_lives_on_single_bytes(proxy: Proxy) -> None:
    """No byte is lost, doubled or moved when each travels alone, in either direction."""
    proxy.set(Toxics.both(slicer_bytes=1))
    async with Redis.from_url(proxy.url) as client:
        await client.set("k", b"abc" * 50)

        assert await client.get("k") == b"abc" * 50


async def test_replies_are_cut_at_every_offset(
    proxy: Proxy, direct: redis.Redis, connected: Connected
) -> None:
    """Exactly so many bytes arrive, then the end; counted anew from when it is set."""
    direct.set("k", "value")
    whole = b"$5\r\nvalue\r\n"
    for offset in range(len(whole)):
        proxy.clear()
        async with connected(proxy) as line:
            line.say(PING)
            await line.hear(7)
            proxy.set(Toxics(replies=StreamToxics(limit_data_bytes=offset)))
            line.say(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")

            assert await line.rest() == whole[:offset]


async def test_requests_are_cut_too(
    proxy: Proxy, direct: redis.Redis, connected: Connected, until: Until
) -> None:
    """A command that lacks its last byte is none."""
    async with connected(proxy) as line:
        proxy.set(Toxics(requests=StreamToxics(limit_data_bytes=2 * len(INCR) - 1)))
        line.say(INCR + INCR)

        assert await line.rest() in (b"", b":1\r\n")
        assert await until(lambda: direct.get("n") == b"1")


async def test_the_end_of_a_stream_can_be_slow(proxy: Proxy, connected: Connected) -> None:
    """The last bytes come at once, the end later."""
    proxy.set(Toxics(replies=StreamToxics(slow_close_ms=40)))
    async with connected(proxy) as line:
        began = time.monotonic()
        line.say(b"*1\r\n$4\r\nQUIT\r\n")

        assert await line.rest() == b"+OK\r\n"
        assert time.monotonic() - began >= 0.04


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latency_ms", -1),
        ("latency_ms", "5"),
        ("latency_ms", float("nan")),
        ("latency_ms", None),
        ("jitter_ms", float("inf")),
        ("slicer_delay_ms", True),
        ("slow_close_ms", -0.1),
        ("reset_peer_ms", -1),
        ("timeout_ms", 0),
        ("bandwidth_bytes_per_s", 0),
        ("slicer_bytes", 0),
        ("slicer_bytes", 1.5),
        ("limit_data_bytes", -1),
        ("limit_data_bytes", True),
        ("blackhole", 1),
    ],
)
def test_a_toxic_that_no_line_can_have_is_refused(name: str, value: object) -> None:
    """The message has the name, the value and what may stand there."""
    with pytest.raises(SettingsError, match=f"{name}={value!r} is not .*Give ") as refusal:
        Toxics.both(**{name: value})

    assert (refusal.value.path, repr(refusal.value.value)) == (name, repr(value))


def test_a_line_that_is_none_is_refused(server: RedisServer) -> None:
    """Before anything is started."""
    with pytest.raises(SettingsError, match="down='no'"):
        Toxics(down="no")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="replies="):
        Toxics(replies={"latency_ms": 1})  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="rtt_ms=-1"):
        FaultProxyProcess.start(server.url, rtt_ms=-1)
    with pytest.raises(SettingsError, match="not an address of Redis"):
        FaultProxyProcess.start("http://127.0.0.1")


def test_toxics_are_values() -> None:
    """Equal when they say the same, and the same again after the pipe."""
    toxics = Toxics(down=True, requests=StreamToxics(latency_ms=2, slicer_bytes=3))

    assert Toxics.from_json(toxics.to_json()) == toxics
    assert len({toxics, Toxics.from_json(toxics.to_json())}) == 1
