"""Responses on their way out: smaller, asked for less often, and timed; for any ASGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.lazy import opening

if TYPE_CHECKING:
    from perfkit.asgi.counts import RequestCounts
    from perfkit.asgi.fields import FieldsError, Mask
    from perfkit.asgi.middleware import (
        CacheControlMiddleware,
        CompressionMiddleware,
        FieldsMiddleware,
        PerformanceMiddleware,
        ResponseCacheMiddleware,
        TimingMiddleware,
        ValidatorsMiddleware,
    )
    from perfkit.asgi.negotiate import Negotiated, negotiate
    from perfkit.asgi.policy import CachePolicy
    from perfkit.asgi.settings import AsgiSettings, EdgeSettings
    from perfkit.asgi.stack import add_performance_middlewares

__all__ = [
    "AsgiSettings",
    "CacheControlMiddleware",
    "CachePolicy",
    "CompressionMiddleware",
    "EdgeSettings",
    "FieldsError",
    "FieldsMiddleware",
    "Mask",
    "Negotiated",
    "PerformanceMiddleware",
    "RequestCounts",
    "ResponseCacheMiddleware",
    "TimingMiddleware",
    "ValidatorsMiddleware",
    "add_performance_middlewares",
    "negotiate",
]

__getattr__ = opening(
    __name__,
    {
        "AsgiSettings": "perfkit.asgi.settings",
        "CacheControlMiddleware": "perfkit.asgi.middleware",
        "CachePolicy": "perfkit.asgi.policy",
        "CompressionMiddleware": "perfkit.asgi.middleware",
        "EdgeSettings": "perfkit.asgi.settings",
        "FieldsError": "perfkit.asgi.fields",
        "FieldsMiddleware": "perfkit.asgi.middleware",
        "Mask": "perfkit.asgi.fields",
        "Negotiated": "perfkit.asgi.negotiate",
        "PerformanceMiddleware": "perfkit.asgi.middleware",
        "RequestCounts": "perfkit.asgi.counts",
        "ResponseCacheMiddleware": "perfkit.asgi.middleware",
        "TimingMiddleware": "perfkit.asgi.middleware",
        "ValidatorsMiddleware": "perfkit.asgi.middleware",
        "add_performance_middlewares": "perfkit.asgi.stack",
        "negotiate": "perfkit.asgi.negotiate",
    },
)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
