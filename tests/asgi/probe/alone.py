"""Which answers are left alone: without a body, with part of one, of other types, or that gain nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tests.asgi.imitated import Field, body, encoded, start, whole
from tests.asgi.probe.case import BIG, NOISE, Check, Expectation, Seen
from tests.asgi.probe.expect import bodiless, coded, has, lacks, plain, untouched, varies, varies_not

__all__ = ["CHECKS"]

STRONG, WEAK = '"one"', 'W/"one"'
LENGTH = str(len(BIG))
GZIP = encoded("gzip", BIG)
BROTLI = encoded("br", BIG)


def _typed(sentence: str, content_type: str | None, *expects: Expectation) -> Check:
    return Check(sentence, "gzip", lambda: whole(BIG, content_type=content_type), expects)


def _bare(
    sentence: str, status: int, *fields: Field, expects: Sequence[Expectation] = (), method: str = "GET"
) -> Check:
    return Check(
        sentence, "gzip", lambda: [start(status, *fields), body()], (bodiless, *expects), method=method
    )


def _same_status(seen: Seen) -> None:
    assert seen.answer.status == seen.script[0]["status"]


CHECKS = [
    _typed("JSON is compressed", "application/json", coded("gzip")),
    _typed(
        "a type with parameters and large letters is compressed", "Text/HTML; Charset=UTF-8", coded("gzip")
    ),
    _typed("problem+json is compressed", "application/problem+json", coded("gzip")),
    _typed("any +json is compressed", "application/vnd.service.v2+json", coded("gzip")),
    _typed("NDJSON is compressed", "application/x-ndjson", coded("gzip")),
    _typed("SVG is compressed", "image/svg+xml", coded("gzip")),
    _typed("JavaScript is compressed", "text/javascript", coded("gzip")),
    _typed("WebAssembly is compressed", "application/wasm", coded("gzip")),
    _typed("an image is not compressed, and does not vary", "image/png", plain, varies_not),
    _typed("a film is not compressed", "video/mp4", plain),
    _typed("a zip file is not compressed", "application/zip", plain),
    _typed("gRPC is not compressed: it frames its own", "application/grpc+proto", plain),
    _typed("a type nobody knows is not compressed", "application/x-who-knows", plain),
    _typed("bytes of no type are not compressed", "application/octet-stream", plain),
    Check(
        "what would not become smaller is sent as it is",
        "gzip",
        lambda: whole(NOISE),
        (plain, varies, has("content-length", str(len(NOISE)))),
    ),
    Check("nor with brotli", "br", lambda: whole(NOISE), (plain,)),
    Check("nor with zstd", "zstd", lambda: whole(NOISE), (plain,)),
    Check(
        "what gains nothing keeps a strong ETag and its ranges",
        "gzip",
        lambda: whole(NOISE, ("etag", STRONG), ("accept-ranges", "bytes")),
        (plain, has("etag", STRONG), has("accept-ranges", "bytes")),
    ),
    Check(
        "an encoded body is not encoded again",
        "gzip, br",
        lambda: whole(BROTLI, ("content-encoding", "br"), ("etag", STRONG)),
        (untouched, has("etag", STRONG)),
        reads=BIG,
    ),
    Check(
        "a stream that is encoded is not encoded again",
        "gzip, br",
        lambda: [
            start(200, ("content-type", "text/plain"), ("content-encoding", "gzip")),
            body(GZIP[:100], more=True),
            body(GZIP[100:]),
        ],
        (untouched,),
        reads=BIG,
    ),
    Check(
        "part of a body (206) is left alone, with its strong ETag",
        "gzip",
        lambda: whole(BIG[:8_000], ("content-range", f"bytes 0-7999/{LENGTH}"), ("etag", STRONG), status=206),
        (plain, has("content-range", f"bytes 0-7999/{LENGTH}"), has("etag", STRONG)),
    ),
    Check(
        "several parts of a body (206, multipart) are left alone",
        "gzip",
        lambda: whole(BIG, status=206, content_type="multipart/byteranges; boundary=x"),
        (plain,),
    ),
    Check(
        "an answer with Content-Range is left alone, whatever its status",
        "gzip",
        lambda: whole(BIG, ("content-range", f"bytes 0-{len(BIG) - 1}/{LENGTH}")),
        (plain,),
    ),
    Check(
        "an application's no-transform is obeyed",
        "gzip",
        lambda: whole(BIG, ("cache-control", "public, No-Transform")),
        (plain,),
    ),
    Check(
        "a client's no-transform is obeyed",
        "gzip",
        lambda: whole(BIG),
        (plain,),
        fields=[("cache-control", "no-transform")],
    ),
    Check(
        "an error's body is compressed like another",
        "gzip",
        lambda: whole(BIG, status=500),
        (coded("gzip"), _same_status),
    ),
    Check("an empty body stays empty", "gzip", lambda: whole(b""), (bodiless, has("content-length", "0"))),
    _bare("an empty body of no length stays empty", 200, ("content-type", "text/plain")),
    Check(
        "an empty body is not encoded even for a client that forbids identity",
        "gzip, identity;q=0",
        lambda: whole(b""),
        (bodiless,),
    ),
    _bare("204 has no body, and gets none", 204, expects=[_same_status, lacks("content-length")]),
    _bare("205 has no body, and gets none", 205, ("content-length", "0"), expects=[_same_status]),
    _bare("304 gets no body, and varies", 304, ("etag", WEAK), expects=[_same_status, varies]),
    _bare(
        "304 bears the ETag the whole answer would bear",
        304,
        ("etag", STRONG),
        expects=[_same_status, has("etag", WEAK)],
    ),
    _bare(
        "HEAD of an answer without its body is not that of an empty one",
        200,
        ("content-type", "text/plain"),
        ("content-length", LENGTH),
        method="HEAD",
        expects=[varies],
    ),
    _bare(
        "HEAD bears the ETag that GET would bear",
        200,
        ("content-type", "text/plain"),
        ("content-length", LENGTH),
        ("etag", STRONG),
        method="HEAD",
        expects=[has("etag", WEAK)],
    ),
    Check(
        "HEAD with a body, as some applications answer it, does not fail",
        "gzip",
        lambda: whole(BIG),
        (varies, _same_status),
        method="HEAD",
    ),
    _bare(
        "a redirect keeps its place",
        307,
        ("location", "/there"),
        ("content-length", "0"),
        expects=[has("location", "/there"), _same_status],
    ),
]
