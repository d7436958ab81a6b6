"""Responses for Prometheus: a collector that reads the counts when it is scraped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.registry import Collector
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "PrometheusCollector needs prometheus-client, which is not installed. Install perfkit[metrics].",
        name=missing.name,
    ) from None

from perfkit.asgi.counts import RequestCounts
from perfkit.asgi.metrics.figures import ATTRIBUTES, FIGURES, HISTOGRAMS, Histogram, samples
from perfkit.pools.metrics.figures import Figure

__all__ = ["PrometheusCollector"]

_Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily

_UNITS: Final = {"s": "seconds", "By": "bytes"}
"""Those that Prometheus puts into names."""


class PrometheusCollector(Collector):
    """The responses that a `RequestCounts` counted.

    Names and labels are those of OpenTelemetry with underscores, as its own exporter writes them:
    `http_server_request_duration_seconds_bucket{http_route, http_response_status_code, ..., le}`,
    `perfkit_http_compress_total{encoding, outcome}`. An attribute that a response lacks is an empty label.
    A registry takes one collector; `prometheus_client` refuses a second one's names.

    >>> from prometheus_client import CollectorRegistry
    >>> counts, registry = RequestCounts(), CollectorRegistry()
    >>> registry.register(PrometheusCollector(counts))
    >>> counts.begin("GET", "http")
    >>> registry.get_sample_value(
    ...     "http_server_active_requests", {"http_request_method": "GET", "url_scheme": "http"}
    ... )
    1
    """

    def __init__(self, counts: RequestCounts) -> None:
        self._counts = counts

    def describe(self) -> Iterator[_Family]:
        """Yield the families without a sample; registering reads nothing."""
        yield from map(_histogram, HISTOGRAMS)
        yield from map(_family, FIGURES)

    def collect(self) -> Iterator[_Family]:
        """Read the counts; called by the registry, in whatever thread scrapes it."""
        for histogram in HISTOGRAMS:
            distribution = _histogram(histogram)
            for key, series in samples(self._counts):
                buckets, total = histogram.up_to_bounds(series)
                labels = [str(value) if value else "" for value in key]
                distribution.add_metric(labels, buckets, total)
            yield distribution
        for figure in FIGURES:
            family = _family(figure)
            for values, value in figure.read(self._counts):
                family.add_metric(values, value)
            yield family


def _family(figure: Figure[RequestCounts]) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
    labels = [_underscored(attribute) for attribute in figure.attributes]
    return kind(_named(figure.name, figure.unit), figure.summary, labels=labels)


def _histogram(histogram: Histogram) -> HistogramMetricFamily:
    labels = [_underscored(attribute) for attribute in ATTRIBUTES]
    return HistogramMetricFamily(_named(histogram.name, histogram.unit), histogram.summary, labels=labels)


def _named(name: str, unit: str) -> str:
    return "_".join([_underscored(name), *([_UNITS[unit]] if unit in _UNITS else [])])


def _underscored(name: str) -> str:
    return name.replace(".", "_")
