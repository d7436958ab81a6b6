"""What the best possible schedule would have cost, knowing every arrival in advance.

Sending costs `worth_s` a request, waiting costs its seconds: the *TCP acknowledgement problem* of Dooly,
Goldman and Scott [1]. Whoever knows all arrivals sends right after one of them, so with `best[j]` for the
first j arrivals, each at t,

    best[j]  =  min over i < j of   best[i]  +  worth  +  Σ_{i<k≤j} (t_j − t_k)
                               =   (best[i] + P_i)  −  i·t_j   +   terms of j alone,          P_i = Σ_{k≤i}
                               t_k

Seen from j, each i is a straight line in t_j, and a later i is steeper downwards: once it is below an
earlier one it stays below. So every candidate is best for one interval of j, the intervals lie in the
candidates' order, and a queue of them with their beginnings is enough (Galil and Park [2]). Limits on texts
and tokens end a candidate's life at a known j, which keeps that order. O(n log n) time, O(n) room; about 1.5
µs an arrival.

[1] D. R. Dooly, S. A. Goldman, S. D. Scott: *On-line analysis of the TCP acknowledgment delay problem*. JACM
48(2), 2001.  [2] Z. Galil, K. Park: *A linear-time algorithm for concave one-dimensional dynamic
programming*. Information Processing Letters 33(6), 1990.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Optimum", "offline_optimum"]


class Optimum(NamedTuple):
    """The cheapest way to gather given callers into requests."""

    cost_s: float
    """Requests times their worth, and the waiting."""
    requests: int
    waited_s: float
    """All callers' waiting, added up."""


def offline_optimum(
    times_s: Sequence[float],
    tokens: Sequence[int] | None = None,
    *,
    worth_s: float,
    max_texts: int = 250,
    max_tokens: int = 20_000,
) -> Optimum:
    """Return the cheapest schedule for arrivals that are known in advance.

    It is a bound, not a policy: nobody knows the future. What a policy costs above it is its regret.

    >>> offline_optimum([0.0, 0.010, 5.0], worth_s=0.025)
    Optimum(cost_s=0.06, requests=2, waited_s=0.01)

    Args:
        times_s: When each caller came, ascending.
        tokens: How many tokens each brought; None where they do not matter.
        worth_s: How much waiting of one caller a saved request is worth.
        max_texts: How many share one request at the most.
        max_tokens: How many tokens do; a text above it travels alone.
    """
    number = len(times_s)
    if not number:
        return Optimum(0.0, 0, 0.0)
    origin_s = times_s[0]  # a loop's clock may be large, and its sums would lose the microseconds
    times = [at_s - origin_s for at_s in times_s]
    last_of = _lives(number, tokens, max_texts, max_tokens)
    line = [0.0] * (number + 1)  # best[i] + P_i
    came_from = [0] * (number + 1)
    candidates, begins, head = [0], [1], 0
    for j, at_s in enumerate(times, 1):
        while head + 1 < len(candidates) and begins[head + 1] <= j:
            head += 1
        i = candidates[head]
        came_from[j] = i
        line[j] = line[i] + (j - i) * at_s + worth_s
        if j < number:
            _offer(j, candidates, begins, head, line, times, last_of)
    return _schedule(times, came_from, worth_s)


def _lives(number: int, tokens: Sequence[int] | None, max_texts: int, max_tokens: int) -> list[int]:
    """Return for each i the last j that one request can reach from it."""
    if tokens is None:
        return [min(i + max_texts, number) for i in range(number)]
    reach, last_of, load = 0, [], 0
    for i in range(number):
        while reach < number and reach - i < max_texts and (load + tokens[reach] <= max_tokens or reach <= i):
            load += tokens[reach]
            reach += 1
        last_of.append(reach)
        load -= tokens[i]
    return last_of


def _offer(
    new: int,
    candidates: list[int],
    begins: list[int],
    head: int,
    line: list[float],
    times: list[float],
    last_of: list[int],
) -> None:
    """Let a new candidate take over from where it is better than the last one, or the last one's life ends."""
    while True:
        old = candidates[-1]
        crossing = (line[new] - line[old]) / (new - old)
        begin = min(bisect_left(times, crossing, new) + 1, last_of[old] + 1)
        if begin > begins[-1] or len(candidates) == head + 1:
            break
        del candidates[-1], begins[-1]
    candidates.append(new)
    begins.append(begin)


def _schedule(times: list[float], came_from: list[int], worth_s: float) -> Optimum:
    """Walk back from the end, and add up what was really spent."""
    j, requests, waited_s = len(times), 0, 0.0
    while j:
        i = came_from[j]
        waited_s += sum(times[j - 1] - at_s for at_s in times[i:j])
        requests += 1
        j = i
    return Optimum(requests * worth_s + waited_s, requests, waited_s)
