"""Quantiles of a stream in bounded room: counts in logarithmic buckets.

A value falls into the bucket of its exponent and the first bits of its mantissa, which `math.frexp` has
ready, so that no logarithm is computed. A power of two has 64 buckets, and a quantile is told by its
bucket's middle: within one percent, whatever the values are (the idea of HdrHistogram, and of DDSketch: C.
Masson et al., VLDB 2019).
"""

from __future__ import annotations

import math

__all__ = ["Digest"]

_STEPS = 64
_SMALLEST = 1e-9


class Digest:
    """Counts values and answers their quantiles within one percent.

    >>> digest = Digest()
    >>> for milliseconds in range(1, 1_001):
    ...     digest.add(milliseconds / 1_000)
    >>> round(digest.quantile(0.95), 2), round(digest.mean, 4), digest.count
    (0.95, 0.5005, 1000)
    """

    __slots__ = ("_counts", "count", "maximum", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.maximum = 0.0

    def add(self, value: float) -> None:
        """Count a value, 0 or more."""
        self.count += 1
        self.total += value
        if value > self.maximum:
            self.maximum = value
        if value < _SMALLEST:
            bucket = -1_000_000
        else:
            mantissa, exponent = math.frexp(value)
            bucket = exponent * _STEPS + int(mantissa * 2 * _STEPS)
        counts = self._counts
        counts[bucket] = counts.get(bucket, 0) + 1

    def merge(self, other: Digest) -> None:
        """Count all that another has counted."""
        self.count += other.count
        self.total += other.total
        self.maximum = max(self.maximum, other.maximum)
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count

    @property
    def mean(self) -> float:
        """Of all values, exactly; 0 without any."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """Return the value that a share of all do not exceed; 0 without any."""
        wanted = max(1, math.ceil(share * self.count))
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= wanted:
                return min(_middle(bucket), self.maximum)
        return 0.0


def _middle(bucket: int) -> float:
    if bucket <= -1_000_000:
        return 0.0
    exponent, step = divmod(bucket - _STEPS, _STEPS)  # the mantissa is at least a half
    return math.ldexp((step + _STEPS + 0.5) / (2 * _STEPS), exponent)
