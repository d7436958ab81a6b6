"""What must be true once all is quiet: the counters balance, nothing is held, nothing was wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from redis.asyncio import Redis

from perfkit.pools import OptimizedRedis
from soak_parts.work import Findings

__all__ = ["COLUMNS", "quiet", "row", "violations_of", "violations_of_counters"]

COLUMNS = (
    "answers",
    "wrong",
    *("calls", "ok", "failed", "rejected", "cancelled", "missed", "timeouts", "retries"),
    *("connects", "disconnects", "circuit_opened", "loop_stalls"),
)
_HELD = ("in_flight", "waiting", "own_connections")
_ENDS = ("ok", "failed", "rejected", "cancelled")


async def quiet(clients: Mapping[str, OptimizedRedis], within_s: float = 30.0) -> None:
    """Return once nothing is under way any more, or when the time is up; the books tell."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + within_s
    while loop.time() < until_s:
        if not any(any(_held(client)) for client in clients.values()):
            return
        await asyncio.sleep(0.01)


def row(client: OptimizedRedis, found: Findings) -> list[str]:
    """Return a client's line of the table."""
    values = {**client.metrics, "answers": found.answers, "wrong": len(found.wrong)}
    return [f"{values[name]:,}" for name in COLUMNS]


def violations_of(name: str, client: OptimizedRedis, found: Findings) -> Iterator[str]:
    """Yield what a client broke of its promises."""
    metrics = client.metrics
    ends = sum(int(metrics[end]) for end in _ENDS)
    if metrics["calls"] != ends:
        yield f"{name}: {metrics['calls']} calls, but {ends} ends"
    for held, count in zip(_HELD, _held(client), strict=True):
        if count:
            yield f"{name}: {held} is {count} with nobody there"
    if found.overheard:
        yield f"{name}: {found.overheard} cancellations were swallowed"
    yield from (f"{name}: wrong reply: {wrong}" for wrong in found.wrong)
    yield from (f"{name}: unexpected error: {what}" for what in found.unexpected)


async def violations_of_counters(admin: Redis, found: Findings) -> list[str]:
    """Return which counters stand below what was confirmed or above what was asked."""
    broken = []
    for counter, asked in found.asked.items():
        count, confirmed = int(await admin.get(counter) or 0), found.confirmed[counter]
        if not confirmed <= count <= asked:
            broken.append(f"{counter} stands at {count}: confirmed {confirmed}, asked {asked}")
    return broken


def _held(client: OptimizedRedis) -> list[int]:
    metrics = client.metrics
    return [int(metrics[name]) for name in _HELD]
