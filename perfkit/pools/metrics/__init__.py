"""Pools as others' metrics: read when somebody scrapes, never called by a command.

Both doors need `perfkit[metrics]` and are opened only when asked for: a service that exports nothing loads
neither Prometheus nor OpenTelemetry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.lazy import opening

if TYPE_CHECKING:
    from perfkit.pools.metrics.otel import register_otel
    from perfkit.pools.metrics.prometheus import PrometheusCollector

__all__ = ["PrometheusCollector", "register_otel"]

__getattr__ = opening(
    __name__,
    {
        "PrometheusCollector": "perfkit.pools.metrics.prometheus",
        "register_otel": "perfkit.pools.metrics.otel",
    },
)
