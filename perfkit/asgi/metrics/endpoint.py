"""A page for Prometheus to scrape: an ASGI application, to be a route or served by itself."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import parse_qs

try:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.exposition import choose_encoder
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "MetricsEndpoint needs prometheus-client, which is not installed. Install perfkit[metrics].",
        name=missing.name,
    ) from None

from perfkit.asgi.counts import RequestCounts
from perfkit.asgi.messages import Fields, Receive, Scope, Send
from perfkit.asgi.metrics.prometheus import PrometheusCollector
from perfkit.asgi.request import Request

__all__ = ["MetricsEndpoint"]

_ALLOWED: Final = (b"allow", b"GET, HEAD")


class MetricsEndpoint:
    """Serves a registry's metrics, those of the middleware among them; put it where scrapers alone come.

    The format is what `prometheus_client` chooses by `Accept`: its text, or OpenMetrics. `?name[]=` leaves
    others out. The page is written in a thread, for that of a large service takes milliseconds.

        counts = RequestCounts()
        add_performance_middlewares(app, counts=counts)
        app.add_route("/metrics", MetricsEndpoint(counts))  # FastAPI's and Starlette's

    Args:
        counts: Those that were given to the middleware.
        registry: Is given a collector of the counts; default: `prometheus_client`'s own, with all a service
            has registered there.

    Raises:
        ValueError: the registry has such a collector.

    >>> from prometheus_client import CollectorRegistry
    >>> endpoint = MetricsEndpoint(RequestCounts(), CollectorRegistry())
    >>> async def send(message): print(message.get("status", message.get("body", b"")[:38]))
    >>> scope = {"type": "http", "method": "GET", "query_string": b"", "headers": []}
    >>> asyncio.run(endpoint(scope, None, send))
    200
    b'# HELP http_server_request_duration_se'
    """

    def __init__(self, counts: RequestCounts, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        registry.register(PrometheusCollector(counts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a scrape."""
        request = Request(scope)
        if request.method not in ("GET", "HEAD"):
            await _answer(send, 405, [_ALLOWED], b"")
            return
        accept = (request.get(b"accept") or b"").decode("latin-1")
        names = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("name[]")
        content_type, page = await asyncio.to_thread(self._page, accept, names)
        fields = [(b"content-type", content_type.encode("latin-1")), (b"vary", b"Accept")]
        await _answer(send, 200, fields, page, bodiless=request.method == "HEAD")

    def _page(self, accept: str, names: list[str] | None) -> tuple[str, bytes]:
        encode, content_type = choose_encoder(accept)
        registry = self._registry if names is None else self._registry.restricted_registry(names)
        return content_type, encode(registry)


async def _answer(send: Send, status: int, fields: Fields, body: bytes, *, bodiless: bool = False) -> None:
    headers = [*fields, (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if bodiless else body})
