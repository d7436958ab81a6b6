"""Who may keep a response: the application's word, then the path's rule, then safe defaults."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from perfkit.asgi.head import Head
from perfkit.asgi.policy import CachePolicies, CachePolicy
from perfkit.asgi.request import Request
from perfkit.asgi.settings import AsgiSettings, EdgeSettings
from perfkit.errors import SettingsError
from tests.asgi.imitated import scope

Field = tuple[str, str]


def applied(
    *fields: Field,
    status: int = 200,
    method: str = "GET",
    path: str = "/",
    asked: tuple[Field, ...] = (),
    rules: dict[str, CachePolicy] | None = None,
    policies: CachePolicies | None = None,
    root_path: str = "",
    **knobs: Any,
) -> Head:
    """Return the head of a response that policies were applied to."""
    head = Head(status, [(name.encode(), value.encode()) for name, value in fields])
    policies = policies or CachePolicies(rules or {}, AsgiSettings(**knobs))
    policies.apply(Request(scope(method, path, asked) | {"root_path": root_path}), head)
    return head


RULES = {
    "/*": CachePolicy(no_store=True),
    "/api/*": CachePolicy(private=True, max_age_seconds=1),
    "/api/items/*": CachePolicy(public=True, max_age_seconds=2),
    "/api/items/top": CachePolicy(public=True, max_age_seconds=3),
}


class TestDefaults:
    """Where nobody said anything."""

    @pytest.mark.parametrize(
        ("status", "method", "said"),
        [
            (200, "GET", b"no-cache"),
            (200, "HEAD", b"no-cache"),
            (206, "GET", b"no-cache"),
            (301, "GET", None),
            (304, "GET", None),
            (404, "GET", b"no-store"),
            (500, "HEAD", b"no-store"),
            (200, "POST", b"no-store"),
            (404, "DELETE", b"no-store"),
            (303, "PUT", b"no-store"),
            (200, "OPTIONS", None),
        ],
    )
    def test_are_safe(self, status: int, method: str, said: bytes | None) -> None:
        """Asked about each time, or not kept at all."""
        assert applied(status=status, method=method).get(b"cache-control") == said

    @pytest.mark.parametrize(
        ("asked", "fields"),
        [
            ((("authorization", "Bearer 1"),), ()),
            ((("cookie", "a=1"),), ()),
            ((), (("set-cookie", "a=1"),)),
        ],
    )
    def test_keep_what_belongs_to_one_user_to_that_user(
        self, asked: tuple[Field, ...], fields: tuple[Field, ...]
    ) -> None:
        """`private`, with a time or without."""
        assert applied(*fields, asked=asked).get(b"cache-control") == b"private, no-cache"
        timed = applied(*fields, asked=asked, browser_ttl_seconds=60)
        assert timed.get(b"cache-control") == b"private, max-age=60"

    def test_give_browsers_the_knobs_time(self) -> None:
        """`browser_ttl_seconds`."""
        assert applied(browser_ttl_seconds=60).get(b"cache-control") == b"max-age=60"

    def test_can_be_switched_off(self) -> None:
        """Rules still count."""
        assert applied(add_cache_control=False).fields == []
        rules = {"/": CachePolicy(no_store=True)}
        assert applied(add_cache_control=False, rules=rules).get(b"cache-control") == b"no-store"


class TestRules:
    """What a path's policy says."""

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("/", b"no-store"),
            ("/api", b"no-store"),
            ("/api/", b"private, max-age=1"),
            ("/api/users", b"private, max-age=1"),
            ("/api/items/7", b"public, max-age=2"),
            ("/api/items/top", b"public, max-age=3"),
            ("/api/items/top/", b"public, max-age=2"),
        ],
    )
    def test_the_most_specific_counts(self, path: str, said: bytes) -> None:
        """A whole path, then the longest beginning, in whatever order they were given."""
        assert applied(path=path, rules=RULES).get(b"cache-control") == said
        backwards = dict(reversed(RULES.items()))
        assert applied(path=path, rules=backwards).get(b"cache-control") == said
        mounted = applied(path="/v1" + path, root_path="/v1", rules=RULES)
        assert mounted.get(b"cache-control") == said

    @pytest.mark.parametrize("own", [("cache-control", "max-age=9"), ("expires", "0"), ("Cache-Control", "")])
    def test_the_application_is_never_overridden(self, own: Field) -> None:
        """What it says stands alone."""
        head = applied(own, path="/api/items/7", rules=RULES)
        assert head.fields == [(own[0].lower().encode(), own[1].encode())]

    def test_an_error_is_not_kept_unless_the_policy_covers_errors(self) -> None:
        """A 404 for an hour is seldom meant."""
        said = {}
        for covers in (False, True):
            rules = {"/*": CachePolicy(public=True, max_age_seconds=3, covers_errors=covers)}
            said[covers] = applied(status=404, rules=rules).get(b"cache-control")
        assert said == {False: b"no-store", True: b"public, max-age=3"}

    def test_what_changes_something_follows_no_rule(self) -> None:
        """Nor does a 304, whose fields are those of what it confirms."""
        assert applied(method="POST", rules=RULES, path="/api/items/7").get(b"cache-control") == b"no-store"
        assert applied(status=304, rules=RULES, path="/api/items/7").fields == []

    def test_vary_and_the_targeted_field_are_added(self) -> None:
        """`Vary` to what the application varies by already."""
        policy = CachePolicy(
            public=True, max_age_seconds=60, cdn_cache_control="max-age=600", vary=("Origin", "X-Tenant")
        )
        head = applied(("vary", "origin"), rules={"/*": policy})
        assert head.get(b"vary") == b"origin, X-Tenant"
        assert head.get(b"cdn-cache-control") == b"max-age=600"

    def test_public_with_a_cookie_becomes_private_and_is_told_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """And no shared cache is told anything."""
        policy = CachePolicy(
            public=True, max_age_seconds=60, s_maxage_seconds=600, cdn_cache_control="max-age=600"
        )
        policies = CachePolicies({"/shop/*": policy}, AsgiSettings())
        with caplog.at_level(logging.WARNING, logger="perfkit"):
            heads = [
                applied(("set-cookie", "secret=1"), path=f"/shop/{n}", policies=policies) for n in range(3)
            ]
        assert {head.get(b"cache-control") for head in heads} == {b"private, max-age=60"}
        assert {head.get(b"cdn-cache-control") for head in heads} == {None}
        (record,) = caplog.records
        assert "/shop/*" in record.getMessage()
        assert "secret" not in record.getMessage()

    def test_an_application_that_says_public_with_a_cookie_is_told(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its word is not changed."""
        with caplog.at_level(logging.WARNING, logger="perfkit"):
            head = applied(("cache-control", "public, max-age=60"), ("set-cookie", "a=1"))
        assert head.get(b"cache-control") == b"public, max-age=60"
        assert len(caplog.records) == 1

    @pytest.mark.parametrize("pattern", ["api", "", "*", "/a*/b", "/*/b"])
    def test_a_pattern_that_matches_nothing_is_refused(self, pattern: str) -> None:
        """When it is given, not when the traffic comes."""
        with pytest.raises(SettingsError, match="refused"):
            CachePolicies({pattern: CachePolicy()}, AsgiSettings())


class TestPolicy:
    """What a policy may say."""

    @pytest.mark.parametrize(
        "parts",
        [
            {"public": True, "private": True},
            {"no_store": True, "max_age_seconds": 60},
            {"no_store": True, "max_age_seconds": 0},
            {"no_store": True, "public": True},
            {"no_store": True, "no_cache": True},
            {"private": True, "s_maxage_seconds": 60},
            {"no_cache": True, "immutable": True, "max_age_seconds": 60},
            {"no_cache": True, "stale_while_revalidate_seconds": 60},
            {"must_revalidate": True, "stale_if_error_seconds": 60},
            {"immutable": True},
            {"max_age_seconds": -1},
            {"max_age_seconds": 1.5},
            {"s_maxage_seconds": True},
            {"vary": "Origin"},
            {"cdn_cache_control": "max-age=60,"},
            {"cdn_cache_control": "max-age = 60"},
        ],
    )
    def test_that_contradicts_itself_is_refused(self, parts: dict[str, Any]) -> None:
        """When it is made; the message says what to do."""
        with pytest.raises(SettingsError, match="refused") as refusal:
            CachePolicy(**parts)
        assert refusal.value.path in parts

    @pytest.mark.parametrize(
        ("parts", "written"),
        [
            ({}, b""),
            ({"no_store": True}, b"no-store"),
            ({"private": True, "no_cache": True}, b"private, no-cache"),
            ({"public": True, "max_age_seconds": 0}, b"public, max-age=0"),
            (
                {"public": True, "immutable": True, "max_age_seconds": 60, "s_maxage_seconds": 600},
                b"public, immutable, max-age=60, s-maxage=600",
            ),
            (
                {"max_age_seconds": 1, "stale_while_revalidate_seconds": 2, "stale_if_error_seconds": 3},
                b"max-age=1, stale-while-revalidate=2, stale-if-error=3",
            ),
        ],
    )
    def test_is_written_as_the_field_says_it(self, parts: dict[str, Any], written: bytes) -> None:
        """In one order."""
        assert CachePolicy(**parts).cache_control == written


class TestEdge:
    """What a cache before the service is told."""

    @pytest.mark.parametrize(
        ("said", "told"),
        [
            ("public", "public, s-maxage=300"),
            ("public, max-age=60", "public, max-age=60"),
            ("public, max-age=6000", "public, max-age=6000, s-maxage=600"),
            ("public, s-maxage=6000, max-age=60", "public, max-age=60, s-maxage=600"),
            ("public, S-MaxAge=6000", "public, s-maxage=600"),
            ("public, no-cache", "public, no-cache"),
            ("private, max-age=6000", "private, max-age=6000"),
            ("max-age=6000", "max-age=6000"),
            ("no-store", "no-store"),
        ],
    )
    def test_public_answers_name_a_time_within_bounds(self, said: str, told: str) -> None:
        """`edge.default_ttl_seconds` where they name none, `edge.max_ttl_seconds` where it is longer."""
        edge = EdgeSettings(enabled=True, default_ttl_seconds=300, max_ttl_seconds=600)
        assert applied(("cache-control", said), edge=edge).get(b"cache-control") == told.encode()

    def test_without_an_edge_nothing_is_added(self) -> None:
        """Browsers and this service's own cache read `max-age`."""
        assert applied(("cache-control", "public")).get(b"cache-control") == b"public"

    def test_an_answer_with_a_cookie_is_left_alone(self) -> None:
        """Cloud CDN keeps none."""
        edge = EdgeSettings(enabled=True, default_ttl_seconds=300)
        head = applied(("cache-control", "public"), ("set-cookie", "a=1"), edge=edge)
        assert head.get(b"cache-control") == b"public"

    @pytest.mark.parametrize(
        ("vary", "warns"),
        [("Accept-Encoding, Origin", False), ("accept", False), ("Cookie", True), ("*", True)],
    )
    def test_what_the_edge_will_not_keep_is_told(
        self, vary: str, warns: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Cloud CDN keeps only what varies by a few fields."""
        edge = EdgeSettings(enabled=True)
        with caplog.at_level(logging.WARNING, logger="perfkit"):
            head = applied(("cache-control", "public, max-age=5"), ("vary", vary), edge=edge)
        assert head.get(b"vary") == vary.encode()
        assert bool(caplog.records) is warns
