"""Responses as others' metrics: read when somebody scrapes, never called by a request.

The doors need `perfkit[metrics]` and are opened only when asked for: a service that exports nothing loads
neither Prometheus nor OpenTelemetry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.lazy import opening

if TYPE_CHECKING:
    from perfkit.asgi.counts import RequestCounts
    from perfkit.asgi.metrics.endpoint import MetricsEndpoint
    from perfkit.asgi.metrics.otel import register_otel
    from perfkit.asgi.metrics.prometheus import PrometheusCollector

__all__ = ["MetricsEndpoint", "PrometheusCollector", "RequestCounts", "register_otel"]

__getattr__ = opening(
    __name__,
    {
        "MetricsEndpoint": "perfkit.asgi.metrics.endpoint",
        "PrometheusCollector": "perfkit.asgi.metrics.prometheus",
        "RequestCounts": "perfkit.asgi.counts",
        "register_otel": "perfkit.asgi.metrics.otel",
    },
)
