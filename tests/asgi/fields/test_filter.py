"""The stage: what a request asks for, which responses can be filtered, and the answer to nonsense."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perfkit.asgi.fields import FieldFilter, FieldsError, as_filtered, problem
from perfkit.asgi.head import Head
from perfkit.asgi.request import Request
from perfkit.asgi.settings import AsgiSettings


def request(query: bytes | None, **scope: Any) -> Request:
    """A GET with a query string."""
    more = {} if query is None else {"query_string": query}
    return Request({"type": "http", "method": "GET", "headers": [], **more, **scope})


def head(status: int = 200, **fields: str) -> Head:
    """A head, its fields with `_` for `-`."""
    return Head(status, [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()])


@pytest.mark.parametrize(
    "query", [None, b"", b"a=1", b"fields=", b"fields", b"fields=*", b"fields=a,*", b"x=%66"]
)
def test_who_asks_for_nothing_in_particular_gets_everything(query: bytes | None) -> None:
    """There is no mask then, and nothing to do."""
    assert FieldFilter(AsgiSettings()).mask_of(request(query)) is None


def test_several_parameters_are_one_choice() -> None:
    """As if there were commas between."""
    mask = FieldFilter(AsgiSettings()).mask_of(request(b"fields=b/c&x=1&fields=b%2Fd,%20a"))

    assert mask is not None
    assert mask.key == "b(c,d),a"


def test_the_parameter_may_have_another_name_and_dots_a_meaning() -> None:
    """As its API has always had it."""
    fields = FieldFilter(AsgiSettings(), parameter="$select", dots=True)

    assert fields.mask_of(request(b"fields=a")) is None
    for query in (b"$select=a.b", b"%24select=a.b"):
        mask = fields.mask_of(request(query))
        assert mask is not None
        assert mask.key == "a(b)"


def test_a_choice_that_cannot_be_read_is_refused_each_time() -> None:
    """And counted."""
    fields = FieldFilter(AsgiSettings())
    for _ in range(2):
        with pytest.raises(FieldsError):
            fields.mask_of(request(b"fields=a("))
        with pytest.raises(FieldsError):
            fields.mask_of(request(b"fields=%"))

    assert fields.counts.refused == 4


def test_two_masks_of_one_filter_share_its_limits() -> None:
    """`fields_max_bytes` of the settings."""
    fields = FieldFilter(AsgiSettings(fields_max_bytes=1_024))
    mask = fields.mask_of(request(b"fields=a"))

    assert mask is not None
    assert mask.apply(b'{"a":1,"b":"%s"}' % (b"x" * 1_000)) == b'{"a":1}'
    assert mask.apply(b'{"a":1,"b":"%s"}' % (b"x" * 1_024)) is None


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("application/json", "json"),
        ("Application/JSON", "json"),
        ("application/json;charset=utf-8", "json"),
        ('application/json; charset="UTF-8"; v=1', "json"),
        ("application/vnd.api+json", "json"),
        ("application/hal+json", "json"),
        ("application/x-ndjson", "lines"),
        ("application/jsonl", "lines"),
        ("application/problem+json", ""),
        ("application/json; charset=utf-16", ""),
        ("application/json-seq", ""),
        ("application/jsonp", ""),
        ("text/plain", ""),
        ("text/event-stream", ""),
        ("", ""),
        (";", ""),
    ],
)
def test_which_types_are_filtered(content_type: str, form: str) -> None:
    """JSON and lines of JSON, whoever named them; never the details of a problem."""
    assert FieldFilter(AsgiSettings()).form_of(head(content_type=content_type)) == form


@pytest.mark.parametrize("status", [200, 201, 202, 203, 207])
def test_success_is_filtered(status: int) -> None:
    """Whatever kind of."""
    assert FieldFilter(AsgiSettings()).form_of(head(status, content_type="application/json")) == "json"


@pytest.mark.parametrize("status", [103, 204, 205, 206, 300, 304, 400, 404, 500])
def test_errors_parts_and_what_has_no_body_are_not(status: int) -> None:
    """An error's message is no field anybody thinks of."""
    assert FieldFilter(AsgiSettings()).form_of(head(status, content_type="application/json")) == ""


@pytest.mark.parametrize(
    "fields", [{"content_encoding": "gzip"}, {"content_encoding": "br"}, {"content_range": "bytes 0-1/2"}]
)
def test_what_is_encoded_already_is_not(fields: dict[str, str]) -> None:
    """Its bytes are no JSON; `identity` is no coding."""
    stage = FieldFilter(AsgiSettings())

    assert stage.form_of(head(content_type="application/json", **fields)) == ""
    assert stage.form_of(head(content_type="application/json", content_encoding="identity")) == "json"


def test_a_head_no_longer_speaks_of_the_whole() -> None:
    """Length, digests and ranges go; a strong ETag is weakened, a weak one stays."""
    whole = head(
        content_type="application/json",
        content_length="9",
        content_md5="x",
        content_digest="x",
        repr_digest="x",
        digest="x",
        accept_ranges="bytes",
        etag='"1"',
        last_modified="Mon, 01 Jan 2024 00:00:00 GMT",
    )
    as_filtered(whole)
    assert dict(whole.fields) == {
        b"content-type": b"application/json",
        b"etag": b'W/"1"',
        b"last-modified": b"Mon, 01 Jan 2024 00:00:00 GMT",
    }
    as_filtered(whole)
    assert whole.get(b"etag") == b'W/"1"'


@pytest.mark.parametrize(
    "query",
    [
        b"fields=<script>alert(1)</script>(",
        b"fields=%0d%0aSet-Cookie:x",
        b"fields=%E2%80%AE(",
        b'fields="},{"(',
    ],
)
def test_the_answer_to_nonsense_says_where_it_is_and_repeats_nothing(query: bytes) -> None:
    """RFC 9457; what the client sent could be somebody else's script."""
    with pytest.raises(FieldsError) as caught:
        FieldFilter(AsgiSettings()).mask_of(request(query))
    answer, body = problem(caught.value)
    told = json.loads(body)

    assert answer.status == 400
    assert answer.get(b"content-type") == b"application/problem+json"
    assert answer.get(b"content-length") == b"%d" % len(body)
    assert answer.get(b"cache-control") == b"no-store"
    assert told["title"] == "Bad Request"
    assert told["status"] == 400
    assert told["position"] == caught.value.position
    assert "position" in told["detail"]
    assert not any(part in body for part in (b"script", b"Cookie", b"\\u", b"},{"))
