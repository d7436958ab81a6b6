"""Parts of an answer (RFC 9110 §14)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.asgi.head import Head
from perfkit.asgi.ranges import ranged
from perfkit.asgi.request import Request
from tests.asgi.imitated import scope

BODY = b"0123456789"
CHANGED, SENT = "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:40 GMT"


def cut(
    *fields: tuple[str, str],
    body: bytes = BODY,
    method: str = "GET",
    status: int = 200,
    etag: str = '"a"',
) -> tuple[Head, bytes] | None:
    """Return what a request for a part gets."""
    lines = [
        (b"content-type", b"text/plain"),
        (b"etag", etag.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"last-modified", CHANGED.encode()),
        (b"date", SENT.encode()),
        (b"vary", b"origin"),
    ]
    return ranged(Request(scope(method, "/", fields)), Head(status, lines), body)


def cut_out(*fields: tuple[str, str], body: bytes = BODY) -> tuple[Head, bytes]:
    """Return the part, which there is."""
    part = cut(*fields, body=body)
    assert part is not None
    return part


@pytest.mark.parametrize(
    ("asked", "part", "place"),
    [
        ("bytes=0-0", b"0", "0-0"),
        ("bytes=2-5", b"2345", "2-5"),
        ("bytes=7-", b"789", "7-9"),
        ("bytes=-3", b"789", "7-9"),
        ("bytes=-30", BODY, "0-9"),
        ("bytes=5-500", b"56789", "5-9"),
        ("BYTES=2-3", b"23", "2-3"),
        ("bytes= 2-3 ", b"23", "2-3"),
        ("bytes=,2-3,", b"23", "2-3"),
        ("bytes=2-3,50-60", b"23", "2-3"),
    ],
)
def test_one_range_is_answered_as_it_is(asked: str, part: bytes, place: str) -> None:
    """206, its place in the whole, and its own length."""
    head, some = cut_out(("range", asked))
    assert (head.status, some) == (206, part)
    assert head.get(b"content-range") == f"bytes {place}/10".encode()
    assert head.get(b"content-length") == b"%d" % len(part)
    assert head.get(b"etag") == b'"a"'


@pytest.mark.parametrize(
    "asked",
    [
        *("", "bytes", "bytes=", "bytes=x-y", "bytes=5-2", "bytes=1", "bytes=--1", "bytes=1-2-3", "bytes=-"),
        *("items=0-1", "bytes=+1-2", "bytes=1 - 2", "bytes=0-1;2-3", "bytes=1_0-20"),
        "bytes=" + "9" * 40 + "-",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(17)),
    ],
)
def test_what_is_no_range_of_bytes_is_ignored(asked: str) -> None:
    """The whole is sent (RFC 9110 §14.2)."""
    assert cut(("range", asked)) is None


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=50-60,70-"])
def test_a_range_beyond_the_end_is_not_satisfiable(asked: str) -> None:
    """416 says how long the whole is."""
    head, some = cut_out(("range", asked))
    assert (head.status, some, head.get(b"content-range")) == (416, b"", b"bytes */10")
    assert head.get(b"content-type") is None
    assert head.get(b"vary") == b"origin"


def test_an_empty_body_has_no_range() -> None:
    """Not even its last byte."""
    assert cut_out(("range", "bytes=-1"), body=b"")[0].status == 416


def test_several_ranges_come_in_parts() -> None:
    """`multipart/byteranges`, in the order asked for."""
    head, some = cut_out(("range", "bytes=7-8, 0-1"))
    boundary = head.get(b"content-type").removeprefix(b"multipart/byteranges; boundary=")
    parts = re.findall(
        rb"content-type: text/plain\r\ncontent-range: bytes (\S+)\r\n\r\n(.*?)\r\n--" + boundary, some
    )
    assert parts == [(b"7-8/10", b"78"), (b"0-1/10", b"01")]
    assert some.startswith(b"\r\n--" + boundary)
    assert some.endswith(b"--" + boundary + b"--\r\n")
    assert head.get(b"content-length") == b"%d" % len(some)
    assert head.get(b"content-range") is None


@pytest.mark.parametrize("asked", ["bytes=0-5,3-8", "bytes=0-,0-", "bytes=0-4,5-9", "bytes=1-2,1-2"])
def test_ranges_that_overlap_or_are_all_of_it_get_the_whole(asked: str) -> None:
    """The answer must never be larger than the whole."""
    assert cut(("range", asked)) is None


@pytest.mark.parametrize(
    ("condition", "etag", "is_part"),
    [
        ('"a"', '"a"', True),
        ('"b"', '"a"', False),
        ('W/"a"', 'W/"a"', False),
        ('"a"', 'W/"a"', False),
        (CHANGED, '"a"', True),
        (SENT, '"a"', False),
        ("Sunday, 06-Nov-94 08:49:37 GMT", '"a"', False),
        ("yesterday", '"a"', False),
    ],
)
def test_a_part_is_sent_only_of_what_the_client_has(condition: str, etag: str, is_part: bool) -> None:
    """`If-Range`: a strong tag, or the very date."""
    assert (cut(("range", "bytes=0-1"), ("if-range", condition), etag=etag) is not None) is is_part


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 200), ("GET", 404), ("GET", 206)])
def test_only_a_200_to_a_get_has_parts(method: str, status: int) -> None:
    """RFC 9110 §14.2."""
    assert cut(("range", "bytes=0-1"), method=method, status=status) is None


@given(st.binary(max_size=60), st.integers(-5, 70), st.integers(-5, 70))
def test_any_range_is_the_slice_it_says(body: bytes, first: int, last: int) -> None:
    """Or the whole, or an error."""
    result = cut(("range", f"bytes={first}-{last}"), body=body)
    if result is not None and result[0].status == 206:
        assert result[1] == body[first : last + 1] != b""


@given(st.text(max_size=40))
def test_any_text_is_read_as_a_range_without_a_complaint(text: str) -> None:
    """Users write what they like."""
    value = text.encode("utf-8", "ignore").decode("latin-1")
    cut(("range", value))
    cut(("range", "bytes=" + value))
