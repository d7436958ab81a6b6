"""Waiting in line, in closed form: how long a call stands before it has a connection, and how often in vain.

Calls arrive at random, `rate` a second, and each holds one of c connections for its service time: the round
trip and what the command itself takes. The share that finds all of them taken is Erlang's C [1]. A service
time that is always the same halves the wait of an exponential one (Allen and Cunneen's factor (1 + cv²)/2
[2]), and the wait of those who wait is close to exponential. A caller whose patience ends first is refused;
what it would have added to the line is not taken away from it, so the refusals of a busy pool are slightly
too many. With more offered than c connections can serve, the line is always as long as patience allows.

[1] A. K. Erlang, *Solution of some problems in the theory of probabilities*, 1917.
[2] A. O. Allen, *Probability, Statistics, and Queueing Theory*, 2nd ed., 1990, §5.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Queue", "erlang_c", "most_at_once", "quantile_s"]

_LONGEST_S = 3_600.0
_LONGEST_LINE = 100_000
_HALVINGS = 50


def erlang_c(servers: int, offered: float) -> float:
    """Return the share of arrivals that must wait, for an offered load in servers' worth of work.

    Computed by the recursion of Erlang's B, which neither overflows nor cancels.

    >>> round(erlang_c(1, 0.8), 3), round(erlang_c(8, 6.0), 3)
    (0.8, 0.357)
    """
    if offered >= servers:
        return 1.0
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


@dataclass(frozen=True, slots=True)
class Queue:
    """Callers in front of `servers` equal servers that each take `service_s`, for `patience_s` at most.

    >>> busy = Queue(rate_per_s=750, service_s=0.001, servers=1, patience_s=math.inf)
    >>> round(busy.mean_wait_s * 1_000, 2)
    1.5
    >>> round(Queue(rate_per_s=3_000, service_s=0.001, servers=2, patience_s=0.1).refused, 2)
    0.33
    """

    rate_per_s: float
    service_s: float
    servers: int
    patience_s: float

    @property
    def offered(self) -> float:
        """The work that arrives in a second, in servers' worth."""
        return self.rate_per_s * self.service_s

    @property
    def overflows(self) -> bool:
        """Whether more arrives than can be served."""
        return self.offered >= self.servers

    @property
    def refused(self) -> float:
        """The share of callers whose patience ends before they are served."""
        if self.overflows:
            return 1 - self.servers / self.offered
        return self._waiting * math.exp(-self._thinning_per_s * self.patience_s)

    @property
    def mean_wait_s(self) -> float:
        """How long those who are served stood in line on average."""
        if self.overflows:
            return self.patience_s
        served = 1 - self.refused
        pace, patience_s = self._thinning_per_s, self.patience_s
        if math.isinf(patience_s):
            return self._waiting / pace
        left = math.exp(-pace * patience_s)
        return self._waiting * ((1 - left) / pace - patience_s * left) / served

    def beyond(self, wait_s: float) -> float:
        """The share of those who are served that stood in line for longer than that."""
        if wait_s >= self.patience_s:
            return 0.0
        if self.overflows:
            return 1.0
        late = self._waiting * math.exp(-self._thinning_per_s * wait_s)
        return max(late - self.refused, 0.0) / (1 - self.refused)

    @property
    def _waiting(self) -> float:
        return erlang_c(self.servers, self.offered)

    @property
    def _thinning_per_s(self) -> float:
        """How fast the wait of those who wait thins out: twice M/M/c's, as the service time is constant."""
        return 2 * (self.servers / self.service_s - self.rate_per_s)


def quantile_s(queues: Sequence[tuple[float, Queue]], quantile: float) -> float:
    """Return what a share `quantile` of the served waits at most, over queues that get shares of all calls.

    >>> busy = Queue(rate_per_s=750, service_s=0.001, servers=1, patience_s=math.inf)
    >>> round(quantile_s([(1.0, busy)], 0.95) * 1_000, 2), quantile_s([(1.0, busy)], 0.2)
    (5.42, 0.0)
    """
    total = sum(share for share, _queue in queues)

    def beyond(wait_s: float) -> float:
        return sum(share * queue.beyond(wait_s) for share, queue in queues) / total

    if beyond(0.0) <= 1 - quantile:
        return 0.0
    low, high = 0.0, 1e-6
    while beyond(high) > 1 - quantile and high < _LONGEST_S:
        low, high = high, high * 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) > 1 - quantile else (low, middle)
    return high


def most_at_once(offered: float, *, calls: int = 10_000) -> int:
    """Return how many of so many calls are under way at once at the most, where each has all it needs.

    The number under way is Poisson about the offered load; this is its quantile 1 − 1/calls.

    >>> most_at_once(0.1), most_at_once(8.0)
    (3, 20)
    """
    term = reached = math.exp(-offered)
    number = 0
    while reached < 1 - 1 / calls and number < _LONGEST_LINE:
        number += 1
        term *= offered / number
        reached += term
    return max(number, 1)
