"""A readiness check answers in time, raises nothing, and says what is wrong."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable

import pytest

from perfkit.errors import Unavailable
from perfkit.events import null_probe
from perfkit.pools import Endpoint, PoolSettings, PoolsSettings, PoolType, RedisPools
from perfkit.pools.server import RedisServer

Pools = Callable[..., RedisPools]
NOWHERE = Endpoint.from_url("unix:///nowhere/r.sock")


class Hands:
    """A clock the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Hands:
    """What breakers go by."""
    return Hands()


@pytest.fixture
async def opened_pools(clock: Hands) -> AsyncIterator[Pools]:
    """Make pools that are closed when the test ends."""
    every: list[RedisPools] = []

    def make(endpoint: Endpoint, **knobs: float) -> RedisPools:
        settings = PoolsSettings(default=PoolSettings.model_validate(knobs))
        every.append(RedisPools(settings, endpoint, clock=clock, probe=null_probe))
        return every[-1]

    yield make
    for pools in every:
        await pools.aclose()


async def fail(pools: RedisPools) -> None:
    """Ask a server that is away until the circuit opens."""
    for _ in range(10):
        with pytest.raises(Unavailable):
            await pools.client().get("a")


async def test_every_pool_in_use_is_asked(opened_pools: Pools, endpoint: Endpoint) -> None:
    """Before the first use `default` is; a pool that is named is asked whether used or not."""
    pools = opened_pools(endpoint)

    assert (await pools.ready()).verdicts == {"default": "ready"}
    assert (await pools.ready(PoolType.CACHE)).verdicts == {"cache": "ready"}
    both = await pools.ready()
    assert both.ok
    assert both.verdicts == {"default": "ready", "cache": "ready"}


async def test_a_server_that_is_not_there_is_no_answer(opened_pools: Pools) -> None:
    """Whether the circuit is still closed or open already: what matters is that nobody answers."""
    pools = opened_pools(NOWHERE, retries=0)

    first = await pools.ready()
    await fail(pools)
    second = await pools.ready()

    assert (first.ok, first.verdicts, second.verdicts) == (
        False,
        {"default": "no_answer"},
        {"default": "no_answer"},
    )
    assert "could not connect" in second.pools[0].detail


async def test_an_open_circuit_before_a_server_that_answers_is_told_apart(
    opened_pools: Pools, server: RedisServer, clock: Hands
) -> None:
    """Redis is back, but calls are refused until the wait is over; asking then is what closes the circuit."""
    pools = opened_pools(Endpoint.from_url(server.url))
    breaker = pools.client()._lane.gate.breaker
    for _ in range(10):
        breaker.record(breaker.admit(), failed=1)

    refused = await pools.ready()
    assert (refused.ok, refused.verdicts) == (False, {"default": "circuit_open"})
    assert await pools.client().ready()
    assert "tried again in" in refused.pools[0].detail

    clock.now_s += 60
    trials = [await pools.ready() for _ in range(breaker.rules.trial_calls)]
    assert [trial.ok for trial in trials] == [True] * breaker.rules.trial_calls
    assert breaker.state == "closed"


async def test_a_probe_beside_trial_calls_leaves_them_their_outcome(
    opened_pools: Pools, server: RedisServer, clock: Hands
) -> None:
    """What one read brings beside a probe's answer still counts, or the circuit would stay half open."""
    pools = opened_pools(Endpoint.from_url(server.url))
    client = pools.client()
    breaker = client._lane.gate.breaker
    await client.ping()
    for _ in range(10):
        breaker.record(breaker.admit(), failed=1)
    clock.now_s += 60

    for _ in range(breaker.rules.trial_calls):
        await asyncio.gather(client.get("a"), client.ready())

    assert breaker.state == "closed"


async def test_a_stalled_server_costs_the_check_no_more_than_it_was_given(opened_pools: Pools) -> None:
    """The bound is over all pools together, and well below what the pools' own deadlines would allow."""
    with RedisServer.start() as own:
        pools = opened_pools(
            Endpoint.from_url(own.url), command_timeout_seconds=60, connect_timeout_seconds=60
        )
        assert (await pools.ready()).ok
        os.kill(own.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(30):
                stalled = await pools.ready(PoolType.DEFAULT, PoolType.ANALYTICS, within_seconds=0.2)
        finally:
            os.kill(own.pid, signal.SIGCONT)

        assert stalled.verdicts == {"default": "no_answer", "analytics": "no_answer"}
        assert stalled.pools[0].detail == "No answer came within 0.2 s."
        assert (await pools.ready(within_seconds=30)).ok


async def test_a_refused_password_is_an_answer(opened_pools: Pools) -> None:
    """Redis is there and will not have us: nobody should look for a network fault, nor read the password."""
    with RedisServer.start() as own:
        admin = opened_pools(Endpoint.from_url(own.url))
        await admin.client().config_set("requirepass", "right")
        pools = opened_pools(Endpoint.from_url(own.url.replace("unix://", "unix://:wrong@")))

        health = (await pools.ready()).pools[0]

        assert health.verdict == "refused"
        assert "wrong@" not in repr(health)


async def test_a_full_pool_is_no_fault_of_redis(opened_pools: Pools, server: RedisServer) -> None:
    """The limit is reached and the line is full, so Redis was not asked."""
    pools = opened_pools(
        Endpoint.from_url(server.url), inflight_max=1, inflight_min=1, acquire_timeout_seconds=30
    )
    client = pools.client()
    await client.ping()
    one_and_a_full_line = [asyncio.create_task(client.get("a")) for _ in range(65)]
    await asyncio.sleep(0)

    health = (await pools.ready()).pools[0]
    await asyncio.gather(*one_and_a_full_line)

    assert health.verdict == "no_room"


async def test_a_closed_pool_says_so(opened_pools: Pools, endpoint: Endpoint) -> None:
    """An instance that is going away is not ready, and asking it raises nothing."""
    pools = opened_pools(endpoint)
    client = pools.client()
    await client.close_pool()

    assert (await client.health()).verdict == "closed"


async def test_whatever_else_goes_wrong_is_a_verdict_too(opened_pools: Pools) -> None:
    """A credential provider is somebody else's code and may raise anything."""

    class Broken:
        async def get_credentials_async(self) -> tuple[str, str]:
            raise KeyError("token")

    with RedisServer.start() as own:
        endpoint = Endpoint.from_url(own.url)
        endpoint.connection["credential_provider"] = Broken()  # type: ignore[index]  # a dict, for the test
        pools = opened_pools(endpoint)

        health = (await pools.ready()).pools[0]

        assert (health.verdict, health.detail) == ("no_answer", "'token'")


async def test_a_check_that_is_cancelled_is_cancelled(opened_pools: Pools) -> None:
    """A probe that its caller gave up does not linger."""
    with RedisServer.start() as own:
        pools = opened_pools(Endpoint.from_url(own.url))
        await pools.ready()
        os.kill(own.pid, signal.SIGSTOP)
        try:
            probe = asyncio.create_task(pools.ready(within_seconds=60))
            await asyncio.sleep(0)
            probe.cancel()
            with pytest.raises(asyncio.CancelledError):
                await probe
        finally:
            os.kill(own.pid, signal.SIGCONT)
