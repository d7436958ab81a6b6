"""The middleware: one fused layer, and the same layer with a single stage on.

A layer made with Starlette's `BaseHTTPMiddleware` costs a request about a hundred times what a plain one does
(`perfkit bench asgi`); and five jobs in one layer read the head once, and never undo each other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from perfkit.asgi.compress import Compression
from perfkit.asgi.counts import RequestCounts
from perfkit.asgi.exchange import Exchange
from perfkit.asgi.fields import FieldFilter, FieldsError, Mask, problem
from perfkit.asgi.heads import HeadsOnly
from perfkit.asgi.messages import App, Message, Receive, Scope, Send
from perfkit.asgi.policy import CachePolicies, CachePolicy
from perfkit.asgi.request import Request, fields_of
from perfkit.asgi.settings import AsgiSettings
from perfkit.asgi.stages import Stages
from perfkit.asgi.timing import Timing
from perfkit.asgi.uncoded import passing
from perfkit.cache import TieredCache
from perfkit.clock import Clock, now_s
from perfkit.knobs import of_environment

__all__ = [
    "CacheControlMiddleware",
    "CompressionMiddleware",
    "FieldsMiddleware",
    "PerformanceMiddleware",
    "ResponseCacheMiddleware",
    "TimingMiddleware",
    "ValidatorsMiddleware",
]


class _Layer:
    """An ASGI application around another: it does to responses what its stages say."""

    def __init__(self, app: App, stages: Stages) -> None:
        self.app = app
        self.stages = stages
        self._compression_alone = stages.compression if stages.are_compression_alone else None
        self._leaves_bodies = stages.leave_bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; what is not HTTP passes untouched."""
        if scope["type"] != "http":
            await self.app(scope, self._closing(receive) if scope["type"] == "lifespan" else receive, send)
            return
        stages, alone, fields = self.stages, self._compression_alone, fields_of(scope)
        if alone is not None and not alone.is_wanted(fields.get(b"accept-encoding")):
            await self.app(scope, receive, passing(alone, scope, send))
            return
        request = Request(scope, fields)
        mask: Mask | None = None
        if stages.fields is not None and scope.get("query_string"):
            try:
                mask = stages.fields.mask_of(request)
            except FieldsError as error:
                await self._refuse(error, Exchange(stages, request, send))
                return
        if self._leaves_bodies and mask is None:
            await self._serve_by_its_head(request, receive, send)
            return
        exchange = Exchange(stages, request, send)
        exchange.mask = mask
        try:
            if stages.response_cache is None:
                await self.app(scope, receive, exchange.send)
            else:
                await stages.response_cache().serve(request, self.app, receive, exchange)
            if not exchange.is_over:
                await exchange.finish()
        except BaseException as error:
            exchange.fail(error)
            raise

    async def _serve_by_its_head(self, request: Request, receive: Receive, send: Send) -> None:
        if self.stages.policies is None and self.stages.timing is None:
            await self.app(request.scope, receive, send)
            return
        answer = HeadsOnly(self.stages, request, send)
        try:
            await self.app(request.scope, receive, answer.send)
            answer.finish()
        except BaseException as error:
            answer.fail(error)
            raise

    async def _refuse(self, refusal: FieldsError, exchange: Exchange) -> None:
        """Answer a request whose fields cannot be read."""
        head, body = problem(refusal)
        await exchange.send(head.message())
        await exchange.send({"type": "http.response.body", "body": body, "more_body": False})

    def _closing(self, receive: Receive) -> Receive:
        """Let the response cache end its renewals when the application is told to shut down."""

        async def heard() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown" and self.stages.response_cache is not None:
                await self.stages.response_cache().aclose()
            return message

        return heard


class PerformanceMiddleware(_Layer):
    """All stages in one layer, each as its knobs say.

    >>> import asyncio
    >>> async def hello(scope, receive, send):
    ...     headers = [(b"content-type", b"text/plain")]
    ...     await send({"type": "http.response.start", "status": 200, "headers": headers})
    ...     await send({"type": "http.response.body", "body": b"hello " * 500})
    >>> async def ask(app, **fields):
    ...     headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    ...     scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    ...     sent = []
    ...     async def send(message): sent.append(message)
    ...     await app(scope, None, send)
    ...     return dict(sent[0]["headers"]), sent[1]["body"]
    >>> head, body = asyncio.run(ask(PerformanceMiddleware(hello), accept_encoding="gzip"))
    >>> head[b"content-encoding"], len(body) < 100, head[b"cache-control"]
    (b'gzip', True, b'no-cache')
    """

    def __init__(
        self,
        app: App,
        settings: AsgiSettings | None = None,
        *,
        policies: Mapping[str, CachePolicy] | None = None,
        cache: TieredCache | None = None,
        counts: RequestCounts | None = None,
        fingerprint: str | None = None,
        fields_parameter: str = "fields",
        fields_root: str | None = None,
        clock: Clock = now_s,
    ) -> None:
        """Wrap an application.

        Args:
            app: Any ASGI 3 application.
            settings: Default: as the `PERFKIT_ASGI__…` variables say.
            policies: What may be kept for how long, by path (`CachePolicies`).
            cache: Keeps whole answers that may be shared; default: none, unless `asgi.response_cache` is on.
            counts: Counts requests; share it with a metrics endpoint.
            fingerprint: Of all settings, shown in `Server-Timing`; default: `PERFKIT_SETTINGS_ID`.
            fields_parameter: The query parameter that chooses fields.
            fields_root: The member of an envelope that `?fields=` means, `data` for instance.
            clock: What durations are read on.

        Raises:
            SettingsError: a variable of the environment is refused.
        """
        if settings is None:
            settings = of_environment(AsgiSettings, "asgi", os.environ)
        if fingerprint is None:
            fingerprint = os.environ.get("PERFKIT_SETTINGS_ID", "")
        self.settings = settings
        super().__init__(
            app,
            Stages.of(
                settings,
                policies=policies,
                cache=cache,
                counts=counts,
                fingerprint=fingerprint,
                fields_parameter=fields_parameter,
                fields_root=fields_root,
                clock=clock,
            ),
        )


class CompressionMiddleware(_Layer):
    """Compression, and nothing else."""

    def __init__(self, app: App, settings: AsgiSettings | None = None, **more: Any) -> None:
        """Wrap an application; `more` is what `Compression` takes."""
        settings = settings or AsgiSettings()
        compression = Compression(settings, **more)
        super().__init__(app, Stages(compression=compression, small_bytes=settings.compress_min_bytes))


class CacheControlMiddleware(_Layer):
    """`Cache-Control` by path, and nothing else."""

    def __init__(
        self,
        app: App,
        policies: Mapping[str, CachePolicy] | None = None,
        settings: AsgiSettings | None = None,
    ) -> None:
        """Wrap an application."""
        super().__init__(app, Stages(policies=CachePolicies(policies or {}, settings or AsgiSettings())))


class FieldsMiddleware(_Layer):
    """`?fields=`, and nothing else."""

    def __init__(self, app: App, settings: AsgiSettings | None = None, **more: Any) -> None:
        """Wrap an application; `more` is what `FieldFilter` takes."""
        settings = settings or AsgiSettings()
        fields = FieldFilter(settings, **more)
        super().__init__(app, Stages(fields=fields, fields_max_bytes=settings.fields_max_bytes))


class ValidatorsMiddleware(_Layer):
    """`ETag` and 304, and nothing else."""

    def __init__(self, app: App) -> None:
        """Wrap an application."""
        super().__init__(app, Stages(validators=True))


class ResponseCacheMiddleware(_Layer):
    """The response cache, and nothing else."""

    def __init__(self, app: App, cache: TieredCache, settings: AsgiSettings | None = None) -> None:
        """Wrap an application."""
        own = Stages.of(settings or AsgiSettings(), cache=cache).response_cache
        super().__init__(app, Stages(response_cache=own))


class TimingMiddleware(_Layer):
    """`X-Response-Time`, `Server-Timing` and counts, and nothing else."""

    def __init__(
        self,
        app: App,
        settings: AsgiSettings | None = None,
        *,
        counts: RequestCounts | None = None,
        fingerprint: str = "",
        clock: Clock = now_s,
    ) -> None:
        """Wrap an application."""
        counts = RequestCounts() if counts is None else counts
        settings = settings or AsgiSettings()
        super().__init__(
            app, Stages(timing=Timing(settings, fingerprint=fingerprint, clock=clock, counts=counts))
        )
