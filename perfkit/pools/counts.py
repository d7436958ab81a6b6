"""What a pool has done, in plain integers: counted where it happens, read when somebody asks.

An instrument of a metrics library costs more than a command does. So nothing here calls one: the hot path
adds to integers, and `perfkit.pools.metrics` turns them into Prometheus or OpenTelemetry at scrape time.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

__all__ = ["BOUNDS_S", "PoolCounts"]

BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the duration buckets in seconds, those of OpenTelemetry's database conventions."""


@dataclass(slots=True)
class PoolCounts:
    """One pool's totals since it was made.

    Every call ends once: `calls == ok + failed + rejected + cancelled` when nothing is under way.

    >>> counts = PoolCounts()
    >>> counts.observe(0.0003, calls=2)
    >>> counts.durations[:4], counts.duration_sum_s
    ([0, 0, 2, 0], 0.0006)
    """

    calls: int = 0
    """Commands asked for; one chunk of a batch is one, and so is each command of a pipeline."""
    ok: int = 0
    failed: int = 0
    """Redis refused it, was away or too late."""
    rejected_breaker_open: int = 0
    """Not sent, to spare the server."""
    rejected_limit: int = 0
    """Not sent: there was no room in time, among the calls under way or for a connection of its own."""
    rejected_closed: int = 0
    """Not sent: the pool had been closed."""
    cancelled: int = 0
    """The caller left."""
    missed: int = 0
    """Those of `failed` and `rejected` that were answered as an empty Redis would."""
    timeouts: int = 0
    """Those of `failed` that were too late."""
    retries: int = 0
    connects: int = 0
    """Connections opened."""
    disconnects: int = 0
    """Connections lost, not counting those we closed."""
    transitions: dict[tuple[str, str], int] = field(default_factory=dict)
    """How often the breaker went from one state to another."""
    durations: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    """Replies by their time from sent to answered; the last is what took longer than the last bound."""
    duration_sum_s: float = 0.0

    def observe(self, seconds: float, calls: int = 1) -> None:
        """Count replies that took so long."""
        self.durations[bisect_left(BOUNDS_S, seconds)] += calls
        self.duration_sum_s += seconds * calls

    @property
    def rejected(self) -> int:
        """Calls that were not sent, whatever the reason."""
        return self.rejected_breaker_open + self.rejected_limit + self.rejected_closed

    @property
    def under_way(self) -> int:
        """Calls that have not ended yet."""
        return self.calls - self.ok - self.failed - self.rejected - self.cancelled
