"""Requests, answers and what a client makes of them."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Awaitable, Callable

import brotli
import zstandard

from perfkit.asgi.compress import Compression
from perfkit.asgi.head import Head
from perfkit.asgi.request import Request
from perfkit.asgi.settings import AsgiSettings

JSON = (b"content-type", b"application/json")
BODY = json.dumps([{"id": n, "name": f"name {n % 7}", "open": True} for n in range(200)]).encode()
NOISE = random.Random(1).randbytes(4_000)  # noqa: S311  # a body, not a secret
DECODE: dict[bytes, Callable[[bytes], bytes]] = {
    b"zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
    b"br": brotli.decompress,
    b"gzip": gzip.decompress,
    b"deflate": zlib.decompress,
}


def asked(accept: bytes | None = b"gzip, deflate, br, zstd", method: str = "GET", **fields: bytes) -> Request:
    """A request that takes these codings."""
    lines = [(name.replace("_", "-").encode(), value) for name, value in fields.items()]
    if accept is not None:
        lines.append((b"accept-encoding", accept))
    return Request({"type": "http", "http_version": "1.1", "method": method, "headers": lines})


def answer(*fields: tuple[bytes, bytes], status: int = 200) -> Head:
    """A head; of JSON unless it says otherwise."""
    named = [name for name, _ in fields]
    return Head(status, [*fields] if b"content-type" in named else [JSON, *fields])


def compression(**knobs: object) -> Compression:
    """One that no load of this machine disturbs."""
    return Compression(AsgiSettings(**{"compress_lag_ms": 0, **knobs}))  # type: ignore[arg-type]


def sent(made: bytes | Awaitable[bytes]) -> bytes:
    """A body that no thread was needed for."""
    assert isinstance(made, bytes)
    return made


def read(head: Head, body: bytes) -> bytes:
    """What a client makes of it."""
    coding = head.get(b"content-encoding")
    return body if coding is None else DECODE[coding](body)
