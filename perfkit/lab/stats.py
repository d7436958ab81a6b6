"""Pure functions from arrays to estimates, intervals and verdicts.

Location: the Hodges–Lehmann estimate of per-round differences, the median of their Walsh averages, with the
interval that inverts Wilcoxon's signed-rank test exactly. It needs no normality and shrugs off the odd round
a neighbour ruined; on interleaved rounds its 95 % interval covers in 95 to 97 % of simulations
(docs/measuring.md).

Tails: a quantile of pooled response times, by a bootstrap that resamples whole rounds, the same rounds for
both arms. Requests of one round share its weather; treating them as independent misses ten times too often.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Verdict",
    "estimable",
    "hodges_lehmann",
    "rounds_needed",
    "signed_rank_interval",
    "tail_ratio_interval",
    "verdict",
]

Verdict: TypeAlias = Literal["better", "worse", "equivalent", "inconclusive"]
Floats = NDArray[np.float64]
_RESAMPLES = 1_000


def hodges_lehmann(differences: Floats) -> float:
    """Return the median of all pairwise means: where the differences are centred.

    >>> hodges_lehmann(np.array([1.0, 2.0, 3.0]))
    2.0
    """
    return float(np.median(_walsh_averages(differences)))


def signed_rank_interval(differences: Floats, confidence: float = 0.95) -> tuple[float, float] | None:
    """Return the exact signed-rank interval, or None when so few differences support none.

    Hollander, Wolfe, Chicken, *Nonparametric Statistical Methods*, 3rd ed., §3.3.

    >>> signed_rank_interval(np.array([1.0, 2, 3, 4, 5])) is None
    True
    """
    index = _critical_index(len(differences), confidence)
    if index is None:
        return None
    averages = _walsh_averages(differences)
    return float(averages[index]), float(averages[len(averages) - 1 - index])


def tail_ratio_interval(
    buckets: NDArray[np.int64],
    baseline: Floats,
    candidate: Floats,
    quantile: float,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float] | None:
    """Return the ratio of a quantile of two arms with its interval, or None when it is not estimable.

    Args:
        buckets: The logarithmic bucket of each column (`perfkit.lab.histogram`).
        baseline: Counts, one row a round.
        candidate: Counts of the same rounds.
        quantile: Between 0 and 1.
        confidence: Of the interval.
        seed: Of the resampling.
    """
    rounds = len(baseline)
    if rounds < 6 or not all(estimable(quantile, int(arm.sum())) for arm in (baseline, candidate)):
        return None
    weights = np.random.default_rng(seed).multinomial(rounds, np.full(rounds, 1 / rounds), size=_RESAMPLES)
    log_width = math.log(2) / 128

    def log_quantile(weighted: Floats) -> Floats:
        reached = np.cumsum(weighted, axis=-1)
        column = (reached < quantile * reached[..., -1:]).sum(axis=-1)
        logs: Floats = buckets[np.minimum(column, len(buckets) - 1)] * log_width
        return logs

    resampled = log_quantile(weights @ candidate) - log_quantile(weights @ baseline)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    point = log_quantile(candidate.sum(axis=0)) - log_quantile(baseline.sum(axis=0))
    return math.exp(point), math.exp(low), math.exp(high)


def estimable(quantile: float, samples: int) -> bool:
    """Tell whether so many samples support an interval of a quantile: one may lie beyond it on either side.

    >>> estimable(0.99, 367), estimable(0.99, 368)
    (False, True)
    """
    rarer = max(quantile, 1 - quantile)
    return samples >= math.ceil(math.log(0.025) / math.log(rarer))


def verdict(
    low: float | None, high: float | None, margin: float, goal: Literal["lower", "higher"]
) -> Verdict:
    """Judge an interval of a change against the margin that is too small to matter.

    No interval is no verdict: judgments fail closed.

    >>> verdict(-0.34, -0.27, 0.02, "lower"), verdict(-0.01, 0.01, 0.02, "lower")
    ('better', 'equivalent')
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "inconclusive"
    if goal == "higher":
        low, high = -high, -low
    if high < -margin:
        return "better"
    if low > margin:
        return "worse"
    return "equivalent" if low >= -margin and high <= margin else "inconclusive"


def rounds_needed(rounds: int, low: float, high: float, margin: float) -> int:
    """Return about how many rounds bring the interval down to the width of the margins."""
    return max(rounds + 1, math.ceil(rounds * ((high - low) / (2 * margin)) ** 2))


def _walsh_averages(differences: Floats) -> Floats:
    rows, columns = np.triu_indices(len(differences))
    averages: Floats = np.sort((differences[rows] + differences[columns]) / 2)
    return averages


def _critical_index(n: int, confidence: float) -> int | None:
    """The largest k with P(T+ ≤ k) ≤ α/2 under the exact null distribution of the signed-rank statistic."""
    ways = np.zeros(n * (n + 1) // 2 + 1)
    ways[0] = 1.0
    for rank in range(1, n + 1):
        ways[rank:] += ways[:-rank].copy()  # with and without this rank
    below = np.cumsum(ways) / 2.0**n
    within = np.flatnonzero(below <= (1 - confidence) / 2)
    return int(within[-1]) if len(within) else None
