"""How long an answer is served without asking: what the response says, in the order of RFC 9111 and 9213."""

from __future__ import annotations

import pytest

from perfkit.asgi.dates import http_date
from tests.asgi.response_cache.site import EPOCH_S, Site


def date(seconds: float) -> str:
    """Return a date so many seconds after the tests begin."""
    return http_date(int(EPOCH_S + seconds)).decode()


FRESH_FOR_60 = [
    [("cache-control", "max-age=60")],
    [("cache-control", 'max-age="60"')],
    [("Cache-Control", "MAX-AGE=60")],
    [("cache-control", "max-age=600, s-maxage=60")],
    [("cache-control", "max-age=600"), ("cache-control", "s-maxage=60")],
    [("cache-control", "max-age=600, max-age=60")],
    [("cache-control", "max-age=60, must-revalidate")],
    [("cache-control", 'ext="max-age=600", max-age=60')],
    [("expires", date(60))],
    [("expires", date(90)), ("date", date(30))],
    [("cache-control", "max-age=60"), ("expires", date(600))],
    [("cache-control", "max-age=90"), ("age", "30")],
    [("cache-control", "max-age=90"), ("date", date(-30))],
    [("cdn-cache-control", "max-age=60"), ("cache-control", "no-store"), ("expires", date(-5))],
    [("cdn-cache-control", "max-age=60, &"), ("cache-control", "max-age=60")],
    [("cache-control", "no-store, must-understand, max-age=60")],
]


@pytest.mark.parametrize("fields", FRESH_FOR_60)
async def test_an_answer_is_served_for_as_long_as_it_says(fields: list[tuple[str, str]]) -> None:
    """Fresh while its age is below its lifetime, and not a second longer."""
    site = Site(*fields)
    first = await site.get()
    site.now_s += 59
    second = await site.get()
    assert (second.body, site.calls) == (first.body, 1)
    assert second.get("age") == str(
        59 + int(dict(fields).get("age", 0)) + 30 * (dict(fields).get("date") == date(-30))
    )
    assert second.get("cache-status") == "perfkit; hit; ttl=1"

    site.now_s += 1
    assert (await site.get()).body == b"answer 2"


NEVER_FRESH = [
    [],
    [("last-modified", date(-1_000_000))],
    [("expires", "0")],
    [("expires", date(0))],
    [("expires", date(60)), ("date", date(90))],
    [("expires", date(60).replace("GMT", "UTC"))],
    [("cache-control", "max-age=0"), ("expires", date(600))],
    [("cache-control", "max-age=-1")],
    [("cache-control", "max-age=60.5")],
    [("cache-control", "max-age=soon")],
    [("cache-control", "max-age= 60")],
    [("cache-control", "max-age=60, max-age=0")],
    [("cache-control", "public")],
    [("cache-control", "max-age=60"), ("age", "60")],
    [("cache-control", "max-age=60"), ("age", "old")],
    [("cache-control", "max-age=60"), ("age", "0"), ("age", "0")],
    [("cache-control", "max-age=60"), ("date", date(-90))],
    [("cache-control", "max-age=600"), ("cdn-cache-control", "max-age=0")],
    [("cache-control", "max-age=600"), ("cdn-cache-control", "no-store")],
    [("cdn-cache-control", 'max-age="600"'), ("cache-control", "no-store")],
    [("cache-control", "max-age=60, no-cache")],
    [("cache-control", 'max-age=60, no-cache="set-cookie"')],
    [("cache-control", 'max-age=60, broken="')],
    [("pragma", "no-cache")],
]


@pytest.mark.parametrize("fields", NEVER_FRESH)
async def test_an_answer_that_is_not_fresh_is_asked_for_each_time(fields: list[tuple[str, str]]) -> None:
    """Nothing is guessed, and what cannot be read is stale."""
    site = Site(*fields)
    await site.get()
    site.now_s += 0.5
    await site.get()
    assert site.calls == 2


async def test_a_public_answer_without_a_time_gets_the_knobs() -> None:
    """`response_cache_ttl_seconds`."""
    site = Site(("cache-control", "public"), response_cache_ttl_seconds=30.0)
    await site.get()
    site.now_s += 29
    await site.get()
    assert site.calls == 1
    site.now_s += 1
    await site.get()
    assert site.calls == 2


async def test_an_answer_that_is_not_public_gets_no_time_from_the_knob() -> None:
    """It said nothing of being shared."""
    site = Site(("content-language", "en"), response_cache_ttl_seconds=30.0)
    await site.get()
    await site.get()
    assert site.calls == 2


async def test_a_lifetime_beyond_all_numbers_is_a_long_one() -> None:
    """2³¹ seconds are taken for what is more."""
    site = Site(("cache-control", "max-age=" + "9" * 40))
    await site.get()
    site.now_s += 86_400
    await site.get()
    assert site.calls == 1
