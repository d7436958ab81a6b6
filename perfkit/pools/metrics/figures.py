"""What is told of a pool, once for every exporter: name, kind, unit, words, and where the number is read.

Names and kinds under `db.client` are those of OpenTelemetry's conventions for databases; what they have no
name for is under `perfkit.redis`. Ratios are left to whoever reads: two counters give them over any span.

A scrape runs in a thread of its own. It copies what it reads and changes nothing, so it needs no lock: each
number is right for its moment, and together they may be a few commands apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeAlias, TypeVar, get_args

from perfkit.pools.counts import BOUNDS_S
from perfkit.resilience import BreakerState

if TYPE_CHECKING:
    from perfkit.pools.pools import RedisPools

__all__ = ["DURATION", "FIGURES", "Figure", "Kind", "Reading", "Sample", "readings"]

ReadT = TypeVar("ReadT")
Kind: TypeAlias = Literal["counter", "updown", "gauge"]
Sample: TypeAlias = tuple[tuple[str, ...], float]

DURATION: Final = "db.client.operation.duration"
"""A histogram, which each exporter writes in its own way."""

_STATE: Final = "db.client.connection.state"


@dataclass(frozen=True, slots=True)
class Reading:
    """One pool at one moment."""

    pool: str
    values: Mapping[str, str | int | float]
    """As `OptimizedRedis.metrics`."""
    transitions: Mapping[tuple[str, str], int]
    durations: tuple[int, ...]
    """Replies in each bucket, not in it and those below."""
    duration_sum_s: float

    def number(self, name: str) -> float:
        """Return one of the values that are numbers."""
        return float(self.values[name])

    def up_to_bounds(self) -> Iterator[tuple[str, int]]:
        """Yield each bound in seconds, the last without end, with how many replies took no longer."""
        total = 0
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), self.durations, strict=True):
            total += count
            yield bound, total


@dataclass(frozen=True, slots=True)
class Figure(Generic[ReadT]):
    """One number of what is read (here a pool), or one for each value of its attributes."""

    name: str
    kind: Kind
    unit: str
    """As UCUM writes it; braces hold what is counted."""
    summary: str
    read: Callable[[ReadT], Iterable[Sample]]
    attributes: tuple[str, ...] = ()


def readings(pools: RedisPools) -> Iterator[Reading]:
    """Read every pool that has been opened."""
    for client in pools.clients.values():
        counts = client.counts
        yield Reading(
            pool=str(client.metrics["pool"]),
            values=client.metrics,
            transitions=dict(counts.transitions),
            durations=tuple(counts.durations),
            duration_sum_s=counts.duration_sum_s,
        )


def _one(name: str) -> Callable[[Reading], Iterable[Sample]]:
    return lambda reading: [((), reading.number(name))]


def _each(**names: str) -> Callable[[Reading], Iterable[Sample]]:
    return lambda reading: [((label,), reading.number(name)) for label, name in names.items()]


def _states(reading: Reading) -> Iterable[Sample]:
    now = reading.values["circuit_state"]
    return [((state,), float(state == now)) for state in get_args(BreakerState)]


FIGURES: Final[tuple[Figure[Reading], ...]] = (
    Figure(
        "perfkit.redis.calls",
        "counter",
        "{call}",
        "Calls that ended, by how: ok, failed, rejected, cancelled.",
        _each(ok="ok", failed="failed", rejected="rejected", cancelled="cancelled"),
        ("outcome",),
    ),
    Figure(
        "perfkit.redis.under_way",
        "updown",
        "{call}",
        "Calls that have not ended: in line, sent, or waiting to be tried again.",
        _one("under_way"),
    ),
    Figure(
        "perfkit.redis.rejected",
        "counter",
        "{call}",
        "Calls that were not sent: breaker_open, limit (no room in time), closed (the pool was).",
        _each(breaker_open="rejected_breaker_open", limit="rejected_limit", closed="rejected_closed"),
        ("reason",),
    ),
    Figure(
        "perfkit.redis.missed",
        "counter",
        "{call}",
        "Calls among the failed and rejected that got the answer of an empty Redis.",
        _one("missed"),
    ),
    Figure(
        "perfkit.redis.timeouts",
        "counter",
        "{call}",
        "Calls among the failed whose answer was not there in time.",
        _one("timeouts"),
    ),
    Figure(
        "perfkit.redis.retries",
        "counter",
        "{retry}",
        "Retries: sent, or denied for want of budget.",
        _each(sent="retries", denied="retries_denied"),
        ("outcome",),
    ),
    Figure(
        "perfkit.redis.in_flight",
        "updown",
        "{call}",
        "Calls that hold a place of the limit.",
        _one("in_flight"),
    ),
    Figure(
        "perfkit.redis.limit",
        "gauge",
        "{call}",
        "How many calls may hold a place, as the adaptive limit estimates it.",
        _one("limit"),
    ),
    Figure(
        "perfkit.redis.waits",
        "counter",
        "{call}",
        "Calls that had to stand in line.",
        _one("waits"),
    ),
    Figure(
        "perfkit.redis.breaker.state",
        "gauge",
        "1",
        "1 for the state the circuit breaker is in, 0 for the others.",
        _states,
        ("state",),
    ),
    Figure(
        "perfkit.redis.breaker.transitions",
        "counter",
        "{transition}",
        "How often the circuit breaker went from one state to another.",
        lambda reading: reading.transitions.items(),
        ("from", "to"),
    ),
    Figure(
        "perfkit.redis.connections.opened",
        "counter",
        "{connection}",
        "Shared connections that were opened.",
        _one("connects"),
    ),
    Figure(
        "perfkit.redis.connections.lost",
        "counter",
        "{connection}",
        "Shared connections that went without our closing them.",
        _one("disconnects"),
    ),
    Figure(
        "perfkit.redis.loop_stalls",
        "counter",
        "{stall}",
        "How often this process's event loop was late, so that Redis was not blamed for it.",
        _one("loop_stalls"),
    ),
    Figure(
        "db.client.connection.count",
        "updown",
        "{connection}",
        "Open connections: used (lent, or with a call on them) or idle.",
        _each(used="connections_used", idle="connections_idle"),
        (_STATE,),
    ),
    Figure(
        "db.client.connection.max",
        "updown",
        "{connection}",
        "How many connections the pool may open.",
        _one("connections_max"),
    ),
    Figure(
        "db.client.connection.pending_requests",
        "updown",
        "{request}",
        "Callers that stand in line now.",
        _one("waiting"),
    ),
    Figure(
        "db.client.connection.timeouts",
        "counter",
        "{timeout}",
        "Callers that stood in line in vain.",
        _one("refusals"),
    ),
)
"""Everything but the durations."""
