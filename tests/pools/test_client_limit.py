"""What a service may ask of the server's client limit is counted as it opens connections, and bounded."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.events import null_probe
from perfkit.knobs import replaced
from perfkit.pools import Endpoint, OptimizedRedis, PoolsSettings, PoolType, RedisPools
from perfkit.pools.client_limit import client_demand
from perfkit.pools.server import RedisServer
from perfkit.settings import Settings

PATIENCE_S = 30


def test_the_defaults_fit() -> None:
    """Ten instances of five pools are a twentieth of what a small server admits."""
    settings = Settings()
    demand = client_demand(settings.pools, instances=settings.cloudrun.max_instances)

    assert demand.pools == {"default": 9, "read_heavy": 6, "write_heavy": 9, "analytics": 5, "cache": 3}
    assert (demand.of_an_instance, demand.clients, demand.limit, demand.fits) == (33, 330, 8000, True)


def test_a_classic_pool_shares_no_connection() -> None:
    """Only what the transport opens is counted."""
    pools = replaced(PoolsSettings(), {"analytics.transport": "classic"})

    assert client_demand(pools, instances=1).pools["analytics"] == 4


def test_without_partitions_only_the_default_pool_opens_any() -> None:
    """The others' knobs have no effect then, so they may not count either."""
    pools = replaced(PoolsSettings(), {"partitioned": False, "analytics.max_connections": 1000})

    assert client_demand(pools, instances=3).clients == 3 * (9 + 1)


@given(st.integers(1, 1_000), st.integers(1, 1_000), st.integers(10, 1_000_000))
def test_the_bound_is_four_fifths_to_the_last_client(most: int, instances: int, admits: int) -> None:
    """In whole numbers, so that no rounding lets one too many in, or keeps one out."""
    pools = replaced(PoolsSettings(), {"default.max_connections": most, "server_max_clients": admits})
    demand = client_demand(pools, instances=instances)

    assert demand.fits == (5 * instances * (26 + most) <= 4 * admits)


@given(st.integers(1, 1_000), st.integers(1, 1_000), st.integers(10, 100_000))
def test_the_remedy_is_enough_and_no_more_than_that(most: int, instances: int, admits: int) -> None:
    """With as many instances as it names it fits, with one more it does not."""
    pools = replaced(PoolsSettings(), {"default.max_connections": most, "server_max_clients": admits})
    demand = client_demand(pools, instances=instances)
    named = re.search(r"cloudrun\.max_instances to (\d+)", demand.remedy)

    if named is None:
        assert not client_demand(pools, instances=1).fits
    else:
        assert client_demand(pools, instances=int(named[1])).fits
        assert not client_demand(pools, instances=int(named[1]) + 1).fits


def test_the_sentence_has_every_number() -> None:
    """Whoever is refused can follow the sum and knows which knobs to turn."""
    demand = client_demand(PoolsSettings(server_max_clients=100), instances=10)

    assert demand.sentence == (
        "10 instances × 33 connections (default 9 + read_heavy 6 + write_heavy 9 + analytics 5 + cache 3 + "
        "invalidation 1) may be 330 clients of Redis; four fifths of the 100 it admits are 80"
    )
    for knob in ("cloudrun.max_instances to 2", "pools.default.max_connections", "pools.partitioned"):
        assert knob in demand.remedy


@pytest.mark.parametrize("partitioned", [True, False])
async def test_a_service_opens_at_most_what_was_counted(server: RedisServer, partitioned: bool) -> None:
    """With every connection in use, the server counts what we did, less the one for invalidations."""
    settings = PoolsSettings(partitioned=partitioned)
    demand = client_demand(settings, instances=1)
    pools = RedisPools(settings, Endpoint.from_url(server.tcp_url), probe=null_probe)
    others = RedisPools(endpoint=Endpoint.from_url(server.url), probe=null_probe)
    clients = {pools.client(kind) for kind in PoolType}
    waiting: list[asyncio.Task[object]] = []
    try:
        for client in clients:
            for _ in range(4):
                await client.get("a")
            most = int(client.metrics["max_connections"])
            waiting += [asyncio.create_task(client.blpop(["nothing"], timeout=0)) for _ in range(most)]
        await until_blocked(others.client(), len(waiting))
        everybody = await others.client().client_list()

        ours = [entry for entry in everybody if entry["addr"].startswith("127.0.0.1:")]
        assert len(ours) == sum(client.metrics["connections_max"] for client in clients)
        assert len(ours) == demand.of_an_instance - 1
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await pools.aclose()
        await others.aclose()


async def until_blocked(asker: OptimizedRedis, many: int) -> None:
    """Ask the server until so many clients wait in it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if (await asker.info("clients"))["blocked_clients"] >= many:
                return
