"""What becomes of an answer's fields when its body is encoded, and when not: RFC 9110 §8, §12.5.5."""

from __future__ import annotations

from tests.asgi.imitated import Field, Step, body, start, whole
from tests.asgi.probe.case import BIG, SMALL, Check, Expectation, Seen
from tests.asgi.probe.expect import coded, has, lacks, lines, members, no_length, plain, smaller, varies

__all__ = ["CHECKS"]

STRONG, WEAK = '"one"', 'W/"one"'
DIGEST = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
ENCODED = coded("gzip")


def _with(sentence: str, *fields: Field, expects: tuple[Expectation, ...], accept: str = "gzip") -> Check:
    return Check(sentence, accept, lambda: whole(BIG, *fields), expects)


def _title_case() -> list[Step]:
    return [
        start(
            200,
            ("Content-Type", "text/plain"),
            ("Content-Length", str(len(BIG))),
            ("ETag", STRONG),
            ("Vary", "Origin"),
        ),
        body(BIG),
    ]


def _shared() -> list[Step]:
    return whole(BIG, ("etag", STRONG), ("vary", "Origin"), ("x-any", "1"))


def _left_as_it_was(seen: Seen) -> None:
    """The application may send the same messages, and the same list, with its next answer."""
    assert seen.app.steps == seen.script


CHECKS = [
    _with(
        "a Vary that names Accept-Encoding is not told twice",
        ("vary", "accept-encoding"),
        expects=(ENCODED, varies),
    ),
    _with(
        "Vary keeps what it named, whatever the case",
        ("vary", "Origin, ACCEPT-Encoding"),
        expects=(varies, members("vary", "origin")),
    ),
    _with(
        "Vary of several lines keeps them all",
        ("vary", "Origin"),
        ("vary", "Cookie"),
        expects=(varies, members("vary", "origin", "cookie")),
    ),
    _with("Vary: * stays as it is", ("vary", "*"), expects=(ENCODED, has("vary", "*"))),
    _with("an answer sent as it is to one client varies too", accept="identity", expects=(plain, varies)),
    _with("a strong ETag is weakened", ("etag", STRONG), expects=(ENCODED, has("etag", WEAK))),
    _with("a weak ETag is kept", ("etag", WEAK), expects=(ENCODED, has("etag", WEAK))),
    _with(
        "Accept-Ranges is dropped: a range would be of other bytes",
        ("accept-ranges", "bytes"),
        expects=(ENCODED, lacks("accept-ranges")),
    ),
    _with(
        "Content-Digest is dropped: it was of other bytes",
        ("content-digest", DIGEST),
        expects=(ENCODED, lacks("content-digest")),
    ),
    _with(
        "Content-MD5 is dropped: it was of other bytes",
        ("content-md5", "Q2hlY2sgSW50ZWdyaXR5IQ=="),
        expects=(ENCODED, lacks("content-md5")),
    ),
    _with(
        "what is sent as it is keeps its ranges and digests",
        ("accept-ranges", "bytes"),
        ("content-digest", DIGEST),
        accept="identity",
        expects=(plain, has("accept-ranges", "bytes"), has("content-digest", DIGEST)),
    ),
    _with(
        "lines of Set-Cookie stay lines, in their order",
        ("set-cookie", "a=1; Path=/"),
        ("set-cookie", "b=2, 3"),
        expects=(ENCODED, lines("set-cookie", "a=1; Path=/", "b=2, 3")),
    ),
    _with(
        "fields nobody knows are kept",
        ("x-request-id", "7"),
        ("link", "</style.css>; rel=preload"),
        expects=(ENCODED, has("x-request-id", "7"), has("link", "</style.css>; rel=preload")),
    ),
    _with("Content-Length is that of the encoded body", expects=(ENCODED, smaller)),
    Check(
        "an encoded stream has no Content-Length",
        "gzip",
        lambda: [
            start(200, ("content-type", "text/plain"), ("content-length", str(2 * len(BIG)))),
            body(BIG, more=True),
            body(BIG),
        ],
        (ENCODED, no_length),
    ),
    Check(
        "names in title case are the same names",
        "gzip",
        _title_case,
        (ENCODED, smaller, has("etag", WEAK), varies),
    ),
    Check(
        "fields in a list the application shares between answers are not changed",
        "gzip",
        _shared,
        (ENCODED, _left_as_it_was),
    ),
    Check(
        "a small answer keeps its Content-Length",
        "gzip",
        lambda: whole(SMALL),
        (plain, has("content-length", str(len(SMALL)))),
    ),
]
