"""How a client finds the nodes of a cluster: once, in time, again, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import (
    ResponseError,
)

from perfkit.errors import CircuitOpen, SettingsError, Unavailable
from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolType, RedisPools
from perfkit.pools.failures import RedisLost, RedisTimeout
from perfkit.pools.server import RedisServer, free_port
from perfkit.pools.server.cluster import ClusterServer
from tests.pools.balance import balanced
from tests.pools.scripted_server import OK, Answer, Command, Visit, bulk, scripted
from tests.pools.waiting import until

Opened = Callable[..., OptimizedRedis]


async def test_the_map_is_read_once_for_all_who_come_at_the_start(
    opened: Opened, cluster: ClusterServer
) -> None:
    """A hundred first callers ask one node one time; one of them leaving takes nothing from the others."""
    client = opened(Endpoint.from_url(cluster.url))
    tasks = [asyncio.create_task(client.get(f"absent{n}")) for n in range(100)]
    await asyncio.sleep(0)
    for task in tasks[:10]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert results[10:] == [None] * 90
    assert (await balanced(client))["connects"] == 3


async def test_an_address_where_nobody_listens_opens_the_breaker(opened: Opened) -> None:
    """All are told what to look at; after ten failures without being kept waiting."""
    client = opened(Endpoint.from_url(f"redis://127.0.0.1:{free_port()}/0?cluster=true"), retries=0)
    with pytest.raises(RedisLost, match="PERFKIT_REDIS_URL"):
        await client.get("a")
    outcomes = [
        *await asyncio.gather(*(client.get("a") for _ in range(5)), return_exceptions=True),
        *[await asyncio.gather(client.batch_get(["a"]), return_exceptions=True) for _ in range(12)],
    ]
    assert all(isinstance(outcome, Unavailable | list) for outcome in outcomes)
    with pytest.raises(CircuitOpen):
        await client.set("a", 1)
    assert not await client.ready()
    assert (await balanced(client))["circuit_state"] == "open"


async def test_the_cache_starts_without_its_cluster(opened: Opened) -> None:
    """A cache that is not there misses, from the first call on."""
    pools = RedisPools(
        endpoint=Endpoint.from_url(f"redis://127.0.0.1:{free_port()}/0?cluster=true"), probe=null_probe
    )
    client = pools.client(PoolType.CACHE)
    for _ in range(12):
        assert await client.get("a") is None
        assert await client.batch_get(["a", "b"]) == [None, None]
        await client.batch_set({"a": 1, "b": 2}, ttl_seconds=5)
    with pytest.raises(Unavailable):
        await client.batch_delete(["a", "b"])
    await balanced(client)
    await pools.aclose()


async def test_a_seed_that_does_not_answer_is_given_up_in_time(opened: Opened) -> None:
    """The kernel accepts, nobody greets: all callers learn it at once, not one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0?cluster=true"
        client = opened(Endpoint.from_url(url), connect_timeout_seconds=0.1, retries=0)
        async with asyncio.timeout(1):
            outcomes = await asyncio.gather(*(client.get("a") for _ in range(50)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {RedisTimeout}
    assert len({id(outcome) for outcome in outcomes}) == 50


async def test_a_single_server_is_no_cluster(opened: Opened, server: RedisServer) -> None:
    """The error names the word in the address that is wrong."""
    client = opened(Endpoint.from_url(f"{server.tcp_url}?cluster=true"))
    for ask in (client.get("a"), client.batch_get(["a"]), client.dbsize()):
        with pytest.raises(SettingsError, match="Remove cluster=true"):
            await ask
    assert not await client.ready()
    await balanced(client)


async def test_a_node_that_serves_no_slots_says_so(opened: Opened) -> None:
    """As of a cluster that is being set up."""
    with RedisServer.start(options={"cluster-enabled": "yes", "cluster-port": free_port()}) as lonely:
        client = opened(Endpoint.from_url(f"{lonely.tcp_url}?cluster=true"), retries=0)
        with pytest.raises(RedisLost, match="serves no slots"):
            await client.get("a")


async def test_a_node_that_left_is_parted_from_and_its_totals_stay(opened: Opened) -> None:
    """Two nodes by what the first says, then one: the connection to the other is closed, its sums remain."""
    others: list[int] = []

    def slots(command: Command, visit: Visit) -> Answer:
        if command[:2] == [b"CLUSTER", b"SLOTS"]:
            return _slots_reply(first.port, others)
        return bulk("v") if command[0] == b"GET" else OK

    async with scripted(slots) as first, scripted(slots) as second:
        others.append(second.port)
        client = opened(Endpoint.from_url(f"redis://127.0.0.1:{first.port}/0?cluster=true"))
        assert [await client.get(f"k{n}") for n in range(20)] == [b"v"] * 20
        assert (await client.get_metrics())["connections"] == 2
        lane = client._nodes.lanes[f"127.0.0.1:{second.port}"]  # type: ignore[attr-defined]
        lane.gate.limiter.waits += 3
        others.clear()
        client._nodes.map._not_before_s = 0.0  # type: ignore[attr-defined]
        client._nodes.map.doubt()  # type: ignore[attr-defined]
        await until(lambda: second.visits[0].ended)
        metrics = await balanced(client)
        assert (metrics["connections"], metrics["waits"], metrics["nodes"]) == (1, 3, 1)


async def test_a_batch_goes_on_when_the_map_is_found_at_the_second_try(opened: Opened) -> None:
    """Its keys are then divided among the nodes, each asked for its own."""
    tries = 0

    def answer(command: Command, visit: Visit) -> Answer:
        nonlocal tries
        if command[:2] == [b"CLUSTER", b"SLOTS"]:
            tries += 1
            return b"-LOADING it is\r\n" if tries < 3 else _slots_reply(first.port, [second.port])
        return b"*1\r\n" + bulk("first" if visit in first.visits else "second")

    async with scripted(answer) as first, scripted(answer) as second:
        client = opened(Endpoint.from_url(f"redis://127.0.0.1:{first.port}/0?cluster=true"), retries=2)
        found = await client.batch_get(["a", "b", "c", "d"])  # of both halves of the slots
        assert found == [b"second", b"first", b"first", b"second"]
        await balanced(client)


async def test_two_nodes_that_point_at_each_other_do_not_keep_a_caller_for_ever(opened: Opened) -> None:
    """After some turns it waits between them, and at last it is told."""

    def answer_of(mine: int) -> Callable[[Command, Visit], Answer]:
        def answer(command: Command, _visit: Visit) -> Answer:
            if command[:2] == [b"CLUSTER", b"SLOTS"]:
                return _slots_reply(servers[0].port, [servers[1].port])
            return f"-MOVED 1 127.0.0.1:{servers[1 - mine].port}\r\n".encode()

        return answer

    servers: list[Any] = []
    async with scripted(answer_of(0)) as first, scripted(answer_of(1)) as second:
        servers += [first, second]
        client = opened(
            Endpoint.from_url(f"redis://127.0.0.1:{first.port}/0?cluster=true"),
            command_timeout_seconds=0.1,
            retries=0,
        )
        with pytest.raises(RedisTimeout, match="to and fro"):
            await client.get("a")
        with pytest.raises(RedisTimeout, match="to and fro"):
            await client.pipeline(transaction=True).get("a").execute()
        (answer,) = await client.execute_many([("GET", "a")], return_exceptions=True)
        assert isinstance(answer, ResponseError)
        assert len(first.heard) + len(second.heard) < 200
        await balanced(client)


def _slots_reply(first: int, others: list[int]) -> bytes:
    ports = [first, *others]
    shares = b""
    for number, port in enumerate(ports):
        low, high = 16_384 * number // len(ports), 16_384 * (number + 1) // len(ports) - 1
        shares += b"*3\r\n:%d\r\n:%d\r\n*3\r\n$0\r\n\r\n:%d\r\n$1\r\n%d\r\n" % (low, high, port, number)
    return b"*%d\r\n" % len(ports) + shares
