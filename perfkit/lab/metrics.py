"""The words a trial is measured in: each metric's unit, its better end, how two arms are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from perfkit.errors import ScenarioError, did_you_mean

__all__ = ["METRICS", "Metric", "find_metric", "pooled_levels"]


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
        "stale_share", "answers past their end", "", "lower", "difference", 4,
        "Share of requests answered with what was past its end.", margin=0.002,
    ),
    Metric(
        "prefetch_used_share", "fetches beforehand that were of use", "", "higher", "difference", 3,
        "Share of what was fetched before anybody asked that somebody then asked for.", margin=0.02,
    ),
    Metric(
        "sampling_error", "error of sampling", "", "lower", "difference", 4,
        "Half the width of the 95 % interval of the modelled hit ratios where samples stand for the whole.",
    ),
    Metric(
        "l1_peak_bytes", "peak size of the memory tier", "bytes", "lower", "ratio", 0,
        "The most bytes of values the memory tier of one instance held.",
    ),
    Metric(
        "failed_share", "share of calls that failed", "", "lower", "difference", 4,
        "Share of calls that Redis gave no answer to, refused ones included.",
        margin=0.002,
    ),
    Metric(
        "rejected_share", "share of calls refused", "", "lower", "difference", 4,
        "Share of calls that were refused before anything was sent: no room, or the breaker was open.",
        margin=0.002,
    ),
    Metric(
        "connections", "connections", "", "lower", "ratio", 0,
        "The most connections one instance had open to Redis at once.",
    ),
    Metric(
        "analytics_per_s", "analytics reads per second", "reads/s", "higher", "ratio", 1,
        "How many large reads the analytics tasks beside the traffic got done.",
    ),
    Metric(
        "detection_ms", "time until a fault is noticed", "ms", "lower", "difference", 0,
        "From a fault's beginning until calls are refused at once instead of waiting in vain; all of its "
        "length when that never happened.", margin=10.0,
    ),
    Metric(
        "recovery_ms", "time until recovery", "ms", "lower", "difference", 0,
        "From a fault's end until the last call that still failed was due.", margin=10.0,
    ),
    Metric(
        "bytes_per_response", "bytes on the wire per response", "bytes", "lower", "ratio", 0,
        "What a client received for a request on average, the head included.",
    ),
    Metric(
        "server_cpu_ms_per_request", "processor time per request", "ms", "lower", "ratio", 3,
        "Processor time of the service's process, all threads, shared out over its requests.",
    ),
    Metric(
        "dollars_per_million", "price of a million requests", "$", "lower", "ratio", 3,
        "Processor time and bytes on the wire at the scenario's prices.",
    ),
    Metric(
        "server_peak_bytes", "peak size of the service", "bytes", "lower", "ratio", 0,
        "The most memory the service's process held since it started.",
    ),
    Metric(
        "added_wait_mean_ms", "mean added wait", "ms", "lower", "difference", 2,
        "How long a text waited on average, for company or for quota, before its request was sent.",
        margin=0.5,
    ),
    Metric(
        "added_wait_p95_ms", "added wait, p95", "ms", "lower", "difference", 2,
        "95 of 100 texts waited at most this long before their request was sent.", margin=1.0,
    ),
    Metric(
        "requests_per_text", "requests per text", "requests", "lower", "ratio", 4,
        "How many requests a text took on average, refused and repeated ones included.",
    ),
    Metric(
        "cost_vs_offline", "cost against the best possible", "times", "lower", "ratio", 3,
        "Waiting and requests, each request at its worth, over those of the best schedule there is for "
        "somebody who knows all arrivals in advance, quotas aside.",
    ),
    Metric(
        "in_deadline_share", "share of calls in time", "", "higher", "difference", 4,
        "Share of calls that were answered before their deadline.", margin=0.001,
    ),
    Metric(
        "refused_share", "share of requests refused for quota", "", "lower", "difference", 4,
        "Share of requests that were answered with 429: the quota was spent.", margin=0.001,
    ),
    Metric(
        "dollars_per_million_texts", "price of a million texts", "$", "lower", "ratio", 2,
        "What the model charges at list price for the texts that were sent.",
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


def pooled_levels(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each metric's level over trials of one setting: as the mean of its logarithms where it is
    compared by ratio, so that a tenfold round trip does not weigh ten times as much; else as the mean.

    >>> near, far = {"response_p95_ms": 1.0, "hit_ratio": 0.2}, {"response_p95_ms": 4.0, "hit_ratio": 0.4}
    >>> pooled_levels([near, far])
    {'response_p95_ms': 2.0, 'hit_ratio': 0.3}
    """
    if len(rows) == 1:
        return dict(rows[0])
    known = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: _pooled(name, [row[name] for row in rows]) for name in known}


def _pooled(name: str, values: Sequence[float]) -> float:
    by_ratio = name in METRICS and METRICS[name].compared_by != "difference"
    if by_ratio and min(values) > 0:
        return float(f"{math.exp(sum(map(math.log, values)) / len(values)):.9g}")
    return float(f"{sum(values) / len(values):.9g}")
