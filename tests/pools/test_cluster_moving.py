"""Slots of a cluster that move while they are used: no reply is wrong or lost, and nothing happens twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.crc import key_slot
from redis.exceptions import TryAgainError, WatchError

from perfkit.pools import Endpoint, OptimizedRedis
from perfkit.pools.failures import RedisTimeout
from perfkit.pools.server.cluster import ClusterServer, SlotMove
from tests.pools.balance import balanced
from tests.pools.waiting import until

Opened = Callable[..., OptimizedRedis]
SLOT = key_slot(b"{moving}")


@pytest.fixture
async def client(opened: Opened, cluster: ClusterServer) -> OptimizedRedis:
    """A client that knows the map, on empty nodes."""
    fresh: OptimizedRedis = opened(Endpoint.from_url(cluster.url), retries=0)
    await fresh.flushall()
    return fresh


@pytest.fixture
def elsewhere(cluster: ClusterServer) -> int:
    """A primary that does not serve the slot."""
    return (cluster.owner(SLOT) + 1) % 3


@pytest.fixture
def half_moved(cluster: ClusterServer, elsewhere: int) -> Iterator[Callable[[], SlotMove]]:
    """Begin to move the slot, one of its keys first; the move is finished when the test ends."""
    begun: list[SlotMove] = []

    def begin() -> SlotMove:
        begun.append(cluster.begin_move(SLOT, elsewhere))
        assert cluster.migrate_keys(begun[-1], at_most=1) == 1
        return begun[-1]

    yield begin
    for move in begun:
        if cluster.owner(SLOT) != move.target:
            cluster.finish_move(move)


@asynccontextmanager
async def moving_to_and_fro(cluster: ClusterServer, slot: int, times: int) -> AsyncIterator[asyncio.Event]:
    """Move a slot in a thread of its own while the block runs; the event says that it has come to rest."""
    rest = asyncio.Event()

    async def move() -> None:
        for _ in range(times):
            await asyncio.to_thread(cluster.move_slot, slot, to=(cluster.owner(slot) + 1) % 3)
        rest.set()

    task = asyncio.create_task(move())
    try:
        yield rest
    finally:
        await task


async def test_counters_count_once_while_their_slot_goes_round(
    client: OptimizedRedis, cluster: ClusterServer
) -> None:
    """Sixteen callers count on eight keys while the slot visits every node; each reads what it wrote."""
    sent = 0

    async def count(n: int, rest: asyncio.Event) -> None:
        nonlocal sent
        mine = f"{{moving}}{n}"
        while not rest.is_set():
            await client.incr(f"{{moving}}shared{n % 8}")
            sent += 1
            value = str(sent)
            await client.set(mine, value)
            assert await client.get(mine) == value.encode()

    async with moving_to_and_fro(cluster, SLOT, times=6) as rest:
        await asyncio.gather(*(count(n, rest) for n in range(16)))

    counted = await client.batch_get([f"{{moving}}shared{n}" for n in range(8)])
    assert sum(int(value or 0) for value in counted) == sent > 0
    metrics = await balanced(client)
    assert (metrics["failed"], metrics["rejected"], metrics["circuit_state"]) == (0, 0, "closed")


async def test_batches_and_transactions_go_on_while_their_slot_goes_round(
    client: OptimizedRedis, cluster: ClusterServer
) -> None:
    """Each is whole: of one key's commands none overtakes another, and a transaction happens once or not."""
    own = {f"{{moving}}b{n}": str(n) for n in range(20)} | {f"b{n}": str(n) for n in range(20)}
    transactions = 0

    async def batch(rest: asyncio.Event) -> None:
        while not rest.is_set():
            await client.batch_set(own)
            assert await client.batch_get(own) == [value.encode() for value in own.values()]

    async def many(rest: asyncio.Event) -> None:
        while not rest.is_set():
            keys = [f"{{moving}}m{n}" for n in range(10)]
            commands = [
                command
                for n, key in enumerate(keys)
                for command in [("SET", key, n), ("INCR", key), ("GET", key)]
            ]
            answers = await client.execute_many(commands)
            assert answers == [answer for n in range(10) for answer in (True, n + 1, b"%d" % (n + 1))]

    async def transact(rest: asyncio.Event) -> None:
        nonlocal transactions
        while not rest.is_set():
            pipe = client.pipeline(transaction=True)
            answers = await pipe.incr("{moving}t").incr("{moving}t").execute()
            transactions += 1
            assert answers[1] == answers[0] + 1

    async with moving_to_and_fro(cluster, SLOT, times=6) as rest:
        await asyncio.gather(batch(rest), many(rest), transact(rest), transact(rest))

    assert int(await client.get("{moving}t") or 0) == 2 * transactions > 0
    metrics = await balanced(client)
    assert (metrics["rejected"], metrics["circuit_state"]) == (0, "closed")


async def test_a_key_that_has_gone_ahead_is_found_by_ask(
    client: OptimizedRedis, half_moved: Callable[[], SlotMove]
) -> None:
    """Read, written and counted once, each in its place, whichever side it is on; a new one goes ahead."""
    keys = [f"{{moving}}{n}" for n in range(4)]
    await client.batch_set(dict.fromkeys(keys, 1))
    half_moved()

    assert [await client.get(key) for key in keys] == [b"1"] * 4
    assert [await client.incr(key) for key in keys] == [2] * 4
    assert await client.execute_many([("INCR", key) for key in keys]) == [3] * 4
    assert await client.pipeline().incr(keys[0]).incr(keys[3]).get(keys[0]).execute() == [4, 4, b"4"]
    assert await client.set("{moving}new", "x") is True
    assert await client.get("{moving}new") == b"x"
    await balanced(client)


async def test_a_command_on_both_sides_is_answered_when_they_are_one(
    client: OptimizedRedis, cluster: ClusterServer, half_moved: Callable[[], SlotMove]
) -> None:
    """TRYAGAIN is waited out, for the time of a command: by single commands, batches and pipelines."""
    keys = [f"{{moving}}{n}" for n in range(4)]
    await client.batch_set(dict.fromkeys(keys, "v"))
    move = half_moved()

    asked = [
        asyncio.create_task(waiting)
        for waiting in (
            client.mget(*keys),
            client.batch_get(keys),
            client.pipeline().mget(*keys).execute(),
            client.exists(*keys),
        )
    ]
    done, _ = await asyncio.wait(asked, timeout=0.1)
    assert not done
    await asyncio.to_thread(cluster.finish_move, move)

    values = [b"v"] * 4
    assert await asyncio.gather(*asked) == [values, values, [values], 4]
    await balanced(client)


async def test_a_command_on_both_sides_does_not_wait_for_ever(
    opened: Opened, cluster: ClusterServer, half_moved: Callable[[], SlotMove]
) -> None:
    """It was not carried out, and says why; the batch tells of the others."""
    client = opened(Endpoint.from_url(cluster.url), retries=0, command_timeout_seconds=0.1)
    await client.flushall()
    keys = [f"{{moving}}{n}" for n in range(4)]
    await client.batch_set(dict.fromkeys(keys, "v"))
    half_moved()

    with pytest.raises(RedisTimeout, match="to and fro") as failure:
        await client.mget(*keys)
    assert not failure.value.sent
    first, second = await client.execute_many([("MGET", *keys), ("SET", "other", 1)], return_exceptions=True)
    assert isinstance(first, TryAgainError)
    assert second is True
    await balanced(client)


async def test_a_transaction_in_a_slot_on_both_sides_waits_and_happens_once(
    client: OptimizedRedis, cluster: ClusterServer, half_moved: Callable[[], SlotMove]
) -> None:
    """`ASKING` is for one command, so a transaction can only wait until the slot is on one side."""
    await client.set("{moving}n", 0)
    move = half_moved()
    asked = asyncio.create_task(
        client.pipeline(transaction=True).incr("{moving}n").get("{moving}n").execute()
    )
    done, _ = await asyncio.wait([asked], timeout=0.1)
    assert not done
    await asyncio.to_thread(cluster.finish_move, move)

    assert await asked == [1, b"1"]
    await balanced(client)


async def test_watched_keys_whose_slot_moves_make_the_caller_go_again(
    client: OptimizedRedis, cluster: ClusterServer, elsewhere: int
) -> None:
    """What was watched on one node is not watched on the other; `transaction` watches anew by itself."""
    await client.set("{moving}n", 1)
    async with client.pipeline(transaction=True) as pipe:
        await pipe.watch("{moving}n")
        await asyncio.to_thread(cluster.move_slot, SLOT, to=elsewhere)
        pipe.multi()
        pipe.incr("{moving}n")
        with pytest.raises(WatchError, match="moved to another node"):
            await pipe.execute()

        async def increment(pipe: Any) -> None:
            value = int(await pipe.get("{moving}n"))
            pipe.multi()
            pipe.set("{moving}n", value + 1)

    assert await client.transaction(increment, "{moving}n") == [True]
    assert await client.get("{moving}n") == b"2"
    await balanced(client)


async def test_who_waits_for_an_element_finds_the_slot_where_it_went(
    client: OptimizedRedis, cluster: ClusterServer, elsewhere: int
) -> None:
    """BLPOP on a connection of its own is pointed on as well, before it waits and while it does."""
    await asyncio.to_thread(cluster.move_slot, SLOT, to=elsewhere)
    await client.rpush("{moving}q", "a")
    assert await client.blpop(["{moving}q"], timeout=5) == (b"{moving}q", b"a")

    waiting = asyncio.create_task(client.blpop(["{moving}q"], timeout=5))
    await until(lambda: client.metrics["own_connections"] == 1)
    await asyncio.to_thread(cluster.move_slot, SLOT, to=(elsewhere + 1) % 3)
    await client.rpush("{moving}q", "b")
    assert await waiting == (b"{moving}q", b"b")
    await balanced(client)
