"""Answers that vary by request fields (RFC 9111 §4.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.asgi.response_cache.vary import names_of
from tests.asgi.response_cache.site import Site

MINUTE = ("cache-control", "max-age=60")
Field = tuple[str, str]

ALIKE: list[tuple[str, list[Field], list[Field]]] = [
    ("foo", [("foo", "1")], [("foo", "1"), ("bar", "2")]),
    ("foo", [], [("bar", "2")]),
    ("foo", [("foo", "1,2")], [("foo", " 1 ,  2 ")]),
    ("foo", [("foo", "1, 2")], [("foo", "1"), ("foo", "2")]),
    ("Foo, bar", [("foo", "1"), ("bar", "2")], [("bar", "2"), ("foo", "1")]),
    ("accept-encoding", [("accept-encoding", "gzip, br;q=0.5")], [("accept-encoding", "BR; q=0.5,gzip")]),
    ("accept-language", [("accept-language", "en, de;q=0.8")], [("accept-language", "de;q=0.8,EN")]),
]
DIFFERENT: list[tuple[str, list[Field], list[Field]]] = [
    ("foo", [("foo", "1")], [("foo", "2")]),
    ("foo", [("foo", "1")], []),
    ("foo", [], [("foo", "")]),
    ("foo", [("foo", "a")], [("foo", "A")]),
    ("foo", [("foo", "1, 2")], [("foo", "2, 1")]),
    ("foo", [("foo", '"1, 2"')], [("foo", '"1,2"')]),
    ("foo, bar", [("foo", "1"), ("bar", "2")], [("foo", "2"), ("bar", "1")]),
    ("foo, bar", [("foo", "ab")], [("foo", "a"), ("bar", "b")]),
    ("accept-language", [("accept-language", "en;q=0.8, de")], [("accept-language", "en, de;q=0.8")]),
    ("x-user", [("x-user", "ann")], [("x-user", "bob")]),
]


@pytest.mark.parametrize(("vary", "one", "other"), ALIKE)
async def test_requests_that_mean_the_same_get_the_same(
    vary: str, one: list[Field], other: list[Field]
) -> None:
    """Spaces and the order of what is accepted mean nothing."""
    site = Site(MINUTE, ("vary", vary))
    first = await site.get("/", *one)
    second = await site.get("/", *other)
    assert (site.calls, second.body) == (1, first.body)


@pytest.mark.parametrize(("vary", "one", "other"), DIFFERENT)
async def test_requests_that_differ_in_what_counts_get_their_own(
    vary: str, one: list[Field], other: list[Field]
) -> None:
    """And each is kept."""
    site = Site(MINUTE, ("vary", vary))
    for _ in range(2):
        assert (await site.get("/", *one)).body == b"answer 1"
        assert (await site.get("/", *other)).body == b"answer 2"
    assert site.calls == 2


async def test_a_miss_among_variants_is_said_to_be_one() -> None:
    """RFC 9211."""
    site = Site(MINUTE, ("vary", "foo"))
    await site.get("/", ("foo", "1"))
    answer = await site.get("/", ("foo", "2"))
    assert answer.get("cache-status") == "perfkit; fwd=vary-miss; stored"


async def test_what_varied_by_one_field_may_vary_by_another_later() -> None:
    """What was kept under other names is not found under the new ones."""
    site = Site(MINUTE, ("vary", "foo"))
    await site.get("/", ("foo", "1"))
    site.page.fields = (MINUTE, ("vary", "bar"))
    await site.get("/", ("foo", "2"), ("bar", "1"))
    assert (await site.get("/", ("foo", "3"), ("bar", "1"))).body == b"answer 2"
    assert (await site.get("/", ("foo", "1"), ("bar", "2"))).body == b"answer 3"


async def test_no_variant_outlives_an_invalidation() -> None:
    """The names come back with the next answer, and the variants do not."""
    site = Site(MINUTE, ("vary", "foo"))
    await site.get("/", ("foo", "1"))
    await site.get("/", ("foo", "2"))
    await site.get(method="POST")
    site.now_s += 1
    assert (await site.get("/", ("foo", "2"))).body == b"answer 4"
    assert (await site.get("/", ("foo", "1"))).body == b"answer 5"


@given(st.lists(st.sampled_from(["accept", "Origin", " x-user", "cookie ", "", "*"]), max_size=5))
def test_the_names_of_a_vary_are_read_whatever_their_order_and_case(names: list[str]) -> None:
    """A star anywhere means that nothing will do."""
    read = names_of(", ".join(names).encode())
    expected = {name.strip().lower().encode() for name in names} - {b""}
    assert read == (None if "*" in names else tuple(sorted(expected)))
