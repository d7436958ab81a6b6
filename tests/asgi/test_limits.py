"""Who asks in hostile ways costs neither time nor memory."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from perfkit.asgi import AsgiSettings, PerformanceMiddleware
from perfkit.asgi.messages import Receive, Scope, Send
from perfkit.cache import TieredCache
from tests.asgi.imitated import Field, Scripted, hear, scope, whole

BODY = b'[{"id": 1, "name": "Ada", "tags": ["a", "b"]}, {"id": 2}]' + b" " * 3_000
KEPT = AsgiSettings(response_cache_ttl_seconds=60)


SAYS = (("cache-control", "public, max-age=60"), ("etag", '"1"'), ("accept-ranges", "bytes"))


def layer(*says: Field) -> PerformanceMiddleware:
    """Return every stage and a cache, over an application whose answers may be kept unless it `says` else."""
    steps = whole(BODY, *(says or SAYS), content_type="application/json")

    async def forgetful(scope: Scope, receive: Receive, send: Send) -> None:
        await Scripted(steps)(scope, receive, send)

    return PerformanceMiddleware(forgetful, KEPT, cache=TieredCache())


SIXTY_KIB = 60 * 1024
HOSTILE: dict[str, tuple[str, bytes]] = {
    "many codings": ("accept-encoding", b"gzip;q=0.1, " * 5_000),
    "many commas": ("accept-encoding", b"," * SIXTY_KIB),
    "many semicolons": ("accept-encoding", b"gzip" + b";" * SIXTY_KIB),
    "a long weight": ("accept-encoding", b"gzip;q=0." + b"0" * SIXTY_KIB),
    "many spaces": ("accept-encoding", b"gzip" + b" " * SIXTY_KIB + b";"),
    "many ranges": ("range", b"bytes=" + b"0-0," * 15_000 + b"0-0"),
    "many ranges that are all of it": ("range", b"bytes=" + b",".join([b"0-"] * 20_000)),
    "a range of many digits": ("range", b"bytes=" + b"9" * SIXTY_KIB + b"-"),
    "many tags": ("if-none-match", b'"a", ' * 12_000 + b'"b"'),
    "a tag without end": ("if-none-match", b'"' + b"a" * SIXTY_KIB),
    "many quotes": ("if-none-match", b'"' * SIXTY_KIB),
    "many weak signs": ("if-none-match", b"W/" * 30_000),
    "many directives": ("cache-control", b"max-age=0, " * 5_000),
    "quotes that do not close": ("cache-control", b'a="' * 20_000),
    "backslashes": ("cache-control", b'a="' + b"\\" * SIXTY_KIB),
    "a date of many digits": ("if-modified-since", b"Mon, " + b"9" * SIXTY_KIB),
    "a tag or date without end": ("if-range", b'W/"' + b"x" * SIXTY_KIB),
}
QUERIES: dict[str, bytes] = {
    "deep": b"fields=" + b"a(" * 20_000,
    "deep by slashes": b"fields=" + b"a/" * 30_000 + b"a",
    "wide": b"fields=" + b",".join(b"n%d" % n for n in range(9_000)),
    "commas": b"fields=" + b"," * SIXTY_KIB,
    "closing": b"fields=" + b")" * SIXTY_KIB,
    "stars": b"fields=" + b"*/" * 30_000 + b"*",
    "doubling": b"fields=" + b"*(a,b," * 8_000,
    "percent": b"fields=" + b"%" * SIXTY_KIB,
    "encoded": b"fields=" + b"%28" * 20_000,
    "many parameters": b"&".join(b"fields=a" for _ in range(7_000)),
    "many others": b"a=1&" * 15_000 + b"fields=id",
}
PATIENCE_S = 0.25
"""Of processor time, for what takes a few milliseconds: what grows by the square takes seconds."""


@pytest.mark.parametrize(("name", "value"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_long_field_takes_no_long_time(name: str, value: bytes) -> None:
    """60 KiB, as much as a server lets in; three times, as the second is answered from what is kept."""
    app = layer()
    for _ in range(3):
        began = time.thread_time()
        answer = await hear(app, scope(fields=[(name, value)]))
        assert time.thread_time() - began < PATIENCE_S
        assert answer.error is None
        assert answer.status in (200, 206, 304, 416)
        assert len(answer.raw) < 4 * len(BODY)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
async def test_a_long_query_takes_no_long_time(query: bytes) -> None:
    """Nor does it grow the answer."""
    app = layer()
    for _ in range(3):
        began = time.thread_time()
        answer = await hear(app, scope(query=query))
        assert time.thread_time() - began < PATIENCE_S
        assert answer.error is None
        assert answer.status in (200, 400)
        assert len(answer.raw) < 2 * len(BODY)


def test_a_client_that_never_asks_the_same_way_twice_is_forgotten() -> None:
    """Thousands of requests that each have fields nobody sent before: memory stays where it was."""
    app = layer()

    async def asks(first: int, last: int) -> None:
        for n in range(first, last):
            request = scope(
                fields=[
                    ("accept-encoding", f"gzip, x{n}"),
                    ("cache-control", f"max-stale={n}, x{n}"),
                    ("if-none-match", f'"{n}"'),
                    ("range", f"bytes=0-{n}"),
                    ("cookie", f"a={n}" * 20),
                ],
                query=f"fields=id,n{n},t(x{n})",
            )
            assert (await hear(app, request)).error is None

    asyncio.run(asks(0, 1_500))
    assert _growth(asks, 1_500, 4_500) < 2 * 1024**2


LONG = b"x" * 30_000
REQUESTS: dict[str, Callable[[bytes], Scope]] = {
    "accept-encoding": lambda one: scope(fields=[("accept-encoding", b"gzip, " + one)]),
    "cache-control": lambda one: scope(fields=[("cache-control", b"max-stale, " + one)]),
    "if-none-match": lambda one: scope(fields=[("if-none-match", b'"' + one + b'"')]),
    "if-modified-since": lambda one: scope(fields=[("if-modified-since", one)]),
    "range": lambda one: scope(fields=[("range", b"bytes=" + b"0-1," * 7_000 + one[:9])]),
    "if-range": lambda one: scope(fields=[("range", "bytes=0-1"), ("if-range", b'"' + one + b'"')]),
    "a field that answers vary by": lambda one: scope(fields=[("x-team", one)]),
    "cookie": lambda one: scope(fields=[("cookie", one)]),
    "authorization": lambda one: scope(fields=[("authorization", one)]),
    "host": lambda one: {**scope(), "headers": [(b"host", one)]},
    "fields": lambda one: scope(query=b"fields=id," + one[:2_000]),
    "query": lambda one: scope(query=b"fields=id&q=" + one),
    "path": lambda one: scope(path="/" + one.decode()),
    "method": lambda one: scope(method=one.decode()),
    "referer": lambda one: scope(fields=[("referer", one), ("origin", one), ("sec-fetch-site", one)]),
}


@pytest.mark.parametrize("request_of", REQUESTS.values(), ids=REQUESTS.keys())
def test_long_values_that_differ_are_not_remembered(request_of: Callable[[bytes], Scope]) -> None:
    """A hundred values of 30 KiB, each sent once, would be 3 MiB: none is worth remembering."""
    says = (("cache-control", "no-store"), ("vary", "X-Team, Cookie"), ("etag", '"1"'))
    app = layer(*says)

    async def asks(first: int, last: int) -> None:
        for n in range(first, last):
            assert (await hear(app, request_of(b"%d" % n + LONG))).error is None

    asyncio.run(asks(0, 3))
    assert _growth(asks, 3, 103) < 2 * 1024**2


def _growth(asks: Callable[[int, int], Coroutine[Any, Any, None]], first: int, last: int) -> int:
    """Return how many more bytes are held after some requests than before."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        asyncio.run(asks(first, last))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before
