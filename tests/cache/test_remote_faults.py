"""The remote tier through faults: nothing is raised, nothing wrong is read, and what is amiss is counted."""

from __future__ import annotations

import asyncio
import random
import struct
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from perfkit.cache.codecs import GENERAL
from perfkit.cache.envelope import Envelope, pack
from perfkit.cache.remote import RemoteTier, Stored
from perfkit.clock import epoch_s
from perfkit.events import null_probe
from perfkit.pools import Endpoint, PoolsSettings, PoolType, RedisPools
from perfkit.pools.server import RedisServer, find_server
from perfkit.pools.settings import PoolSettings
from tests.pools.waiting import until

NOW_S = 1_767_225_600.0
TIMEOUT_S = 0.2


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of one test's own, which may do to it what it likes."""
    if find_server() is None:
        pytest.skip("no Redis server to start; install perfkit[server]")
    with RedisServer.start() as started:
        yield started


@pytest.fixture
async def tier(server: RedisServer) -> AsyncIterator[RemoteTier]:
    """A tier over the client a service has, which gives up soon."""
    quick = PoolSettings(command_timeout_seconds=TIMEOUT_S, connect_timeout_seconds=TIMEOUT_S)
    endpoint = Endpoint.from_url(server.tcp_url)
    pools = RedisPools(PoolsSettings(cache=quick), endpoint, probe=null_probe)
    yield RemoteTier(pools.client(PoolType.CACHE).raising, prefix="t:", probe=null_probe)
    await pools.aclose()


async def put(tier: RemoteTier, key: str, value: object, *, ago_s: float = 0.0) -> bool:
    return await tier.set(key, value, ttl_seconds=600, born_epoch_s=epoch_s() - ago_s)


async def works_again(tier: RemoteTier) -> None:
    """Wait until the breaker has let go."""
    await until(lambda: put(tier, "probe", 1), within_s=20)


async def test_a_stalled_server_costs_the_clients_timeouts_and_no_more(
    server: RedisServer, tier: RemoteTier
) -> None:
    """Each operation ends as if Redis were empty; once it goes on, so does the tier."""
    await put(tier, "k", "v")
    server.stall()
    began_s = time.monotonic()
    answers = [
        *(await tier.get("k"), await tier.get_many(["k", "l"])),
        *(await put(tier, "k", "w"), await tier.invalidate("k", at_epoch_s=epoch_s())),
    ]
    took_s = time.monotonic() - began_s
    server.resume()
    await works_again(tier)

    assert answers == [None, {}, False, False]
    assert took_s < 4 * 4 * TIMEOUT_S + 1  # a read is tried twice, each time after connecting
    assert tier.counts.failures >= 4


async def test_a_write_that_was_given_up_and_arrives_late_brings_nothing_back(
    server: RedisServer, tier: RemoteTier
) -> None:
    """It lay in the stalled server's socket; the invalidation came another way and was acknowledged first."""
    await works_again(tier)
    server.stall()
    given_up = await put(tier, "k", "old", ago_s=5)
    server.resume()
    async with Redis.from_url(server.tcp_url) as other:
        invalidated = await RemoteTier(other, prefix="t:").invalidate("k", at_epoch_s=epoch_s())
        await works_again(tier)  # its connection is in order again, so whatever lay there was read
        found = await RemoteTier(other, prefix="t:").get("k")

    assert (given_up, invalidated, found) == (False, True, None)


async def test_after_a_restart_the_script_is_sent_again_and_nothing_has_failed_for_want_of_it(
    server: RedisServer, tier: RemoteTier
) -> None:
    """A new process knows no script."""
    await put(tier, "k", "new")
    server.restart()
    await works_again(tier)
    stored = [await put(tier, "k", "new"), await put(tier, "k", "old", ago_s=60)]

    assert stored == [True, False]


def _key_of(stored: Stored) -> object:
    assert isinstance(stored.value, list)
    return stored.value[0]


async def played(tier: RemoteTier, ends: asyncio.Event, seed: int, wrong: list[object]) -> int:
    """Read and write at random until the end; note what was read under a key and never put there."""
    rng, asked = random.Random(seed), 0  # noqa: S311  # traffic, not a secret
    while not ends.is_set():
        key = f"k{rng.randrange(8)}"
        match rng.randrange(4):
            case 0:
                await put(tier, key, [key, rng.randbytes(rng.choice([10, 3_000])).hex()])
            case 1:
                await tier.invalidate(key, at_epoch_s=epoch_s())
            case 2:
                stored, asked = await tier.get(key), asked + 1
                wrong += [] if stored is None or _key_of(stored) == key else [(key, stored)]
            case _:
                found, asked = await tier.get_many(["k1", "k2", "k1"]), asked + 2
                wrong += [(key, one) for key, one in found.items() if _key_of(one) != key]
        await asyncio.sleep(0)
    return asked


@pytest.mark.parametrize("trouble", ["flush", "kill", "stall"])
async def test_in_the_middle_of_traffic(server: RedisServer, tier: RemoteTier, trouble: str) -> None:
    """Every look-up is a hit or a miss, each hit is what was put under its key, and service goes on."""
    ends, wrong = asyncio.Event(), list[object]()
    players = [asyncio.create_task(played(tier, ends, seed, wrong)) for seed in range(8)]
    async with asyncio.timeout(60):
        for _ in range(3):
            await asyncio.sleep(0.1)
            if trouble == "flush":
                async with Redis.from_url(server.url) as other:
                    await other.flushall()
            elif trouble == "kill":
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.restart)
            else:
                server.stall()
                await asyncio.sleep(2 * TIMEOUT_S)
                server.resume()
        await works_again(tier)
        ends.set()
        asked = sum(await asyncio.gather(*players))
    counts = tier.counts

    assert wrong == []
    assert counts.hits + counts.misses == asked
    assert counts.hits > 0
    assert (counts.torn, counts.refused) == (0, 0)
    assert (counts.failures == 0) is (trouble == "flush")


class Dictionary:
    """A Redis that holds whatever a test has put there."""

    def __init__(self, held: object) -> None:
        self.held = held

    async def get(self, _name: bytes) -> object:
        return self.held

    async def mget(self, names: list[bytes]) -> list[object]:
        return [self.held for _ in names]

    async def set(self, _name: bytes, _value: bytes, *, px: int) -> int:
        return px

    async def evalsha(self, *_: object) -> int:
        return 1


VALUE = {"rows": [{"name": f"row {n}", "pair": (n, b"x")} for n in range(9)]}
KIND, _, PAYLOAD = GENERAL.encode(VALUE)
WHOLE = pack(Envelope(KIND, b"-", NOW_S, NOW_S + 60, PAYLOAD, NOW_S + 60, tags=("a", "b")))


def damaged(edits: list[tuple[str, int, bytes]]) -> bytes:
    data = bytearray(WHOLE)
    for how, place, piece in edits:
        at = place % (len(data) + 1)
        if how == "cut":
            del data[at:]
        elif how == "overwrite":
            data[at : at + len(piece)] = piece
        else:
            data[at:at] = piece
    return bytes(data)


def resealed(packed: bytes) -> bytes:
    """With the checksum of whoever meant to write this."""
    rest = packed[40:]
    return packed[:36] + struct.pack(">I", zlib.crc32(packed[:36] + rest)) + rest


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["cut", "overwrite", "insert"]),
        st.integers(0, 1_000),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=3,
)


@given(EDITS, st.booleans())
@example([("overwrite", 4, b"z")], True)
@example([("overwrite", 4, b"b")], True)
@example([("overwrite", 3, b"X")], True)
@example([("overwrite", 2, b"\x03")], True)
@settings(deadline=None, max_examples=300)
def test_damaged_bytes_are_the_value_or_a_miss_that_is_counted(
    edits: list[tuple[str, int, bytes]], seal: bool
) -> None:
    """By chance the checksum refuses them; behind a checksum that was made for them, everything else does."""
    packed = resealed(damaged(edits)) if seal else damaged(edits)
    asyncio.run(looked_up(packed, expected=None if seal else VALUE))


@given(
    st.none()
    | st.integers()
    | st.text()
    | st.binary(max_size=300)
    | st.binary(max_size=200).map(lambda rest: resealed(b"pk\x02J-" + bytes(40) + rest))
)
@settings(deadline=None)
def test_alien_values_are_a_miss_that_is_counted(held: object) -> None:
    """Of another service, or through a client that decodes its answers."""
    asyncio.run(looked_up(held, expected=None))


async def looked_up(held: object, *, expected: object) -> None:
    tier = RemoteTier(Dictionary(held), prefix="t:", epoch=lambda: NOW_S, probe=null_probe)  # type: ignore[arg-type]
    stored: Any = await tier.get("k")
    many = await tier.get_many(["k"])
    counts = tier.counts

    assert (stored is None) is (many == {})
    assert counts.hits + counts.misses == 2
    assert counts.torn + counts.drifted <= counts.misses
    if stored is not None and expected is not None:
        assert repr(stored.value) == repr(expected)
    if stored is None and expected is not None:
        assert counts.torn == 2
