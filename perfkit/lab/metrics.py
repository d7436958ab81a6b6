"""The words a trial is measured in: each metric's unit, its better end, how two arms are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from perfkit.errors import ScenarioError, did_you_mean

__all__ = ["METRICS", "Metric", "find_metric"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One number a trial gives.

    `compared_by` is `ratio` (per-round log-ratios), `difference` (per-round differences) or `tail` (a
    quantile of the pooled response times, by a bootstrap over rounds). `margin` is the change too small to
    matter: relative for ratio and tail, in the metric's own unit for difference.
    """

    name: str
    title: str
    unit: str
    goal: Literal["lower", "higher"]
    compared_by: Literal["ratio", "difference", "tail"]
    decimals: int
    summary: str
    margin: float = 0.02
    quantile: float | None = None


def _table(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


METRICS = _table(
    Metric(
        "response_mean_ms", "mean response", "ms", "lower", "ratio", 2,
        "Mean time from when a request was due to its answer.",
    ),
    Metric(
        "response_p50_ms", "median response", "ms", "lower", "tail", 3,
        "Half of the requests were answered within this.", quantile=0.5,
    ),
    Metric(
        "response_p95_ms", "p95 response", "ms", "lower", "tail", 2,
        "95 of 100 requests were answered within this.", quantile=0.95,
    ),
    Metric(
        "response_p99_ms", "p99 response", "ms", "lower", "tail", 2,
        "99 of 100 requests were answered within this.", quantile=0.99,
    ),
    Metric(
        "origin_calls_per_request", "paid calls per request", "calls", "lower", "ratio", 4,
        "How often the origin (a model, a database) had to be asked.",
    ),
    Metric(
        "redis_reads_per_request", "Redis reads per request", "reads", "lower", "ratio", 4,
        "How often the memory tier had to ask Redis.",
    ),
    Metric(
        "hit_ratio", "hit ratio", "", "higher", "difference", 4,
        "Share of requests answered without a paid call.", margin=0.005,
    ),
    Metric(
        "l1_hit_ratio", "memory hit ratio", "", "higher", "difference", 4,
        "Share of requests answered without asking Redis.", margin=0.005,
    ),
    Metric(
        "age_p95_seconds", "age of answers, p95", "s", "lower", "ratio", 1,
        "95 of 100 answers left the origin at most this long ago.",
    ),
    Metric(
        "l1_age_p95_seconds", "age in memory, p95", "s", "lower", "ratio", 1,
        "95 of 100 answers were last read from Redis at most this long ago: how long a change made by "
        "another instance may stay unseen.",
    ),
    Metric(
        "l1_peak_bytes", "peak size of the memory tier", "bytes", "lower", "ratio", 0,
        "The most bytes of values the memory tier held.",
    ),
)  # fmt: skip
"""Every metric, by name, in the order reports show them."""


def find_metric(name: str) -> Metric:
    """Return the metric of that name.

    Raises:
        ScenarioError: there is none; the message names the nearest.
    """
    if name not in METRICS:
        raise ScenarioError(f"There is no metric {name!r}.{did_you_mean(name, METRICS)}", path=name)
    return METRICS[name]
