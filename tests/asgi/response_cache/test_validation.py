"""Asking the application whether what is kept is still true, and clients who have it already."""

from __future__ import annotations

import pytest

from perfkit.asgi.dates import http_date
from tests.asgi.response_cache.site import EPOCH_S, Site

Field = tuple[str, str]
TAGGED = [("cache-control", "max-age=60"), ("etag", '"a"')]
DATE = http_date(int(EPOCH_S)).decode()


def sent(site: Site, name: bytes) -> bytes | None:
    """Return a field of the latest request the application saw."""
    return dict(site.asked[-1]["headers"]).get(name)


async def test_a_304_freshens_what_is_kept() -> None:
    """The body is kept, the fields are the new ones, and the client gets a whole answer."""
    site = Site(*TAGGED, ("x-kept", "old"), ("date", DATE))
    await site.get()
    site.now_s += 61
    site.page.fields = (*TAGGED, ("x-new", "1"), ("content-length", "0"), ("content-encoding", "gzip"))
    renewed = await site.get()
    assert (renewed.status, renewed.body, renewed.get("age")) == (200, b"answer 1", "0")
    assert renewed.get("cache-status") == "perfkit; fwd=stale; fwd-status=304; stored"
    assert sent(site, b"if-none-match") == b'"a"'

    site.now_s += 59
    again = await site.get()
    assert (again.body, again.get("x-kept"), again.get("x-new")) == (b"answer 1", "old", "1")
    assert again.get("content-encoding") is None
    assert site.calls == 2


async def test_what_has_changed_takes_the_place_of_what_was_kept() -> None:
    """A 200 to a question with validators."""
    site = Site(*TAGGED)
    await site.get()
    site.now_s += 61
    site.page.fields = (("cache-control", "max-age=60"), ("etag", '"b"'))
    assert (await site.get()).body == b"answer 2"
    assert (await site.get()).body == b"answer 2"
    assert site.calls == 2


async def test_a_date_is_a_validator_too() -> None:
    """`Last-Modified` is sent as `If-Modified-Since`."""
    site = Site(("cache-control", "max-age=60"), ("last-modified", DATE))
    await site.get()
    site.now_s += 61
    await site.get()
    assert sent(site, b"if-modified-since") == DATE.encode()


async def test_without_a_validator_there_is_no_condition() -> None:
    """And none of the client's: there must be something to keep."""
    site = Site(("cache-control", "max-age=60"))
    await site.get("/", ("if-none-match", '"x"'), ("if-modified-since", DATE))
    assert sent(site, b"if-none-match") is None
    assert sent(site, b"if-modified-since") is None


async def test_the_clients_own_condition_is_judged_by_what_is_kept() -> None:
    """304 to who has it, though the application was asked with another tag; the whole to the others."""
    site = Site(*TAGGED)
    await site.get()
    for seconds in (0, 61):
        site.now_s += seconds
        assert (await site.get("/", ("if-none-match", 'W/"a"'))).status == 304
        assert (await site.get("/", ("if-none-match", '"x", "y"'))).status == 200
    assert site.calls == 2


async def test_what_says_no_cache_is_asked_about_each_time() -> None:
    """And costs the application a 304."""
    site = Site(("cache-control", "max-age=60, no-cache"), ("etag", '"a"'))
    await site.get()
    for calls in (2, 3):
        assert (await site.get()).body == b"answer 1"
        assert (site.calls, sent(site, b"if-none-match")) == (calls, b'"a"')


@pytest.mark.parametrize("condition", ["if-match", "if-unmodified-since"])
async def test_conditions_of_the_origin_are_judged_by_the_application(condition: str) -> None:
    """RFC 9111 §4.3.2: they are not the cache's to evaluate."""
    site = Site(*TAGGED)
    await site.get()
    await site.get("/", (condition, '"x"'))
    assert (site.calls, sent(site, condition.encode())) == (2, b'"x"')


class TestRange:
    """Parts of what is kept."""

    async def test_a_part_of_what_is_kept_is_cut_here(self) -> None:
        """206 without a call of the application."""
        site = Site(*TAGGED)
        await site.get()
        part = await site.get("/", ("range", "bytes=0-5"))
        assert (part.status, part.raw, part.get("content-range")) == (206, b"answer", "bytes 0-5/8")
        assert site.calls == 1

    async def test_a_part_of_what_is_not_kept_is_the_applications_matter(self) -> None:
        """It sees the range, and nobody waits for it."""
        site = Site(*TAGGED)
        await site.get("/", ("range", "bytes=0-5"))
        assert sent(site, b"range") == b"bytes=0-5"


class TestHead:
    """HEAD is answered from what a GET left, and brings it up to date."""

    async def test_is_answered_from_what_is_kept(self) -> None:
        """The same fields, no body."""
        site = Site(*TAGGED)
        await site.get()
        head = await site.get(method="HEAD")
        assert (head.status, head.raw, head.get("age"), site.calls) == (200, b"", "0", 1)

    async def test_brings_fields_up_to_date(self) -> None:
        """RFC 9111 §4.3.5: those of the answer to a HEAD count for what is kept, if it is the same."""
        site = Site(("cache-control", "max-age=60"), ("x-version", "1"))
        await site.get()
        site.now_s += 61
        site.page.fields = (("cache-control", "max-age=60"), ("x-version", "2"))
        await site.get(method="HEAD")
        kept = await site.get()
        assert (kept.body, kept.get("x-version"), site.calls) == (b"answer 1", "2", 2)

    async def test_about_another_answer_changes_nothing(self) -> None:
        """Its tag is another."""
        site = Site(*TAGGED)
        await site.get()
        site.now_s += 61
        site.page.fields = (("cache-control", "max-age=60"), ("etag", '"b"'))
        await site.get(method="HEAD")
        assert (await site.get()).body == b"answer 3"


class TestRequestDirectives:
    """What a client may ask of the cache (RFC 9111 §5.2.1)."""

    @pytest.mark.parametrize(
        "said", ["no-cache", "max-age=0", "max-age=20", "min-fresh=40", "no-store", "no-cache, max-stale"]
    )
    async def test_a_client_that_wants_it_fresher_gets_it(self, said: str) -> None:
        """Half of its minute is over."""
        site = Site(("cache-control", "max-age=60"))
        await site.get()
        site.now_s += 30
        answer = await site.get("/", ("cache-control", said))
        assert answer.body == b"answer 2"
        assert (answer.get("cache-status") or "").startswith("perfkit; fwd=request")

    @pytest.mark.parametrize("said", ["max-age=40", "min-fresh=20", "max-stale", "no-transform", "unknown"])
    async def test_a_client_that_is_content_gets_what_is_kept(self, said: str) -> None:
        """So does one that says nothing to the point."""
        site = Site(("cache-control", "max-age=60"))
        await site.get()
        site.now_s += 30
        assert (await site.get("/", ("cache-control", said))).body == b"answer 1"

    async def test_pragma_counts_where_nothing_else_is_said(self) -> None:
        """It is older than Cache-Control."""
        site = Site(("cache-control", "max-age=60"))
        await site.get()
        assert (await site.get("/", ("pragma", "no-cache"))).body == b"answer 2"
        assert (
            await site.get("/", ("pragma", "no-cache"), ("cache-control", "max-age=60"))
        ).body == b"answer 2"

    @pytest.mark.parametrize(
        ("kept", "said", "served"),
        [
            ("max-age=60", "max-stale", True),
            ("max-age=60", "max-stale=10", True),
            ("max-age=60", "max-stale=4", False),
            ("max-age=60", "max-stale=soon", False),
            ("max-age=60, must-revalidate", "max-stale", False),
            ("max-age=60, proxy-revalidate", "max-stale", False),
            ("s-maxage=60", "max-stale", False),
        ],
    )
    async def test_what_is_stale_is_served_to_who_takes_it(self, kept: str, said: str, served: bool) -> None:
        """Unless the answer forbids it."""
        site = Site(("cache-control", kept))
        await site.get()
        site.now_s += 65
        answer = await site.get("/", ("cache-control", said))
        assert answer.body == (b"answer 1" if served else b"answer 2")

    async def test_a_client_that_wants_what_is_kept_or_nothing_gets_504(self) -> None:
        """`only-if-cached`."""
        site = Site(("cache-control", "max-age=60"))
        assert (await site.get("/", ("cache-control", "only-if-cached"))).status == 504
        assert site.calls == 0
        await site.get()
        assert (await site.get("/", ("cache-control", "only-if-cached"))).body == b"answer 1"

    async def test_what_a_reload_brings_is_kept_for_the_others(self) -> None:
        """And the validators of what was kept save the body."""
        site = Site(*TAGGED)
        await site.get()
        site.now_s += 30
        await site.get("/", ("cache-control", "no-cache"))
        assert sent(site, b"if-none-match") == b'"a"'
        site.now_s += 50
        assert (await site.get()).get("age") == "50"
