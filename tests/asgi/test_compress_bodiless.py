"""Heads without the body they describe, and lengths that are better not told."""

from __future__ import annotations

import pytest

from perfkit.asgi.compress import without_a_length_too_large
from perfkit.asgi.head import Head
from perfkit.asgi.request import Request
from tests.asgi.answers import JSON, answer, asked, compression


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_an_answer_without_a_body_says_what_one_with_it_would(method: str) -> None:
    """For HEAD: it varies, its tag is weak, and its length is not told, since it is not known."""
    head = answer((b"etag", b'"a"'), (b"content-length", b"5000"), (b"accept-ranges", b"bytes"))
    compression().bodiless(asked(method=method), head)

    assert head.fields == [JSON, (b"vary", b"Accept-Encoding"), (b"etag", b'W/"a"')]


@pytest.mark.parametrize(
    ("request_", "length"),
    [
        (asked(b"identity"), b"5000"),
        (asked(), b"500"),
        (asked(cache_control=b"no-transform"), b"5000"),
        (asked(None), b"5000"),
    ],
    ids=["identity", "small", "forbidden", "none"],
)
def test_one_that_would_not_be_compressed_keeps_its_length(request_: Request, length: bytes) -> None:
    """And its strong tag; but it varies."""
    head = answer((b"etag", b'"a"'), (b"content-length", length))
    compression().bodiless(request_, head)

    assert head.fields == [
        JSON,
        (b"etag", b'"a"'),
        (b"content-length", length),
        (b"vary", b"Accept-Encoding"),
    ]


@pytest.mark.parametrize(
    ("known", "after"),
    [(None, b'W/"a"'), (b'W/"a"', b'W/"a"'), (b'"a"', b'"a"'), (b"*", b'W/"a"'), (b'"b", W/"a"', b'W/"a"')],
)
@pytest.mark.parametrize("fields", [(JSON,), ()], ids=["typed", "untyped"])
def test_a_304_names_the_tag_the_client_holds(
    known: bytes | None, after: bytes, fields: tuple[tuple[bytes, bytes], ...]
) -> None:
    """Weak, if its body was compressed; a 304 seldom says of what type that was."""
    head = Head(304, [*fields, (b"etag", b'"a"')])
    request = asked() if known is None else asked(if_none_match=known)
    compression().bodiless(request, head)

    assert head.get(b"etag") == after
    assert head.get(b"vary") == b"Accept-Encoding"


@pytest.mark.parametrize(
    ("version", "length", "kept"),
    [
        ("1.1", b"31457280", True),
        ("1.1", b"31457281", False),
        ("1.1", b"5", True),
        ("1.1", b"nonsense!", True),
        ("1.0", b"99999999", True),  # it knows no chunks
        ("2", b"99999999", True),
    ],
)
def test_a_length_the_front_end_would_refuse_is_not_told(version: str, length: bytes, kept: bool) -> None:
    """Above 30 MiB, over HTTP/1.1."""
    head = answer((b"content-length", length))
    request = Request({"type": "http", "http_version": version, "method": "GET", "headers": []})
    without_a_length_too_large(request, head)

    assert (head.get(b"content-length") == length) is kept
    empty = answer()
    without_a_length_too_large(request, empty)
    assert empty.fields == [JSON]
