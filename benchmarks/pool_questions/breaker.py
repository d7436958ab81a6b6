"""What the circuit breaker costs: closed, for every call; open, for every refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from harness import PROCESSOR, Arm, Target, Timed, interleaved, level, shown, table, verdict
from perfkit.errors import CircuitOpen
from perfkit.events import null_probe
from perfkit.pools import Endpoint, PoolType, RedisPools
from perfkit.resilience import CircuitBreaker
from pool_questions.clients import Clients

CLOSED = "closed: admit and record"
OPEN = "open: admit refuses"
CLIENT = "open: `client.get` refuses, all of the client included"
TARGETS = {CLOSED: Target(1.5, at_most=True), OPEN: Target(10, at_most=True)}
NO_SERVER = "redis://127.0.0.1:1/0"
"""Nothing is sent to it: the breaker is opened by hand."""


async def cost(_found: Clients, _url: str, rounds: int) -> str:
    """Measure both states; it is all processor time, so that is what is judged."""
    pools = RedisPools(endpoint=Endpoint.from_url(NO_SERVER), probe=null_probe)
    client = pools.client(PoolType.DEFAULT)
    client._breaker.force_open()
    arms: dict[str, Arm] = {
        CLOSED: Timed(_closed(CircuitBreaker("bench"))),
        OPEN: Timed(_refused(CircuitBreaker("bench"))),
        CLIENT: Timed(_client_refused(client.get)),
    }
    readings = await interleaved(arms, rounds)
    await pools.aclose()
    rows = []
    for name, reading in readings.items():
        estimate = level(reading[PROCESSOR])
        target = TARGETS.get(name)
        rows.append([name, shown(estimate), str(target or ""), verdict(estimate, target)])
    return table(["breaker", "processor µs a call", "target", "met"], rows)


def _closed(breaker: CircuitBreaker) -> Callable[[int], Awaitable[int]]:
    async def work(calls: int) -> int:
        for _ in range(calls):
            breaker.record(breaker.admit(), ok=1)
        return calls

    return work


def _refused(breaker: CircuitBreaker) -> Callable[[int], Awaitable[int]]:
    breaker.force_open()

    async def work(calls: int) -> int:
        refused = 0
        for _ in range(calls):
            try:
                breaker.admit()
            except CircuitOpen:
                refused += 1
        return refused

    return work


def _client_refused(get: Callable[[str], Awaitable[object]]) -> Callable[[int], Awaitable[int]]:
    async def work(calls: int) -> int:
        refused = 0
        for _ in range(calls):
            try:
                await get("key")
            except CircuitOpen:
                refused += 1
        return refused

    return work
