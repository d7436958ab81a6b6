"""Who has an answer already is told so (RFC 9110 §13)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.asgi.conditional import as_not_modified, etag_of, not_modified, opaque_tags
from perfkit.asgi.dates import epoch_s_of, http_date
from perfkit.asgi.head import Head
from perfkit.asgi.request import Request
from tests.asgi.imitated import scope

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"


def is_not_modified(
    *fields: tuple[str, str], etag: str = '"a"', changed: str = DATE, method: str = "GET", status: int = 200
) -> bool:
    """Tell whether a request gets 304 in place of an answer."""
    head = Head(status, [(b"etag", etag.encode()), (b"last-modified", changed.encode())])
    return not_modified(Request(scope(method, "/", fields)), head)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ('"b",W/"a" , "c"', True),
        (',, "a"', True),
        ("*", True),
        (" * ", True),
        ('"b"', False),
        ('"A"', False),
        ("a", False),
        ('w/"a"', False),
        ('"a', False),
        ('"b" "a"', False),
        ('x, "a"', False),
        ('"b, "a"', False),
        ("", False),
        ('*, "x"', False),
    ],
)
def test_tags_are_compared_weakly(condition: str, expected: bool) -> None:
    """A list is read up to where it breaks the grammar."""
    assert is_not_modified(("if-none-match", condition)) is expected
    assert is_not_modified(("if-none-match", condition), etag='W/"a"') is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (DATE, True),
        (LATER, True),
        (EARLIER, False),
        ("Sunday, 06-Nov-94 08:49:37 GMT", True),
        ("Sun Nov  6 08:49:37 1994", True),
        (DATE.replace("GMT", "UTC"), False),
        (DATE.replace(":49:", ":60:"), False),
        ("9" * 20, False),
        ("", False),
    ],
)
def test_dates_are_compared_where_there_is_no_tag(condition: str, expected: bool) -> None:
    """What is no date is as if it were not there."""
    assert is_not_modified(("if-modified-since", condition)) is expected


def test_a_tag_counts_before_a_date() -> None:
    """RFC 9110 §13.2.2."""
    assert not is_not_modified(("if-none-match", '"b"'), ("if-modified-since", LATER))
    assert is_not_modified(("if-none-match", '"a"'), ("if-modified-since", EARLIER))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_reads_are_not_modified(method: str) -> None:
    """A 304 answers nothing else."""
    assert not is_not_modified(("if-none-match", "*"), method=method)


@pytest.mark.parametrize("status", [204, 206, 301, 404, 500])
def test_only_what_would_be_a_200_is_not_modified(status: int) -> None:
    """Errors are told."""
    assert not is_not_modified(("if-none-match", "*"), status=status)


def test_a_304_says_what_is_kept_and_not_what_is_in_it() -> None:
    """RFC 9110 §15.4.5."""
    told = ["cache-control", "content-location", "date", "etag", "expires", "vary", "set-cookie"]
    untold = ["content-type", "content-length", "content-encoding", "content-language", "last-modified"]
    head = Head(200, [(name.encode(), b"x") for name in told + untold])
    assert [name.decode() for name, _ in as_not_modified(head).fields] == told
    assert len(head.fields) == len(told + untold)
    assert as_not_modified(Head(200, [(b"last-modified", b"x")])).get(b"last-modified") == b"x"


@given(st.binary(), st.binary())
def test_a_tag_names_its_bytes(one: bytes, other: bytes) -> None:
    """Weak, well-formed, the same for the same bytes and no others."""
    assert (etag_of(one) == etag_of(other)) is (one == other)
    tags = opaque_tags(etag_of(one))
    assert tags is not None
    assert len(tags) == 1


@given(st.binary(max_size=60))
def test_any_bytes_are_read_as_tags_without_a_complaint(value: bytes) -> None:
    """Users write what they like."""
    tags = opaque_tags(value)
    assert tags is None or all(tag[:1] == b'"' == tag[-1:] for tag in tags)


@given(st.integers(0, 4_102_444_800))
def test_a_date_that_is_written_is_read(epoch_s: int) -> None:
    """And its obsolete forms are the same date."""
    assert epoch_s_of(http_date(epoch_s)) == epoch_s


@given(st.binary(max_size=40))
def test_any_bytes_are_read_as_a_date_without_a_complaint(value: bytes) -> None:
    """Most are none."""
    assert epoch_s_of(value) is None or b":" in value


@pytest.mark.parametrize(
    "date",
    [
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 NOV 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 gmt",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06  Nov 1994 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
    ],
)
def test_what_is_nearly_a_date_is_none(date: str) -> None:
    """The next cache would read it otherwise."""
    assert epoch_s_of(date.encode()) is None
