"""The imitated outside keeps the loop's time: round trips, expiries and paid calls last as they are told."""

import asyncio

import pytest

from perfkit.lab.scenario import World
from perfkit.lab.traffic import Fault
from perfkit.lab.virtual import run_virtual
from perfkit.lab.world import ImitatedOrigin, SimulatedFaults, simulated_endpoint
from perfkit.pools import PoolType, RedisPools


def test_a_key_expires_when_its_virtual_time_is_up() -> None:
    """fakeredis judges expiry by a clock of its own, exchanged by private names that are watched here."""

    async def live_and_die() -> list[bytes | None]:
        pools = RedisPools(endpoint=simulated_endpoint(1.0))
        client = pools.client(PoolType.DEFAULT)
        try:
            await client.set("key", b"value", ex=10)
            found = []
            for wait_s in (9, 2):
                await asyncio.sleep(wait_s)
                found.append(await client.get("key"))
            return found
        finally:
            await pools.aclose()

    assert run_virtual(live_and_die()) == [b"value", None]


@pytest.mark.parametrize("redis_ms", [0.6, 50.0])
def test_a_round_trip_takes_as_long_as_the_scenario_says(redis_ms: float) -> None:
    async def asked() -> float:
        pools = RedisPools(endpoint=simulated_endpoint(redis_ms))
        client = pools.client(PoolType.DEFAULT)
        try:
            await client.ping()  # opens the connection, which has round trips of its own
            began_s = asyncio.get_running_loop().time()
            await client.ping()
            return asyncio.get_running_loop().time() - began_s
        finally:
            await pools.aclose()

    assert run_virtual(asked()) == pytest.approx(redis_ms / 1_000, abs=1e-6)


def test_a_struck_stand_in_answers_when_the_fault_is_over() -> None:
    """A stall keeps the reply back for as long as it lasts, and loses nothing."""

    async def asked() -> tuple[float, bytes | None]:
        faults = SimulatedFaults()
        pools = RedisPools(endpoint=simulated_endpoint(1.0, faults))
        client = pools.client(PoolType.DEFAULT)
        try:
            await client.set("key", b"value")
            began_s = asyncio.get_running_loop().time()
            stall = asyncio.create_task(faults.strike(Fault(kind="stall", at_s=0, seconds=0.3)))
            await asyncio.sleep(0)
            value = await client.get("key")
            await stall
            return asyncio.get_running_loop().time() - began_s, value
        finally:
            await pools.aclose()

    taken_s, value = run_virtual(asked())
    assert taken_s == pytest.approx(0.3, abs=0.002)
    assert value == b"value"


def test_a_paid_call_s_luck_hangs_on_seed_key_and_number_alone() -> None:
    """Every arm of a comparison meets the same calls, whatever it asks between them."""

    async def times(keys: str, seed: int) -> dict[tuple[str, int], float]:
        origin = ImitatedOrigin(World(origin_ms=20.0, origin_sigma=0.4), seed)
        loop = asyncio.get_running_loop()
        taken: dict[tuple[str, int], float] = {}
        for key in keys:
            began_s = loop.time()
            await origin(key)
            number = sum(seen == key for seen, _number in taken)
            taken[key, number] = round(loop.time() - began_s, 9)
        return taken

    some, more = run_virtual(times("aab", 1)), run_virtual(times("bcaacb", 1))

    assert some.items() <= more.items()
    assert len(set(more.values())) == len(more)
    assert run_virtual(times("aab", 2)) != some
