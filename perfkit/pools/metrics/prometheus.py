"""Pools for Prometheus: a collector that reads the counts when it is scraped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.registry import Collector
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "PrometheusCollector needs prometheus-client, which is not installed. Install perfkit[metrics].",
        name=missing.name,
    ) from None

from perfkit.pools.metrics.figures import DURATION, FIGURES, Figure, Reading, readings
from perfkit.pools.pools import RedisPools

__all__ = ["PrometheusCollector"]

_Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class PrometheusCollector(Collector):
    """Every open pool of a `RedisPools`, told apart by the label `pool`.

    Names are those of OpenTelemetry with underscores: `perfkit_redis_rejected_total{pool, reason}`,
    `db_client_operation_duration_seconds_bucket{pool, le}`. A pool appears with its first client.
    A registry takes one collector; `prometheus_client` refuses a second one's names.

    >>> from prometheus_client import CollectorRegistry
    >>> from perfkit.pools import Endpoint
    >>> pools = RedisPools(endpoint=Endpoint.embedded())
    >>> registry = CollectorRegistry()
    >>> registry.register(PrometheusCollector(pools))
    >>> _ = pools.client()
    >>> registry.get_sample_value("perfkit_redis_limit", {"pool": "default"})
    128.0
    """

    def __init__(self, pools: RedisPools) -> None:
        self._pools = pools

    def describe(self) -> Iterator[_Family]:
        """Yield the families without a sample; registering reads no pool."""
        yield from map(_family, FIGURES)
        yield _durations()

    def collect(self) -> Iterator[_Family]:
        """Read the pools; called by the registry, in whatever thread scrapes it."""
        read = list(readings(self._pools))
        for figure in FIGURES:
            family = _family(figure)
            for reading in read:
                for labels, value in figure.read(reading):
                    family.add_metric([reading.pool, *labels], value)
            yield family
        durations = _durations()
        for reading in read:
            durations.add_metric([reading.pool], list(reading.up_to_bounds()), reading.duration_sum_s)
        yield durations


def _family(figure: Figure[Reading]) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
    labels = ["pool", *(attribute.rpartition(".")[2] for attribute in figure.attributes)]
    return kind(_underscored(figure.name), figure.summary, labels=labels)


def _durations() -> HistogramMetricFamily:
    return HistogramMetricFamily(
        f"{_underscored(DURATION)}_seconds", "From a command's being sent to its reply.", labels=["pool"]
    )


def _underscored(name: str) -> str:
    return name.replace(".", "_")
