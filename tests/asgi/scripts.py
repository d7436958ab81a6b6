"""What applications may send and clients may ask, for Hypothesis to choose from: usual, odd and wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from perfkit.asgi.messages import Scope
from tests.asgi.imitated import Field, Step, encoded, scope

__all__ = ["Sent", "accepts", "garbage", "requests", "responses"]

CODINGS = ("gzip", "x-gzip", "br", "zstd", "deflate", "identity", "compress", "*", "GZIP", "notgzip", "")
WEIGHTS = (
    "",
    ";q=0",
    ";q=0.0",
    ";q=1",
    ";q=.5",
    ";q=0.001",
    "; Q = 0.3",
    ";q=2",
    ";q=-1",
    ";q=x",
    ";q=",
    ";",
    ";a=b;q=0",
)

garbage = st.binary(max_size=60).filter(lambda text: b"\n" not in text and b"\r" not in text)
"""A field's value as no client should write it; no server lets line ends in."""

_usual = st.sampled_from(
    (b"gzip", b"br", b"zstd", b"deflate", b"gzip, deflate, br, zstd", b"br;q=0.5, gzip;q=0.9")
)

accepts = st.one_of(
    st.none(),
    *[_usual] * 3,
    st.lists(st.tuples(st.sampled_from(CODINGS), st.sampled_from(WEIGHTS)), max_size=6).map(
        lambda members: ", ".join(coding + weight for coding, weight in members).encode()
    ),
    garbage,
)

_TYPES = (
    "text/plain",
    "application/json",
    "text/html; charset=utf-8",
    "application/problem+json",
    "application/x-ndjson",
    "text/event-stream",
    "image/png",
    "application/grpc",
    "application/octet-stream",
    "nonsense",
    "",
)

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from("abcde"), inner, max_size=4),
    max_leaves=30,
)

_chunk = st.one_of(
    st.integers(1, 400).map(lambda count: b'{"name": "member", "email": "of the house"}\n' * count),
    st.just(b""),
    st.binary(max_size=80),
    st.tuples(st.binary(min_size=1, max_size=30), st.integers(1, 1_500)).map(lambda of: of[0] * of[1]),
    st.integers(0, 2**32).map(lambda seed: bytes((seed * (n * n + 7) >> 5) & 255 for n in range(1_400))),
)

_said: dict[str, tuple[str, ...]] = {
    "etag": ('"one"', 'W/"one"', "one", '"', ""),
    "vary": ("Origin", "accept-encoding", "*", "Cookie, Accept-Encoding", "", ","),
    "cache-control": (
        "no-store",
        "public, max-age=60",
        "max-age=60, no-transform",
        "private",
        "s-maxage=60, stale-while-revalidate=9",
        'max-age="6", =, ;;, no-cache="',
        "max-age=99999999999999999999",
    ),
    "accept-ranges": ("bytes", "none"),
    "content-digest": ("sha-256=:AAAA:",),
    "last-modified": ("Mon, 23 Nov 2026 10:00:00 GMT", "yesterday"),
    "expires": ("Mon, 23 Nov 2037 10:00:00 GMT", "0", "-1"),
    "age": ("3", "-3", "old"),
    "date": ("Mon, 23 Nov 2026 10:00:00 GMT", "today"),
    "set-cookie": ("a=1",),
    "x-any": ("1", "ä".encode().decode("latin-1")),
    "server-timing": ("db;dur=3", '"'),
    "content-range": ("bytes 0-4/9", "bytes */9"),
    "connection": ("close",),
}

_asked: dict[str, tuple[str, ...]] = {
    "range": (
        "bytes=0-9",
        "bytes=5-",
        "bytes=-5",
        "bytes=0-0,2-3",
        "bytes=9-1",
        "bytes=-0",
        "bytes=" + "0-0," * 200,
        "bytes=99999999999999999999-",
        "lines=1-2",
        "bytes",
        "bytes=a-b",
    ),
    "if-none-match": ('"one"', 'W/"one"', "*", 'W/"', '"a", , W/"b"', "one", '"' * 99),
    "if-modified-since": ("Mon, 23 Nov 2026 10:00:00 GMT", "Fri, 99 Foo 0000 99:99:99 GMT", "0"),
    "if-range": ('"one"', 'W/"one"', "Mon, 23 Nov 2026 10:00:00 GMT", "x"),
    "if-match": ('"one"', "*"),
    "cache-control": (
        "no-cache",
        "no-store",
        "only-if-cached",
        "max-stale",
        "max-age=0",
        "min-fresh=x",
        "max-age=" + "9" * 40,
        "no-transform",
        '=,"',
    ),
    "pragma": ("no-cache",),
    "authorization": ("Bearer a", "Bearer b"),
    "cookie": ("session=a", "session=b"),
    "origin": ("https://a.example",),
    "sec-fetch-site": ("cross-site", "same-origin"),
}

_QUERIES = (
    "",
    "a=1",
    "fields=a,b",
    "fields=a/b,c(d,e)",
    "fields=*",
    "fields=a(",
    "fields=)))",
    "fields=" + "a/" * 60 + "a",
    "fields=" + "(" * 500,
    "fields=" + ",".join(f"x{n}" for n in range(300)),
    "fields=%ff%fe",
    "fields=%C3%A4,\u00fc",
    "fields=",
    "fields=a&fields=b",
    "fields=,,a,,",
    "fields",
)


@dataclass(frozen=True)
class Sent:
    """What an application sends: its messages, the body within, and the body's coding."""

    steps: list[Step]
    body: bytes
    coding: str


def _fields(of: dict[str, tuple[str, ...]]) -> st.SearchStrategy[list[Field]]:
    """Choose fields and their values, one in four of them garbage."""
    usual = [(name, value) for name in sorted(of) for value in of[name]]
    line = st.one_of(*[st.sampled_from(usual)] * 3, st.tuples(st.sampled_from(sorted(of)), garbage))
    return st.lists(line, max_size=4).map(lambda pairs: [*dict(pairs).items()])


@st.composite
def responses(
    draw: st.DrawFn,
    *,
    statuses: tuple[int, ...] = (*(200,) * 6, 201, 203, 206, 304, 404, 500),
    says: str | None = None,
) -> Sent:
    """Choose a response in any pieces, with any fields; its Content-Length, if it names one, is true.

    `says` is what its Cache-Control always says, beside nothing that contradicts.
    """
    if draw(st.booleans()):
        chunks = [json.dumps(draw(_json)).encode()]
        if draw(st.booleans()):
            at = draw(st.integers(0, len(chunks[0])))
            chunks = [chunks[0][:at], chunks[0][at:]]
    else:
        chunks = draw(st.lists(_chunk, min_size=1, max_size=6))
    status = draw(st.sampled_from(statuses))
    if status in (204, 205, 304):
        chunks = [b""]
    coding = draw(st.sampled_from(("identity",) * 6 + ("gzip", "br"))) if any(chunks) else "identity"
    if coding != "identity":
        chunks = [encoded(coding, b"".join(chunks))]
    fields: list[tuple[str, Any]] = list(draw(_fields(_said)))
    if says is not None:
        fields = [
            (name, value) for name, value in fields if name in ("etag", "accept-ranges", "last-modified")
        ]
        fields.append(("cache-control", says))
    content_type = draw(st.none() | st.sampled_from(_TYPES))
    if content_type is not None:
        fields.append(("content-type", content_type))
    if coding != "identity":
        fields.append(("content-encoding", coding))
    length = sum(map(len, chunks))
    if status != 304 and draw(st.booleans()):
        fields.append(("content-length", str(length)))
    if draw(st.booleans()):
        fields = [(name.title(), value) for name, value in fields]
    lines = [(_bytes(name), _bytes(value)) for name, value in fields]
    start: dict[str, Any] = {"type": "http.response.start", "status": status}
    if lines or draw(st.booleans()):
        start["headers"] = draw(st.sampled_from((list, tuple)))(lines)
    kind = draw(st.sampled_from((bytes, bytes, bytearray, memoryview)))
    closed = draw(st.booleans())
    messages = [
        {"type": "http.response.body", "body": kind(chunk), "more_body": closed or n < len(chunks) - 1}
        for n, chunk in enumerate(chunks)
    ]
    if closed:
        messages.append({"type": "http.response.body"})
    return Sent([start, *messages], b"".join(chunks), coding)


@st.composite
def requests(
    draw: st.DrawFn, *, methods: tuple[str, ...] = ("GET",) * 4 + ("HEAD", "POST", "DELETE", "BREW")
) -> Scope:
    """Choose a request with any fields and any query."""
    fields: list[Field] = list(draw(_fields(_asked)))
    accept = draw(accepts)
    if accept is not None:
        fields.append(("accept-encoding", accept))
    odd = st.one_of(st.sampled_from(_QUERIES), garbage.map(lambda text: b"fields=" + text))
    query = draw(
        st.one_of(*[st.just("")] * 2, st.sampled_from(("fields=a,b", "fields=*", "fields=name")), odd)
    )
    return scope(draw(st.sampled_from(methods)), "/members", fields, query=query)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
