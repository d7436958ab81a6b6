"""How soon an instance hears of what another has changed: by a message, and from Redis itself.

From the moment the other one begins to write until this one's listener is called. The backplane's message is
sent when the write has been acknowledged, so it takes a round trip more than the server's own word. Both
instances live in one process on one loop, each with pools of its own; one change at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np

from harness import Arm, interleaved, level, shown, table
from harness.rounds import Reading
from perfkit.cache.coherence import Backplane, Tracking
from perfkit.cache.coherence.names import Names
from perfkit.clock import epoch_s
from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolType, RedisPools
from perfkit.pools.server import RedisServer, find_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PREFIX, CHANGES, TURNS = "coherence:", 400, 1
MEDIAN, P99 = "median µs", "p99 µs"
BY_MESSAGE = "backplane: written, acknowledged, published, heard"
MESSAGE_ALONE = "backplane: published, heard"
BY_REDIS = "tracking: written, heard"
OWN = "tracking: our own write known as our own"


class _Ear:
    """Notes when it is called, and wakes who waits for it."""

    def __init__(self) -> None:
        self.at_s = 0.0
        self.called = asyncio.Event()

    def key_invalidated(self, full_key: str, at_epoch_s: float) -> None:
        self.at_s = time.perf_counter()
        self.called.set()

    def tag_invalidated(self, tag: str, at_epoch_s: float) -> None:
        """Not asked about here."""

    def missed_some(self) -> None:
        self.called.set()  # hearing begins


async def heard(rounds: int) -> str:
    """Return that table, on a server of its own."""
    if find_server() is None:
        return "No Redis server is installed, so nothing was measured."
    with RedisServer.start() as server:
        return await of_coherence(server.tcp_url, rounds)


async def of_coherence(url: str, rounds: int) -> str:
    """Return a table of how long after a foreign write the listener is called."""
    names, payload = Names(PREFIX), b"v" * 1_000
    async with AsyncExitStack() as open_things:
        here, there = [await open_things.enter_async_context(_instance(url)) for _ in range(2)]
        said, told = _Ear(), _Ear()
        backplane, speaker = Backplane(here, prefix=PREFIX), Backplane(there, prefix=PREFIX)

        known = asyncio.Event()

        async def born_of(_full_key: str) -> float | None:
            head = await here.getrange(names.entry("k"), 0, 7)
            known.set()
            return 1.0 if head else None

        tracking = Tracking(here, prefix=PREFIX, born_of=born_of)
        for each, ear in ((backplane, said), (tracking, told)):
            await each.start(ear)
            open_things.push_async_callback(each.aclose)
        async with asyncio.timeout(5.0):
            await asyncio.gather(said.called.wait(), told.called.wait())
        if tracking.fell_back:
            raise RuntimeError("The server does not track; take Redis 6 or newer, or Valkey.")

        async def write() -> None:
            await there.set(names.entry("k"), payload, px=60_000)

        async def say() -> None:
            await speaker.key_changed("k", epoch_s())

        async def write_and_say() -> None:
            await write()
            await say()

        async def write_own() -> float:
            tracking.writing("k", 1.0)
            known.clear()
            began_s = time.perf_counter()
            await here.set(names.entry("k"), payload, px=60_000)
            await known.wait()
            return time.perf_counter() - began_s

        async def own_writes() -> Reading:
            return _reading([await write_own() for _ in range(CHANGES)])

        async def forget_own() -> None:
            tracking._written.clear()  # what follows is a stranger's

        arms: dict[str, Arm] = {
            BY_MESSAGE: _heard(write_and_say, said),
            MESSAGE_ALONE: _heard(say, said),
            BY_REDIS: _heard(write, told, before=forget_own),
            OWN: own_writes,
        }
        readings = await interleaved(arms, rounds, turns=TURNS)
    rows = [
        [name, *(shown(level(reading[what])) for what in (MEDIAN, P99))] for name, reading in readings.items()
    ]
    return table(["from a change until it is heard", MEDIAN, P99], rows)


def _heard(
    change: Callable[[], Awaitable[None]], ear: _Ear, before: Callable[[], Awaitable[None]] | None = None
) -> Arm:
    async def arm() -> Reading:
        if before is not None:
            await before()
        took_s = []
        for _change in range(CHANGES):
            ear.called.clear()
            began_s = time.perf_counter()
            changing = asyncio.ensure_future(change())
            await ear.called.wait()
            took_s.append(ear.at_s - began_s)
            await changing
        await asyncio.sleep(0.005)  # what is still on its way is nobody else's
        return _reading(took_s)

    return arm


def _reading(took_s: list[float]) -> Reading:
    median, p99 = np.quantile(np.array(took_s) * 1e6, [0.5, 0.99])
    return {MEDIAN: float(median), P99: float(p99)}


@asynccontextmanager
async def _instance(url: str) -> AsyncIterator[OptimizedRedis]:
    pools = RedisPools(endpoint=Endpoint.from_url(url), probe=null_probe)
    try:
        yield pools.client(PoolType.CACHE).raising
    finally:
        await pools.aclose()
