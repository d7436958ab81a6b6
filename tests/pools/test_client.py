"""Commands and batches, the same on a real server and on the stand-in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis.exceptions import ResponseError

from perfkit.errors import SettingsError, Unavailable
from perfkit.pools import Endpoint, OptimizedRedis, PoolType, RedisPools
from perfkit.pools.commands import waits_by_design

Opened = Callable[..., OptimizedRedis]


@pytest.fixture
async def client(opened: Opened, endpoint: Endpoint) -> OptimizedRedis:
    """A client whose batches travel in threes, on an empty database."""
    fresh: OptimizedRedis = opened(endpoint, batch_chunk=3)
    await fresh.flushdb()
    return fresh


async def test_a_batch_comes_back_in_the_order_of_its_keys(client: OptimizedRedis) -> None:
    """Chunks are joined again; missing keys are None."""
    await client.batch_set({f"k{n}": n for n in range(8)})

    values = await client.batch_get(["k7", "absent", *(f"k{n}" for n in range(7)), "k7"])

    assert values == [b"7", None, *(str(n).encode() for n in range(7)), b"7"]


@pytest.mark.parametrize("count", [0, 1, 3, 4])
async def test_batches_of_every_size_are_whole(client: OptimizedRedis, count: int) -> None:
    """Nothing is lost or doubled at a chunk's edge."""
    keys = [f"k{n}" for n in range(count)]
    await client.batch_set(dict.fromkeys(keys, "v"))

    assert await client.batch_get(keys) == [b"v"] * count
    assert await client.batch_delete([*keys, "absent"]) == count
    assert await client.dbsize() == 0


async def test_a_batch_lives_as_long_as_it_was_told(client: OptimizedRedis) -> None:
    """Every key of every chunk gets the time to live, to the millisecond."""
    await client.batch_set(dict.fromkeys("abcd", "v"), ttl_seconds=12.3456)

    left_ms = [await client.pttl(key) for key in "abcd"]

    assert all(10_000 < left <= 12_346 for left in left_ms)


@pytest.mark.parametrize("ttl_seconds", [0, -1, float("nan"), float("inf")])
async def test_a_time_to_live_that_is_none_is_refused(client: OptimizedRedis, ttl_seconds: float) -> None:
    """A wrong time stores nothing; it would otherwise mean never or for ever."""
    with pytest.raises(SettingsError, match="must be above 0"):
        await client.batch_set({"a": 1}, ttl_seconds=ttl_seconds)

    assert await client.exists("a") == 0


async def test_a_refused_command_is_counted_and_leaves_the_connection_fit(client: OptimizedRedis) -> None:
    """An error reply is an answer like any other: the next command uses the same connection."""
    await client.set("text", "x")
    with pytest.raises(ResponseError):
        await client.incr("text")
    replies = await client.pipeline(transaction=False).incr("text").get("text").execute(raise_on_error=False)

    metrics = await client.get_metrics()

    assert replies[1] == b"x"
    assert (metrics["failed"], metrics["timeouts"], metrics["in_flight"], metrics["connections"]) == (
        1,
        0,
        0,
        1,
    )


async def test_a_pipeline_is_a_transaction_unless_told_otherwise(client: OptimizedRedis) -> None:
    """redis-py's meaning is kept: nobody loses atomicity by changing the client."""
    assert client.pipeline().is_transaction
    assert await client.pipeline().set("a", 1).incr("a").execute() == [True, 2]


async def test_watch_and_locks_work_through_the_pool(client: OptimizedRedis) -> None:
    """What redis-py builds upon commands still stands."""
    async with client.pipeline() as pipe:
        await pipe.watch("a")
        pipe.multi()
        pipe.set("a", "mine")
        await pipe.execute()

    assert await client.get("a") == b"mine"
    assert (await client.get_metrics())["own_connections"] == 0


async def test_metrics_tell_what_happened(client: OptimizedRedis) -> None:
    """Counts are of commands as they were sent; a pool is idle between them."""
    await client.batch_set(dict.fromkeys("abcd", "v"))
    await client.batch_get("abcd")

    metrics = await client.get_metrics()

    assert metrics["pool"] == "default"
    assert metrics["ok"] == metrics["calls"] == 1 + 2 + 2  # FLUSHDB, and chunks of up to three keys
    assert (metrics["failed"], metrics["waiting"], metrics["waits"], metrics["refusals"]) == (0, 0, 0, 0)


async def test_each_workload_has_connections_of_its_own(endpoint: Endpoint) -> None:
    """The same workload shares one client; different ones share nothing but the server."""
    pools = RedisPools(endpoint=endpoint)
    try:
        clients = {kind: pools.client(kind) for kind in PoolType}

        assert pools.client(PoolType.CACHE) is clients[PoolType.CACHE]
        assert len({id(client.connection_pool) for client in clients.values()}) == len(PoolType)
        assert [(await client.get_metrics())["pool"] for client in clients.values()] == list(PoolType)
    finally:
        await pools.aclose()


async def test_a_server_that_is_not_there_fails_at_once(opened: Opened) -> None:
    """Ten callers hear that nobody is there; the breaker tells the others, without trying."""
    client: OptimizedRedis = opened(Endpoint.from_url("unix:///nowhere/r.sock"), retries=0)

    for _ in range(20):
        with pytest.raises(Unavailable):
            await client.get("a")

    metrics = await client.get_metrics()
    assert (metrics["failed"], metrics["rejected"], metrics["connections"]) == (10, 10, 0)


@pytest.mark.parametrize(
    ("command", "waits"),
    [
        (("GET", "blpop"), False),
        (("blpop", "queue", 0), True),
        ((b"BLPOP", "queue", 0), True),
        (("XREAD", b"BLOCK", 0, b"STREAMS", "s", "$"), True),
        (("XREAD", b"STREAMS", "block", "0"), False),
    ],
)
def test_only_commands_that_wait_by_design_have_no_deadline(command: tuple[object, ...], waits: bool) -> None:
    """XREAD waits only when told to BLOCK, and a stream may bear that name."""
    assert waits_by_design(command) is waits
