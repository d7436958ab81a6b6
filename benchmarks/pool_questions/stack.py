"""What breaker, limiter, histogram, deadlines, retries and counts cost together, on top of the transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from harness import Arm, Target, Timed, costs_table, interleaved
from perfkit.pools import Endpoint
from perfkit.pools.handshake import open_connection
from perfkit.pools.wire import MuxConnection, pack
from pool_questions.clients import CALLERS, OURS, Clients
from pool_questions.gets import KEY, VALUE, at_once

BARE = "bare connection under redis-py's commands"
RAW = "bare connection, no redis-py either"


async def cost(found: Clients, url: str, rounds: int) -> str:
    """Compare the client with the connection it stands on, 64 callers at once."""
    await found.ours.set(KEY, VALUE)
    async with _bare(url) as connection:
        gets = {
            OURS: found.ours.get,
            BARE: _BareRedis(connection).get,
            RAW: lambda key: connection.call(pack(("GET", key)), 0),
        }
        arms: dict[str, Arm] = {
            name: Timed(at_once(get, CALLERS), step=CALLERS) for name, get in gets.items()
        }
        readings = await interleaved(arms, rounds)
    targets = {BARE: Target(1.25, at_most=True)}
    return costs_table(readings, targets, unit="GET", ours_over_theirs=True)


@asynccontextmanager
async def _bare(url: str) -> AsyncIterator[MuxConnection]:
    """Yield the transport with nobody who counts, limits or watches: the one place that knows its inside."""
    loop = asyncio.get_running_loop()

    def make() -> MuxConnection:
        return MuxConnection(
            "bare", _NoLedger(), loop, on_sending=lambda: None, on_lost=lambda _connection: None
        )

    connection = await open_connection(make, Endpoint.from_url(url).connection, pool="bare", patience_s=5)
    try:
        yield connection
    finally:
        await connection.aclose()


class _NoLedger:
    def answered(self, now_s: float, runs: Sequence[Any], blaming: Sequence[int]) -> None:
        """Learn nothing."""

    def gave_up(self, generation: int, waited_s: float) -> None:
        """Learn nothing."""

    def lost(self, generations: set[int], places: int) -> None:
        """Learn nothing."""


class _BareRedis(Redis):
    """redis-py's typed commands and answers, straight on a connection."""

    def __init__(self, connection: MuxConnection) -> None:
        super().__init__()
        self._bare = connection

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        reply = await self._bare.call(pack(args), 0)
        callback = self.response_callbacks.get(args[0])
        return reply if callback is None else callback(reply, **options)
