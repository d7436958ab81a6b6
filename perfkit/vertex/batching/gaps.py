"""How the gaps between callers are distributed, lately: a histogram that forgets.

Buckets are logarithmic, because a gap of 2 ms differs from one of 4 ms as one of 200 ms does from one of 400.
Their edges are the waits a policy may choose among. The first is the shortest wait there is: an event loop
rounds its timers up to whole milliseconds (asyncio's selectors take them so), so everything shorter is one
bucket. Each bucket keeps the *sum* of its gaps beside their weight, which makes the expected waiting up to an
edge exact however coarse the buckets are.

Old gaps fade: after `half_life` more of them, one counts for a half as much. Instead of making all old ones
lighter with each new one, a new one is made heavier.

Before anybody came, the histogram believes in gaps without end (`_PRIOR` of them), so the first caller is not
kept waiting for nobody.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

__all__ = ["GapHistogram"]

_RATIO: Final = 1.35
_LONGEST_S: Final = 10.0
_PRIOR: Final = 2.0
_RESCALE_ABOVE: Final = 1e12


class GapHistogram:
    """Gaps between callers in logarithmic buckets; old ones fade.

    >>> gaps = GapHistogram()
    >>> for _ in range(100):
    ...     gaps.observe(0.003)
    >>> edges, shares, parts = gaps.edges_s, *gaps.normalised()
    >>> reached = [share for edge, share in zip(edges, shares) if edge < 0.003]
    >>> sum(reached), 0.9 < sum(shares) < 1
    (0.0, True)
    """

    __slots__ = ("_growth", "_sums", "_weight", "_weights", "edges_s", "observed")

    def __init__(self, *, half_life: float = 400.0, finest_s: float = 0.001) -> None:
        """Know nothing yet.

        Args:
            half_life: After so many gaps, one counts for a half as much.
            finest_s: The shortest wait to choose; shorter gaps share one bucket.
        """
        edge_s = finest_s
        self.edges_s = [edge_s]
        """The buckets' upper edges, ascending; longer gaps are only counted in the whole."""
        while edge_s < _LONGEST_S:
            edge_s *= _RATIO
            self.edges_s.append(edge_s)
        self._weights = [0.0] * len(self.edges_s) + [_PRIOR]
        self._sums = [0.0] * len(self._weights)
        self._weight = 1.0
        self._growth = 0.5 ** (-1 / half_life)
        self.observed = 0
        """How many gaps there were."""

    def observe(self, gap_s: float) -> None:
        """Count a gap between two callers."""
        self._weight = weight = self._weight * self._growth
        bucket = bisect_left(self.edges_s, gap_s)
        self._weights[bucket] += weight
        self._sums[bucket] += weight * gap_s
        self.observed += 1
        if weight > _RESCALE_ABOVE:
            self._weights = [value / weight for value in self._weights]
            self._sums = [value / weight for value in self._sums]
            self._weight = 1.0

    def normalised(self) -> tuple[list[float], list[float]]:
        """Return for each edge the share of gaps in its bucket, and what they add to the mean gap in seconds."""
        whole = sum(self._weights)
        return [value / whole for value in self._weights[:-1]], [value / whole for value in self._sums[:-1]]
