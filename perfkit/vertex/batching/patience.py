"""How long so many callers should bear a silence, if gaps are as they have been: a Markov decision, solved.

With n callers waiting, the next comes after a gap G. Whoever is patient for u pays n·min(G, u) of waiting,
and if the next caller comes in time, saves a request. Let h(n) be the cost from here on with n waiting
(against the average, g an arrival). Sending now costs K, a request, and the next caller finds an empty
queue:

    send:    h(n) = K − g + h(1)
    wait u:  h(n) = h(send) − { P(G ≤ u) · [K + h(1) − h(n+1)] − n·E min(G, u) }

So with gain(n) the best value of the braces, over all u, and 0 for u = 0,

    gain(n) = max_u  P(G ≤ u) · (g + gain(n+1)) − n·E min(G, u),              g = K − gain(1)

What one more caller is worth is not the whole request K: he saves it only against the average cost of an
arrival, g, which falls as traffic grows, plus what his own successors will be worth. From an n that waits
for nobody, one sweep downwards gives all gains for a given g; how fast gain(1) changes with g is the
expected number of callers to come, which the sweep yields as well, so Newton's step on g = K − gain(1) is
free. That is policy iteration (R. A. Howard: *Dynamic Programming and Markov Processes*, 1960; for renewal
rewards, S. M. Ross: *Applied Probability Models*, ch. 7). gain(1) is convex in g, so the steps converge from
one side, and as each sweep begins where the last ended, one is enough.

For Poisson arrivals at rate λ it reproduces the textbook: gaps have no memory, so either wait for all comers
or for none, and send at the smallest n with n(n+1) ≥ 2λK (economic order quantity).
"""

from __future__ import annotations

from typing import Final

from perfkit.vertex.batching.gaps import GapHistogram

__all__ = ["Patience"]

_BEYOND: Final = 3
"""How many more callers than last time the sweep looks at, so that the table can grow."""
_MOST_CALLERS: Final = 250


class Patience:
    """For each number of callers, how long a silence is worth bearing.

    >>> gaps = GapHistogram()
    >>> for _ in range(500):
    ...     gaps.observe(0.002)
    >>> patience = Patience(worth_s=0.025)
    >>> for _ in range(5):
    ...     patience.solve(gaps)
    >>> [round(silence_s, 4) for silence_s in patience.silences_s[1:]]
    [0.0025, 0.0025, 0.0025, 0.0025]
    """

    __slots__ = ("cost_s", "silences_s", "worth_s")

    def __init__(self, worth_s: float) -> None:
        """Take how many seconds of one caller's waiting a request is worth."""
        self.worth_s = worth_s
        self.cost_s = worth_s
        """The average cost of an arrival, as far as it is known."""
        self.silences_s: list[float] = [0.0, 0.0]
        """By the number of callers; beyond its end nobody is waited for."""

    def solve(self, gaps: GapHistogram) -> None:
        """Take one step towards the best table for these gaps."""
        edges_s = gaps.edges_s
        shares, parts = gaps.normalised()
        worth_s, cost_s = self.worth_s, self.cost_s
        most = min(_MOST_CALLERS, len(self.silences_s) + _BEYOND)
        silences_s = [0.0] * (most + 1)
        gain = expected = 0.0
        longest = 1
        for callers in range(most, 0, -1):
            value = cost_s + gain
            best = silence_s = reached = come = waited_s = 0.0
            for edge_s, share, part in zip(edges_s, shares, parts, strict=True):
                come += share
                waited_s += part
                price_s = callers * (waited_s + edge_s * (1.0 - come))
                net = come * value - price_s
                if net > best:
                    best, silence_s, reached = net, edge_s, come
                if value - price_s <= best:  # the price only rises, so no longer wait is better
                    break
            gain, expected = best, reached * (1.0 + expected)
            silences_s[callers] = silence_s
            if silence_s and callers > longest:
                longest = callers
        self.cost_s = min(worth_s, max(worth_s * 1e-3, cost_s + (worth_s - gain - cost_s) / (1.0 + expected)))
        self.silences_s = silences_s[: longest + 1]
