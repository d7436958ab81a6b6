"""The one call that adds it all, to whatever kind of application."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from perfkit.asgi.counts import RequestCounts
from perfkit.asgi.messages import App
from perfkit.asgi.middleware import PerformanceMiddleware
from perfkit.asgi.policy import CachePolicy
from perfkit.asgi.settings import AsgiSettings
from perfkit.cache import TieredCache
from perfkit.knobs import of_environment, replaced

__all__ = ["add_performance_middlewares"]

AppT = TypeVar("AppT")

_COMPRESSES = ("gzip", "brotli", "zstd", "compress")


def add_performance_middlewares(
    app: AppT,
    compress_responses: bool | None = None,
    optimize_payloads: bool | None = None,
    add_cache_control: bool | None = None,
    track_response_time: bool | None = None,
    *,
    settings: AsgiSettings | None = None,
    policies: Mapping[str, CachePolicy] | None = None,
    cache: TieredCache | None = None,
    counts: RequestCounts | None = None,
    fingerprint: str | None = None,
    fields_parameter: str = "fields",
    fields_root: str | None = None,
) -> AppT:
    """Add compression, field filtering, ETags, cache headers and timing to an application, in one layer.

    Starlette and FastAPI get it as middleware, Quart around its `asgi_app`; both are returned as they were.
    Any other ASGI application (Litestar's, Django's) is returned wrapped. Another call replaces the layer.

    Args:
        app: The application; it must not have served a request yet.
        compress_responses: zstd, brotli, gzip or deflate, as the client prefers. Each of these four is the
            knob of its name; default: as `settings` says.
        optimize_payloads: `?fields=id,name`, and 304 for what the client has.
        add_cache_control: `Cache-Control` for answers that say nothing.
        track_response_time: `X-Response-Time`, `Server-Timing`, and counts.
        settings: Default: as the `PERFKIT_ASGI__…` variables say.
        policies: What may be kept for how long, by path.
        cache: Keeps whole answers that may be shared.
        counts: Counts requests; share it with a metrics endpoint.
        fingerprint: Of all settings, shown in `Server-Timing`; default: `PERFKIT_SETTINGS_ID`.
        fields_parameter: The query parameter that chooses fields.
        fields_root: The member of an envelope that `?fields=` means.

    Raises:
        SettingsError: a variable of the environment is refused.
        RuntimeError: the application has started already.

    >>> async def app(scope, receive, send): ...
    >>> type(add_performance_middlewares(app)).__name__
    'PerformanceMiddleware'
    """
    if settings is None:
        settings = of_environment(AsgiSettings, "asgi", os.environ)
    switches = {
        "compress_responses": compress_responses,
        "optimize_payloads": optimize_payloads,
        "add_cache_control": add_cache_control,
        "track_response_time": track_response_time,
    }
    options: dict[str, Any] = {
        "settings": replaced(settings, {name: on for name, on in switches.items() if on is not None}),
        "policies": policies,
        "cache": cache,
        "counts": counts,
        "fingerprint": fingerprint,
        "fields_parameter": fields_parameter,
        "fields_root": fields_root,
    }
    held: Any = app
    if hasattr(held, "add_middleware") and hasattr(held, "user_middleware"):
        _add_to_starlette(held, options)
    elif hasattr(held, "asgi_app"):
        inner = held.asgi_app
        held.asgi_app = PerformanceMiddleware(_without_ours(inner), **options)
    else:
        return cast(AppT, PerformanceMiddleware(_without_ours(held), **options))
    return app


def _add_to_starlette(app: Any, options: Mapping[str, Any]) -> None:
    """Register the layer, in the place of an earlier one."""
    classes = [entry.cls for entry in app.user_middleware]
    for cls in classes:
        name = getattr(cls, "__name__", "")
        if cls is not PerformanceMiddleware and any(word in name.lower() for word in _COMPRESSES):
            warnings.warn(
                f"{name} compresses responses already, so perfkit will leave them as they are. Remove it to "
                "have them compressed once, and better.",
                stacklevel=3,
            )
    app.user_middleware[:] = [
        entry for entry in app.user_middleware if entry.cls is not PerformanceMiddleware
    ]
    app.add_middleware(PerformanceMiddleware, **options)


def _without_ours(app: App) -> App:
    return app.app if isinstance(app, PerformanceMiddleware) else app
