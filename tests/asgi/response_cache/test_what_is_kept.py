"""Which answers are kept at all, and which fields of them."""

from __future__ import annotations

import pytest

from tests.asgi.imitated import Answer, Scripted, body, hear, scope, start
from tests.asgi.response_cache.site import Site

MINUTE = ("cache-control", "max-age=60")
Field = tuple[str, str]


async def twice(site: Site, *fields: Field, method: str = "GET", **more: str) -> list[Answer]:
    """Return what two clients get who ask alike."""
    return [await site.get("/", *fields, method=method, **more) for _ in range(2)]


@pytest.mark.parametrize(
    ("request_fields", "response_fields"),
    [
        ([], [("cache-control", "no-store, max-age=60")]),
        ([], [("cache-control", "private, max-age=60")]),
        ([], [("cache-control", 'private="x", max-age=60')]),
        ([], [("cache-control", "public, max-age=60"), ("set-cookie", "a=1")]),
        ([], [MINUTE, ("vary", "*")]),
        ([], [MINUTE, ("vary", "origin, *")]),
        ([("authorization", "Bearer 1")], [MINUTE]),
        ([("authorization", "Bearer 1")], [MINUTE, ("vary", "authorization")]),
        ([("cookie", "a=1")], [MINUTE]),
        ([("cookie", "a=1")], [("cache-control", "max-age=60, must-revalidate")]),
        ([("cache-control", "no-store")], [MINUTE]),
        ([("content-length", "5")], [MINUTE]),
        ([("transfer-encoding", "chunked")], [MINUTE]),
    ],
)
async def test_what_may_not_be_shared_is_made_anew(
    request_fields: list[Field], response_fields: list[Field]
) -> None:
    """Private, personal, incomplete, or made for this very request."""
    site = Site(*response_fields)
    first, second = await twice(site, *request_fields)
    assert site.calls == 2
    assert "stored" not in (first.get("cache-status") or "")
    assert first.raw != second.raw


@pytest.mark.parametrize("length", ["500", "1"])
async def test_a_body_that_is_not_as_long_as_was_said_is_not_kept(length: str) -> None:
    """It was cut off, or is not what was meant."""
    site = Site(MINUTE, ("content-length", length))
    await twice(site)
    assert site.calls == 2


@pytest.mark.parametrize(
    ("request_fields", "said"),
    [
        ([("authorization", "Bearer 1")], "public, max-age=60"),
        ([("authorization", "Bearer 1")], "s-maxage=60"),
        ([("authorization", "Bearer 1")], "max-age=60, must-revalidate"),
        ([("cookie", "a=1")], "public, max-age=60"),
        ([("cookie", "a=1")], "s-maxage=60"),
        ([("content-length", "0")], "max-age=60"),
    ],
)
async def test_what_says_that_it_is_for_all_is_kept(request_fields: list[Field], said: str) -> None:
    """RFC 9111 §3.5, and the same for cookies."""
    site = Site(("cache-control", said))
    first, second = await twice(site, *request_fields)
    assert (site.calls, second.body) == (1, first.body)
    assert first.get("cache-status") == "perfkit; fwd=uri-miss; stored"


async def test_an_answer_for_anybody_is_not_given_to_who_brings_credentials() -> None:
    """It was not said to be for all, and the application may know more now."""
    site = Site(MINUTE)
    await site.get()
    answer = await site.get("/", ("authorization", "Bearer 1"))
    assert (site.calls, answer.body) == (2, b"answer 2")
    assert answer.get("cache-status") == "perfkit; fwd=bypass"
    assert (await site.get()).body == b"answer 1"


@pytest.mark.parametrize("status", [200, 203, 204, 301, 302, 307, 404, 410, 500, 503])
async def test_any_final_status_with_a_time_is_kept(status: int) -> None:
    """The application said for how long."""
    site = Site(MINUTE)
    site.page.status = status
    first, second = await twice(site)
    assert (first.status, second.status, site.calls) == (status, status, 1)


@pytest.mark.parametrize(("status", "said"), [(206, "max-age=60"), (599, "max-age=60, must-understand")])
async def test_a_part_is_not_kept_and_nor_is_what_is_not_understood(status: int, said: str) -> None:
    """RFC 9111 §3.3, §5.2.2.3."""
    site = Site(("cache-control", said))
    site.page.status = status
    await twice(site)
    assert site.calls == 2


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST", "PURGE"])
async def test_only_answers_to_get_are_kept(method: str) -> None:
    """Whatever they say."""
    site = Site(MINUTE)
    await twice(site, method=method)
    assert site.calls == 2


async def test_fields_of_the_connection_are_not_kept() -> None:
    """RFC 9111 §3.1: those known to be of one hop, and those that `Connection` names."""
    hops = [("connection", "keep-alive, X-Hop"), ("keep-alive", "timeout=5"), ("x-hop", "1"), ("te", "gzip")]
    site = Site(MINUTE, *hops, ("x-own", "kept"), ("proxy-authenticate", "Basic"))
    _, second = await twice(site)
    names = {name for name, _ in second.fields}
    assert b"x-own" in names
    assert names.isdisjoint({b"connection", b"keep-alive", b"x-hop", b"te", b"proxy-authenticate"})


async def test_what_is_larger_than_the_bound_passes_and_is_not_kept() -> None:
    """Whether the length is said before or found out on the way."""
    for fields in ([MINUTE], [MINUTE, ("content-length", "2000")]):
        site = Site(*fields, response_cache_max_bytes=1_024)
        site.page.content = b"x" * 2_000
        first, _ = await twice(site)
        assert (first.raw, site.calls) == (b"x" * 2_000, 2)


async def test_a_body_in_pieces_is_kept_whole() -> None:
    """And served in one."""
    site = Site(MINUTE)
    site.page.pieces = 3
    first, second = await twice(site)
    assert first.raw == second.raw == b"piece 0 piece 1 answer 1"


async def test_an_answer_with_trailers_is_not_kept() -> None:
    """They come after the body, and are no part of what is kept."""
    site = Site(MINUTE)
    site.page.messages = [{"type": "http.response.trailers", "headers": []}]
    await twice(site)
    await site.settle()
    assert site.calls == 2


async def test_a_file_that_the_server_sends_by_itself_is_not_kept() -> None:
    """Its bytes never pass here."""
    path = {"type": "http.response.pathsend", "path": "/etc/hostname"}
    head = start(200, MINUTE)
    app = Scripted([head, path])
    site = Site()
    site.layer.app = app
    for _ in range(2):
        answer = await site.get(extensions={"http.response.pathsend": {}})
        assert answer.types == ["http.response.start", "http.response.pathsend"]
    assert len(app.scopes) == 2


async def test_an_answer_that_ends_in_an_exception_is_not_kept() -> None:
    """Half a body is no body."""
    site = Site(MINUTE)

    app = Scripted([start(200, MINUTE), body(b"half", more=True), ConnectionError("cut off")])
    site.layer.app = app
    first, second = await twice(site)
    assert isinstance(first.error, ConnectionError)
    assert isinstance(second.error, ConnectionError)
    assert len(app.scopes) == 2


async def test_queries_are_told_apart_to_the_byte_and_hosts_and_schemes_too() -> None:
    """Order may matter to the application; only the field filter's own parameter is left out."""
    site = Site(MINUTE)
    for query in ("a=1&b=2", "b=2&a=1", "a=1&b=2&", "A=1&b=2", ""):
        await site.get(query=query)
    assert site.calls == 5
    await site.get(query="a=1&fields=x&b=2")
    await site.get(query="fields=y")
    assert site.calls == 5
    await site.get(scheme="https")
    await site.get("/", headers=[(b"host", b"other.example")])
    assert site.calls == 7
    await site.get("/", headers=[(b"host", b"SERVICE.example:80")])
    assert site.calls == 7


async def test_the_application_never_sees_the_parameter_of_the_field_filter() -> None:
    """So what it answers is for everybody, whatever fields they want."""
    site = Site(MINUTE)
    await site.get(query="fields=id&page=2")
    assert site.asked[0]["query_string"] == b"page=2"


@pytest.mark.parametrize(
    "changed", [{"path": "/other"}, {"raw_path": b"/%2F"}, {"root_path": "/mounted", "path": "/"}]
)
async def test_what_the_application_routes_by_is_part_of_the_key(changed: dict[str, object]) -> None:
    """The path as it travelled, as it was decoded, and what it is mounted under."""
    site = Site(MINUTE)
    await site.get("/")
    await hear(site.layer, {**scope("GET", "/"), **changed})
    assert site.calls == 2
