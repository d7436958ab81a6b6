"""What is measured: one application, bare and in each of the middlewares, as their documentation has it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from perfkit.asgi import AsgiSettings, CompressionMiddleware, PerformanceMiddleware
from perfkit.asgi.messages import App, Receive, Scope, Send

__all__ = [
    "BARE",
    "NOT_INSTALLED",
    "OURS",
    "OURS_ALL",
    "Wrap",
    "bare",
    "named",
    "peers",
    "perfkit",
    "raw",
]

Wrap = Callable[[App], App]

NOT_INSTALLED = "not installed, see scripts/peers.sh"
CODINGS = "gzip, deflate, br, zstd"
"""What Chrome accepts."""


def named(package: str, what: str = "") -> str:
    """Return a peer's name with its version, or the name alone where it is not installed."""
    try:
        return f"{package} {version(package)} {what}".strip()
    except PackageNotFoundError:
        return f"{package} {what}".strip()


BARE = "the bare application"
OURS = "perfkit, compression alone"
OURS_ALL = "perfkit, all stages"
GZIP = named("starlette", "GZipMiddleware")
COMPRESS = named("starlette-compress")
BROTLI = named("brotli-asgi")
ZSTD = named("zstd-asgi")
UNIFIED = named("asgi-compression", "zstd, br, gzip")


def bare(body: bytes, content_type: str = "application/json") -> App:
    """Return a Starlette application of one route that answers with this body."""
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    async def answer(_request: Any) -> Response:
        return Response(body, media_type=content_type)

    app: App = Starlette(routes=[Route("/", answer)])
    return app


def raw(body: bytes, *fields: tuple[bytes, bytes]) -> App:
    """Return the cheapest application there can be: no framework, its messages ready."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *fields]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    rest = {"type": "http.response.body", "body": body}

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(start)
        await send(rest)

    return answer


def perfkit(**knobs: Any) -> dict[str, Wrap]:
    """Return perfkit's middleware, the one stage that its peers have, and all of them."""
    settings = AsgiSettings(**knobs)
    return {
        OURS: lambda app: CompressionMiddleware(app, settings),
        OURS_ALL: lambda app: PerformanceMiddleware(app, settings, fingerprint="0123456789ab"),
    }


def peers(absent: dict[str, str]) -> dict[str, Wrap]:
    """Return the middlewares that compress, in their defaults; name those not installed in `absent`."""
    found: dict[str, Wrap] = {}
    for name, fetch in _PEERS.items():
        try:
            found[name] = fetch()
        except ImportError:
            absent[name] = NOT_INSTALLED
    return found


def _starlette() -> Wrap:
    from starlette.middleware.gzip import GZipMiddleware

    return GZipMiddleware


def _starlette_compress() -> Wrap:
    from starlette_compress import CompressMiddleware

    return CompressMiddleware


def _brotli_asgi() -> Wrap:
    from brotli_asgi import BrotliMiddleware

    return BrotliMiddleware


def _zstd_asgi() -> Wrap:
    from zstd_asgi import ZstdMiddleware

    return ZstdMiddleware


def _asgi_compression() -> Wrap:
    from asgi_compression import (
        BrotliAlgorithm,
        CompressionMiddleware,
        GzipAlgorithm,
        ZstdAlgorithm,
    )

    return lambda app: CompressionMiddleware(
        app, algorithms=[ZstdAlgorithm(), BrotliAlgorithm(), GzipAlgorithm()]
    )


_PEERS: dict[str, Callable[[], Any]] = {
    GZIP: _starlette,
    COMPRESS: _starlette_compress,
    BROTLI: _brotli_asgi,
    ZSTD: _zstd_asgi,
    UNIFIED: _asgi_compression,
}
