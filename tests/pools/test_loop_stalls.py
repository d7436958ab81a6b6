"""A loop that was away, computing or blocked, is not held against the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from perfkit.pools import Endpoint, OptimizedRedis
from perfkit.pools.server import RedisServer
from tests.pools.scripted_server import Answer, Command, Visit, bulk, scripted

Opened = Callable[..., OptimizedRedis]
TRANSPORTS = pytest.mark.parametrize("transport", ["mux", "classic"])


@TRANSPORTS
async def test_replies_that_lay_unread_while_we_computed_are_not_slow(
    opened: Opened, server: RedisServer, transport: str
) -> None:
    """A service that computes for 60 ms while 20 replies wait once opened the breaker of a healthy server."""
    client = opened(
        Endpoint.from_url(server.url), transport=transport, slow_call_seconds=0.02, max_connections=20
    )
    await client.set("a", 1)
    for _ in range(3):
        asked = [asyncio.create_task(client.get("a")) for _ in range(20)]
        for _turn in range(4):  # until all is sent, whatever it takes to have a connection
            await asyncio.sleep(0)
        time.sleep(0.06)  # noqa: ASYNC251  # the blocked loop is what is tested

        assert await asyncio.gather(*asked) == [b"1"] * 20

    metrics = client.metrics
    assert (metrics["circuit_state"], metrics["circuit_opened"]) == ("closed", 0)


@TRANSPORTS
async def test_a_server_that_is_slow_is_called_so(opened: Opened, transport: str) -> None:
    """The rule stands where the loop was there all the time."""
    loop = asyncio.get_running_loop()

    def answer(_command: Command, visit: Visit) -> Answer:
        loop.call_later(0.1, visit.say, bulk("v"))
        return None

    async with scripted(answer) as server:
        client = opened(
            server.endpoint,
            transport=transport,
            slow_call_seconds=0.05,
            breaker_min_calls=10,
            max_connections=20,
            breaker_open_seconds=60,
        )
        for _ in range(5):  # our machine may be busy as well; once it is not
            await asyncio.gather(*(client.get("a") for _ in range(20)), return_exceptions=True)

    assert client.metrics["circuit_opened"] == 1


async def test_calls_are_not_overdue_because_we_were_away(opened: Opened, server: RedisServer) -> None:
    """Longer than a command may take; the replies had come long before."""
    client = opened(Endpoint.from_url(server.url), command_timeout_seconds=0.05, retries=0)
    await client.set("a", 1)
    asked = [asyncio.create_task(client.get("a")) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    time.sleep(0.2)  # noqa: ASYNC251  # as above

    assert await asyncio.gather(*asked) == [b"1"] * 20
    assert client.metrics["timeouts"] == 0
