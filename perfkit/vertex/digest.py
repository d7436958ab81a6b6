"""Quantiles of a stream in bounded room: counts in logarithmic buckets."""

from __future__ import annotations

__all__ = ["Digest"]


class Digest:
    """Counts values and answers their quantiles within one percent."""

    __slots__ = ("_counts", "count", "maximum", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.maximum = 0.0

    def add(self, value: float) -> None:
        """Count a value, 0 or more."""
        raise NotImplementedError

    @property
    def mean(self) -> float:
        """Of all values, exactly; 0 without any."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """Return the value that a share of all do not exceed; 0 without any."""
        raise NotImplementedError
