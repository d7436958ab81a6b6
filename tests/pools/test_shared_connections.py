"""Several shared connections: all are used, and one that is missing costs nobody a thing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from perfkit.pools import Endpoint, OptimizedRedis
from perfkit.pools.server import RedisServer
from tests.pools.scripted_server import Answer, Command, Visit, bulk, scripted
from tests.pools.waiting import until

Opened = Callable[..., OptimizedRedis]


async def test_calls_are_spread_over_all_connections(opened: Opened) -> None:
    """In turn, from the moment each is open."""
    async with scripted(lambda _command, _visit: bulk("v")) as server:
        client = opened(server.endpoint, mux_connections=3)

        async def all_open() -> bool:
            await client.get("first")
            return client.metrics["connections"] == 3

        await until(all_open)
        await asyncio.gather(*(client.get("a") for _ in range(30)))

        spread = Counter(id(visit) for visit in server.visits for command in visit.heard if b"a" in command)
        assert sorted(spread.values()) == [10, 10, 10]


async def test_a_connection_that_cannot_be_opened_costs_nobody_a_call(
    opened: Opened, server: RedisServer
) -> None:
    """With the server's clients used up, one connection carries all, and the breaker stays closed."""
    admin = opened(Endpoint.from_url(server.tcp_url))
    before = await admin.config_get("maxclients")
    client = opened(Endpoint.from_url(server.tcp_url), mux_connections=2, retries=0)
    assert await client.set("a", 1)
    await admin.config_set("maxclients", 2)
    try:
        answers = [await client.get("a") for _ in range(50)]
    finally:
        await admin.config_set("maxclients", before["maxclients"])

    metrics = client.metrics
    assert answers == [b"1"] * 50
    assert (metrics["failed"], metrics["circuit_opened"], metrics["connects"]) == (0, 0, 1)


async def test_a_lost_connection_is_opened_again_beside_the_traffic(opened: Opened) -> None:
    """Callers go on over the other meanwhile."""

    def answer(command: Command, visit: Visit) -> Answer:
        if command[-1] == b"end":
            visit.end()
            return None
        return bulk("v")

    async with scripted(answer) as server:
        client = opened(server.endpoint, mux_connections=2, retries=0)
        await client.get("a")
        await client.get("a")
        await until(lambda: client.metrics["connections"] == 2)
        await asyncio.gather(client.get("end"), return_exceptions=True)

        assert await asyncio.gather(*(client.get("a") for _ in range(20))) == [b"v"] * 20
        await until(lambda: client.metrics["connections"] == 2)
        assert (client.metrics["failed"], client.metrics["disconnects"]) == (1, 1)
