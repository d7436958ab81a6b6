"""Commands on a connection lent to them alone: bounded in time, and nothing of them stays behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from perfkit.pools import Endpoint, OptimizedRedis
from perfkit.pools.failures import RedisTimeout
from perfkit.pools.server import RedisServer
from tests.pools.scripted_server import OK, Answer, Command, Visit, bulk, scripted

Opened = Callable[..., OptimizedRedis]
TRANSPORTS = pytest.mark.parametrize("transport", ["mux", "classic"])


@TRANSPORTS
@pytest.mark.parametrize("change", [("SELECT", 3), ("CLIENT", "NO-TOUCH", "ON"), ("MULTI",)])
async def test_nobody_inherits_a_connection_that_was_changed(
    opened: Opened, server: RedisServer, transport: str, change: tuple[str | int, ...]
) -> None:
    """The next to borrow it would read another database, or find itself within a transaction."""
    client = opened(Endpoint.from_url(server.tcp_url), transport=transport)
    await client.set("here", "v")
    await client.execute_command(*change)

    async with client.pipeline() as pipe:
        await pipe.watch("here")
        assert await pipe.get("here") == b"v"
    async with client.client() as own:
        assert await own.get("here") == b"v"
    assert await client.get("here") == b"v"


@TRANSPORTS
async def test_what_a_held_client_changes_holds_until_it_is_closed(
    opened: Opened, server: RedisServer, transport: str
) -> None:
    """Its commands see the other database; the next client on the pool does not."""
    client = opened(Endpoint.from_url(server.tcp_url), transport=transport, max_connections=1)
    await client.set("here", "v")
    async with client.client() as own:
        await own.select(3)
        assert await own.get("here") is None
        assert await own.get("here") is None

    async with client.client() as own:
        assert await own.get("here") == b"v"


@TRANSPORTS
@pytest.mark.parametrize("how", ["command", "pipeline", "held"])
async def test_a_server_that_forgets_to_end_the_waiting_is_given_up(
    opened: Opened, transport: str, how: str
) -> None:
    """BLPOP has its own time and the command's beside; without, a stalled server held its caller for ever."""
    async with scripted(lambda command, _visit: None if command[0] == b"BLPOP" else OK) as server:
        client = opened(server.endpoint, transport=transport, command_timeout_seconds=0.05, retries=0)

        async def held() -> None:
            async with client.client() as own:
                await own.blpop(["q"], timeout=0.1)

        asked = {
            "command": lambda: client.blpop(["q"], timeout=0.1),
            "pipeline": lambda: client.pipeline(transaction=False).blpop(["q"], timeout=0.1).execute(),
            "held": held,
        }
        async with asyncio.timeout(10):
            with pytest.raises(RedisTimeout, match=r"longer than 0\.25 s"):
                await asked[how]()

        metrics = await client.get_metrics()
        assert metrics["own_connections"] == 0


@TRANSPORTS
async def test_waiting_longer_than_a_command_may_take_is_no_failure(
    opened: Opened, server: RedisServer, transport: str
) -> None:
    """Waiting in vain is an answer, in a pipeline as well."""
    client = opened(Endpoint.from_url(server.url), transport=transport, command_timeout_seconds=0.1)
    await client.delete("q")

    assert await client.blpop(["q"], timeout=0.3) is None
    assert await client.pipeline(transaction=False).blpop(["q"], timeout=0.3).execute() == [None]

    metrics = await client.get_metrics()
    assert (metrics["ok"], metrics["failed"], metrics["circuit_state"]) == (3, 0, "closed")


@TRANSPORTS
async def test_a_held_client_gives_its_connection_back_whenever_its_caller_is_cancelled(
    opened: Opened, server: RedisServer, transport: str
) -> None:
    """Also in the turn in which the block is left, where redis-py's own client keeps it for good."""
    client = opened(Endpoint.from_url(server.url), transport=transport, max_connections=1)

    async def hold() -> None:
        async with client.client() as own:
            await own.get("a")

    for turns in range(40):
        task = asyncio.create_task(hold())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert client.metrics["own_connections"] == 0, f"after {turns} turns of the loop"


async def test_our_own_stall_is_not_the_servers_delay(opened: Opened) -> None:
    """The loop was away when time was up; the reply had come meanwhile and lay unread."""

    def answer(_command: Command, _visit: Visit) -> Answer:
        time.sleep(0.2)  # stands for whatever blocks the loop; server and client share it here
        return bulk("v")

    async with scripted(answer) as server:
        client = opened(server.endpoint, transport="classic", command_timeout_seconds=0.1, retries=0)

        assert await client.get("a") == b"v"


async def test_a_server_that_stalls_beside_our_own_stall_is_still_given_up(opened: Opened) -> None:
    """The time granted is that of our absence, not for ever."""

    def answer(_command: Command, _visit: Visit) -> Answer:
        time.sleep(0.2)  # as above, and then no answer
        return None

    async with scripted(answer) as server, asyncio.timeout(10):
        client = opened(server.endpoint, transport="classic", command_timeout_seconds=0.1, retries=0)
        with pytest.raises(RedisTimeout):
            await client.get("a")


async def test_a_pool_whose_own_connections_are_lent_out_is_ready_all_the_same(
    opened: Opened, server: RedisServer
) -> None:
    """A readiness probe that says no for want of a connection takes a healthy instance out of service."""
    client = opened(Endpoint.from_url(server.url), max_connections=1)
    async with client.pubsub() as listener:
        await listener.subscribe("news")

        assert await client.ready()


async def test_a_probe_is_let_through_by_a_full_limit_and_an_open_breaker_and_tells_neither(
    opened: Opened, server: RedisServer
) -> None:
    """It says whether Redis answers, not whether the pool has room."""
    client = opened(Endpoint.from_url(server.url), limit="fixed", inflight_initial=1, inflight_min=1)
    await client.ping()
    client._breaker.force_open()
    assert client._limiter.take()

    assert await client.ready()

    client._limiter.release()
    metrics = await client.get_metrics()
    assert (metrics["in_flight"], metrics["circuit_state"], metrics["calls"]) == (0, "forced_open", 1)
