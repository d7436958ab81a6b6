"""Pipelines and WATCH when Redis refuses, is lost or stalls: nothing is hidden, nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, WatchError

from perfkit.errors import CircuitOpen, Unavailable
from perfkit.pools import OptimizedRedis
from perfkit.pools.failures import RedisLost, RedisTimeout
from tests.pools.scripted_server import OK, Answer, Command, Visit, bulk, scripted

Opened = Callable[..., OptimizedRedis]
LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"
NOAUTH = b"-NOAUTH Authentication required.\r\n"
QUEUED = b"+QUEUED\r\n"
TRANSPORTS = pytest.mark.parametrize("transport", ["mux", "classic"])


@TRANSPORTS
@pytest.mark.parametrize(("refusal", "raised"), [(LOADING, BusyLoadingError), (NOAUTH, AuthenticationError)])
@pytest.mark.parametrize("raise_on_error", [True, False])
async def test_that_redis_cannot_serve_is_never_a_value_among_the_answers(
    opened: Opened, transport: str, refusal: bytes, raised: type[RedisError], raise_on_error: bool
) -> None:
    """redis-py raises these from a pipeline in any case; a caller who takes them for values is misled."""
    async with scripted(lambda _command, _visit: refusal) as server:
        client = opened(server.endpoint, transport=transport, retries=0)
        with pytest.raises(raised):
            await client.pipeline(transaction=False).get("a").get("b").execute(raise_on_error)

        assert (await client.get_metrics())["failed"] == 2


@TRANSPORTS
async def test_a_transaction_tells_why_it_was_not_carried_out(opened: Opened, transport: str) -> None:
    """EXECABORT is only what follows from it."""

    def answer(command: Command, _visit: Visit) -> Answer:
        return {b"MULTI": OK, b"EXEC": b"-EXECABORT Transaction discarded.\r\n"}.get(command[0], LOADING)

    async with scripted(answer) as server:
        client = opened(server.endpoint, transport=transport, retries=0)
        with pytest.raises(BusyLoadingError):
            await client.pipeline().incr("a").execute()


@TRANSPORTS
async def test_a_watched_transaction_whose_reply_was_lost_says_that_it_may_have_happened(
    opened: Opened, transport: str
) -> None:
    """redis-py says WatchError, for which every caller goes again, and the INCR counts twice."""

    def answer(command: Command, visit: Visit) -> Answer:
        if command[0] == b"EXEC":
            visit.reset()
            return None
        return {b"WATCH": OK, b"MULTI": OK, b"GET": bulk(1)}.get(command[0], QUEUED)

    async with scripted(answer) as server:
        client = opened(server.endpoint, transport=transport, retries=3)

        with pytest.raises(RedisLost) as lost:
            await client.transaction(lambda pipe: pipe.multi() or pipe.incr("n"), "n")

        assert lost.value.sent
        assert sum(command[0] == b"EXEC" for command in server.heard) == 1
        assert (await client.get_metrics())["own_connections"] == 0


async def test_a_read_while_watching_that_was_lost_is_no_change_of_what_is_watched(opened: Opened) -> None:
    """The caller learns that Redis is lost; going again would not help."""

    def answer(command: Command, visit: Visit) -> Answer:
        if command[0] == b"GET":
            visit.reset()
            return None
        return OK

    async with scripted(answer) as server:
        client = opened(server.endpoint)
        pipe = client.pipeline()
        await pipe.watch("n")
        with pytest.raises(RedisLost):
            await pipe.get("n")

        metrics = await client.get_metrics()
        assert not pipe.watching
        assert (metrics["calls"], metrics["ok"], metrics["failed"]) == (2, 1, 1)
        assert metrics["own_connections"] == 0


async def test_a_changed_key_is_still_a_watch_error(opened: Opened) -> None:
    """What redis-py's callers rely upon."""

    def answer(command: Command, _visit: Visit) -> Answer:
        return {b"WATCH": OK, b"MULTI": OK, b"EXEC": b"_\r\n"}.get(command[0], QUEUED)

    async with scripted(answer) as server:
        client = opened(server.endpoint)
        pipe = client.pipeline()
        await pipe.watch("n")
        pipe.multi()
        pipe.incr("n")
        with pytest.raises(WatchError):
            await pipe.execute()


@pytest.mark.parametrize("how", ["execute", "reset"])
async def test_a_server_that_stalls_while_watched_holds_nobody(opened: Opened, how: str) -> None:
    """redis-py connects anew to send UNWATCH, and without a deadline: a stalled server held it for ever."""

    def answer(command: Command, _visit: Visit) -> Answer:
        return OK if command[0] == b"WATCH" else None

    async with scripted(answer) as server, asyncio.timeout(10):
        client = opened(server.endpoint, command_timeout_seconds=0.1)
        pipe = client.pipeline()
        await pipe.watch("n")
        if how == "execute":
            pipe.multi()
            pipe.incr("n")
            with pytest.raises(RedisTimeout):
                await pipe.execute()
        else:
            await pipe.reset()

        assert (await client.get_metrics())["own_connections"] == 0
        assert len(server.visits) == 1


async def test_an_open_breaker_refuses_to_watch(opened: Opened) -> None:
    """A server that is left alone is left alone by all."""
    async with scripted(lambda _command, _visit: OK) as server:
        client = opened(server.endpoint)
        client._breaker.force_open()
        with pytest.raises(CircuitOpen):
            await client.pipeline().watch("n")

        metrics = await client.get_metrics()
        assert not server.visits
        assert (metrics["calls"], metrics["rejected"]) == (1, 1)


@TRANSPORTS
@pytest.mark.parametrize("how", ["get", "pipeline", "transaction"])
@pytest.mark.parametrize("end", ["reset", "end", "garbage"])
async def test_whatever_ends_a_connection_is_both_kinds_of_error(
    opened: Opened, transport: str, how: str, end: str
) -> None:
    """perfkit's callers catch Unavailable, redis-py's RedisError."""

    def answer(_command: Command, visit: Visit) -> Answer:
        if end == "garbage":
            return b"garbage\r\n"
        visit.reset() if end == "reset" else visit.end()
        return None

    async with scripted(answer) as server:
        client = opened(server.endpoint, transport=transport, retries=0)
        asked = {
            "get": lambda: client.get("a"),
            "pipeline": lambda: client.pipeline(transaction=False).get("a").execute(),
            "transaction": lambda: client.pipeline().get("a").execute(),
        }
        with pytest.raises(Unavailable) as failure:
            await asked[how]()

        metrics = await client.get_metrics()
        assert isinstance(failure.value, RedisError)
        assert (metrics["failed"], metrics["in_flight"], metrics["own_connections"]) == (1, 0, 0)
