"""Response times in logarithmic buckets: small, mergeable by adding, and exact to a quarter of a percent.

Bucket b holds responses in [2^(b/128), 2^((b+1)/128)) microseconds. Recording is one vectorised pass after a
round; nothing is computed per request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from perfkit.lab.results import Histogram

__all__ = ["as_matrix", "from_ms", "merged", "quantile_ms", "value_ms"]

_PER_DOUBLING = 128


def from_ms(samples_ms: NDArray[np.float64]) -> Histogram:
    """Return the histogram of response times in milliseconds; below a microsecond counts as one.

    >>> round(quantile_ms(from_ms(np.array([1.0, 2.0, 4.0])), 0.5), 1)
    2.0
    """
    if not len(samples_ms):
        return Histogram()
    micros = np.maximum(np.asarray(samples_ms, dtype=np.float64) * 1_000, 1.0)
    buckets, counts = np.unique(
        np.floor(np.log2(micros) * _PER_DOUBLING).astype(np.int64), return_counts=True
    )
    return Histogram(buckets=tuple(buckets.tolist()), counts=tuple(counts.tolist()))


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """Return the histogram of all samples together."""
    total: dict[int, int] = {}
    for histogram in histograms:
        for bucket, count in zip(histogram.buckets, histogram.counts, strict=True):
            total[bucket] = total.get(bucket, 0) + count
    return Histogram(buckets=tuple(sorted(total)), counts=tuple(total[bucket] for bucket in sorted(total)))


def quantile_ms(histogram: Histogram, quantile: float) -> float:
    """Return the response time in milliseconds that a share `quantile` of the samples does not exceed."""
    if not histogram.counts:
        return float("nan")
    reached = np.cumsum(histogram.counts)
    index = int(np.searchsorted(reached, quantile * reached[-1], side="left"))
    return float(value_ms(histogram.buckets[min(index, len(histogram.buckets) - 1)]))


def value_ms(bucket: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the geometric middle of a bucket in milliseconds."""
    middle: NDArray[np.float64] = np.exp2((np.asarray(bucket) + 0.5) / _PER_DOUBLING) / 1_000
    return middle


def as_matrix(*arms: Sequence[Histogram]) -> tuple[NDArray[np.int64], tuple[NDArray[np.float64], ...]]:
    """Return the buckets any arm uses, and for each arm a matrix of counts, one row a histogram."""
    buckets = sorted({bucket for arm in arms for histogram in arm for bucket in histogram.buckets})
    column = {bucket: index for index, bucket in enumerate(buckets)}
    matrices = []
    for arm in arms:
        matrix = np.zeros((len(arm), len(buckets)))
        for row, histogram in enumerate(arm):
            matrix[row, [column[bucket] for bucket in histogram.buckets]] = histogram.counts
        matrices.append(matrix)
    return np.array(buckets, dtype=np.int64), tuple(matrices)
