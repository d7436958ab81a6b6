"""Whether a pool can serve now, asked by those who route traffic: in time, and never an error.

    asks as any caller would ──PONG──▶ ready
        │            │
        │ refused by │ anything else ──▶ no_room, closed, refused, no_answer
        │ the circuit
        ▼
    asks past the circuit ────PONG──▶ circuit_open: Redis is back, calls are let through in a moment
                     │
                     └──────────────▶ refused, no_answer

The first way is a call like any other. That matters when the circuit is open: an instance that is not ready
gets no traffic, so nobody but this question would be there to try whether Redis is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from perfkit.errors import CircuitOpen, PoolExhausted, Unavailable
from perfkit.pools.failures import PoolClosed

__all__ = ["PoolHealth", "Readiness", "Verdict", "health_of"]

Verdict: TypeAlias = Literal["ready", "circuit_open", "no_room", "closed", "refused", "no_answer"]
"""`no_room`: so many calls are under way that Redis was not asked; `refused`: it answered with an error."""


@dataclass(frozen=True, slots=True)
class PoolHealth:
    """What one pool said when it was asked whether it can serve."""

    pool: str
    verdict: Verdict
    detail: str = ""
    """Why it is not ready, for a person; empty when it is."""

    @property
    def answers(self) -> bool:
        """Whether Redis answered, be the circuit open or not."""
        return self.verdict in ("ready", "circuit_open")


@dataclass(frozen=True, slots=True)
class Readiness:
    """What several pools said.

    >>> readiness = Readiness((PoolHealth("default", "ready"), PoolHealth("cache", "no_answer", "...")))
    >>> readiness.ok, readiness.verdicts
    (False, {'default': 'ready', 'cache': 'no_answer'})
    """

    pools: tuple[PoolHealth, ...]

    @property
    def ok(self) -> bool:
        """Whether every pool that was asked is ready."""
        return all(health.verdict == "ready" for health in self.pools)

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdict by pool: the body of a readiness check, with nothing in it that is secret."""
        return {health.pool: health.verdict for health in self.pools}


async def health_of(
    pool: str,
    ask: Callable[[], Awaitable[Any]],
    ask_past_circuit: Callable[[], Awaitable[Any]],
    *,
    within_s: float,
) -> PoolHealth:
    """Ask a pool's Redis, past its open circuit if need be; any failure is a verdict, save a cancellation."""
    refusal = ""
    try:
        async with asyncio.timeout(within_s):
            try:
                await ask()
            except CircuitOpen as refused:
                refusal = str(refused)
                await ask_past_circuit()
    except TimeoutError:
        return PoolHealth(pool, "no_answer", f"No answer came within {within_s:g} s.")
    except Exception as failure:  # a credential provider may raise anything, and a readiness check nothing
        return PoolHealth(pool, _verdict(failure), str(failure) or type(failure).__name__)
    return PoolHealth(pool, "circuit_open" if refusal else "ready", refusal)


def _verdict(failure: Exception) -> Verdict:
    if isinstance(failure, PoolExhausted):
        return "no_room"
    if isinstance(failure, PoolClosed):
        return "closed"
    no_answer = type(failure) in (RedisConnectionError, RedisTimeoutError) or isinstance(failure, Unavailable)
    return "refused" if isinstance(failure, RedisError) and not no_answer else "no_answer"
