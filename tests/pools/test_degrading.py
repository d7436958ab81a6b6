"""Pool `cache` answers reads with a miss when Redis cannot; every other pool, and every removal, raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from perfkit.errors import CircuitOpen, PoolExhausted, Unavailable
from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, PoolType, RedisPools
from tests.pools.scripted_server import scripted

NOBODY = Endpoint.from_url("unix:///nowhere/r.sock")
READS: dict[str, tuple[Callable[[OptimizedRedis], Awaitable[Any]], Any]] = {
    "get": (lambda client: client.get("a"), None),
    "mget": (lambda client: client.mget("a", "b"), [None, None]),
    "hgetall": (lambda client: client.hgetall("a"), {}),
    "set": (lambda client: client.set("a", 1, px=5), None),
    "batch_get": (lambda client: client.batch_get(["a", "b", "c"]), [None] * 3),
    "batch_set": (lambda client: client.batch_set({"a": 1, "b": 2}, ttl_seconds=3), None),
    "execute_many": (lambda client: client.execute_many([("GET", "a"), ("EXISTS", "b")]), [None, 0]),
    "pipeline": (lambda client: client.pipeline(transaction=False).get("a").ttl("b").execute(), [None, -2]),
}
RAISING: dict[str, Callable[[OptimizedRedis], Awaitable[Any]]] = {
    "delete": lambda client: client.delete("a"),
    "batch_delete": lambda client: client.batch_delete(["a"]),
    "incr": lambda client: client.incr("a"),
    "eval": lambda client: client.eval("return 1", 0),
    "execute_many": lambda client: client.execute_many([("GET", "a"), ("DEL", "b")]),
    "transaction": lambda client: client.pipeline().get("a").execute(),
}


@pytest.fixture(params=["mux", "classic"])
async def pools(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[Endpoint], RedisPools]]:
    """Make pools on either transport, with the degrading of `cache` as it comes."""
    every: list[RedisPools] = []

    def make(endpoint: Endpoint) -> RedisPools:
        cache = PoolSettings.model_validate(
            PoolsSettings().cache.model_dump() | {"transport": request.param, "breaker_open_seconds": 60}
        )
        default = PoolSettings.model_validate({"transport": request.param, "retries": 0})
        settings = PoolsSettings(cache=cache, default=default)
        every.append(RedisPools(settings, endpoint, probe=null_probe))
        return every[-1]

    yield make
    for each in every:
        await each.aclose()


@pytest.mark.parametrize("name", READS)
async def test_the_cache_pool_reads_a_miss_from_a_server_that_is_away(
    pools: Callable[[Endpoint], RedisPools], name: str
) -> None:
    """Whether nobody listens or, after ten times, the breaker is open: the service goes on."""
    ask, miss = READS[name]
    client = pools(NOBODY).client(PoolType.CACHE)

    assert [await ask(client) for _ in range(12)] == [miss] * 12

    metrics = await client.get_metrics()
    assert metrics["circuit_state"] == "open"
    assert metrics["missed"] == metrics["calls"] == metrics["failed"] + metrics["rejected"] > 0


@pytest.mark.parametrize("name", RAISING)
async def test_what_must_not_be_pretended_raises_in_the_cache_pool_too(
    pools: Callable[[Endpoint], RedisPools], name: str
) -> None:
    """A value that was not removed is not the same as one that is."""
    client = pools(NOBODY).client(PoolType.CACHE)

    with pytest.raises(Unavailable):
        await RAISING[name](client)

    assert (await client.get_metrics())["missed"] == 0


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("which", ["default", "raising"])
async def test_others_are_told_by_both_kinds_of_error(
    pools: Callable[[Endpoint], RedisPools], name: str, which: str
) -> None:
    """Any other pool, and `raising` of the cache's, raises what redis-py's callers catch as well."""
    made = pools(NOBODY)
    client = made.client() if which == "default" else made.client(PoolType.CACHE).raising

    for _ in range(12):  # the last are refused by the breaker
        with pytest.raises(Unavailable) as failure:
            await READS[name][0](client)
        assert isinstance(failure.value, RedisError)

    assert isinstance(failure.value, CircuitOpen)
    assert failure.value.retry_after_seconds


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize(
    "refusal",
    [b"-LOADING Redis is loading the dataset in memory\r\n", b"-BUSY Redis is busy running a script.\r\n"],
)
async def test_a_server_that_is_there_but_cannot_serve_is_a_miss_as_well(
    pools: Callable[[Endpoint], RedisPools], name: str, refusal: bytes
) -> None:
    """After a restart Redis answers LOADING for as long as it reads its data."""
    ask, miss = READS[name]
    async with scripted(lambda _command, _visit: refusal) as server:
        client = pools(server.endpoint).client(PoolType.CACHE)

        assert [await ask(client) for _ in range(12)] == [miss] * 12
        assert (await client.get_metrics())["circuit_state"] == "open"


async def test_batches_elsewhere_say_why_redis_cannot_serve(pools: Callable[[Endpoint], RedisPools]) -> None:
    """Not a miss, and not a value among others."""
    async with scripted(lambda _command, _visit: b"-LOADING it is\r\n") as server:
        client = pools(server.endpoint).client()
        with pytest.raises(BusyLoadingError):
            await client.batch_get(["a", "b"])


async def test_an_error_of_the_caller_is_no_miss(pools: Callable[[Endpoint], RedisPools]) -> None:
    """WRONGTYPE is a fault of the program; hiding it would hide it for ever."""
    async with scripted(lambda _command, _visit: b"-WRONGTYPE Operation against a key\r\n") as server:
        client = pools(server.endpoint).client(PoolType.CACHE)
        with pytest.raises(ResponseError):
            await client.get("a")


def test_raising_is_made_once() -> None:
    """It may stand in a hot path; it shares the callbacks of the client it is of."""

    async def session() -> None:
        made = RedisPools(endpoint=Endpoint.embedded())
        client = made.client(PoolType.CACHE)
        strict = client.raising
        client.set_response_callback("GET", lambda reply, **_options: ("mine", reply))
        assert client.raising is strict
        assert strict.raising is strict
        assert await strict.get("a") == ("mine", None)
        await made.aclose()

    asyncio.run(session())


async def test_who_stood_in_line_when_the_breaker_opened_is_refused_not_sent() -> None:
    """Each would have been given a place on a server known to be down, and waited out the deadline there."""
    async with scripted(lambda _command, _visit: None) as server:
        settings = PoolSettings(
            limit="fixed",
            inflight_initial=10,
            inflight_min=1,
            command_timeout_seconds=0.1,
            acquire_timeout_seconds=10,
            retries=0,
            breaker_open_seconds=60,
        )
        made = RedisPools(PoolsSettings(default=settings), server.endpoint, probe=null_probe)
        client = made.client()
        outcomes = await asyncio.gather(*(client.get("a") for _ in range(20)), return_exceptions=True)
        metrics = await client.get_metrics()
        await made.aclose()

    assert not any(isinstance(outcome, PoolExhausted) for outcome in outcomes)
    assert (metrics["timeouts"], metrics["rejected"], metrics["in_flight"]) == (10, 10, 0)
    assert len(server.heard) == 10
