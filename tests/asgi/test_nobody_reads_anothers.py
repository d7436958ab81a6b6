"""Two users never read each other's answers, whatever is said of caching and whoever comes first."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.asgi import AsgiSettings, PerformanceMiddleware
from perfkit.asgi.messages import App, Receive, Scope, Send
from perfkit.cache import TieredCache
from tests.asgi.imitated import Answer, body, hear, scope, start

WHO = (b"authorization", b"cookie", b"x-user")
"""The fields by which an application may know its user."""


def an_application(says: tuple[tuple[str, str], ...]) -> App:
    """Answers each user with his name, and with what it says of caching."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        fields = dict(scope["headers"])
        name = b"".join(fields.get(field, b"") for field in WHO)
        await asyncio.sleep(0)
        await send(start(200, ("content-type", "text/plain"), *says))
        await send(body(b"This is only for %s. " % name * 100))

    return app


def layer(app: App, **more: Any) -> App:
    """Return the layer that keeps as much as it may."""
    keen = AsgiSettings(
        response_cache_ttl_seconds=60,
        response_cache_stale_while_revalidate_seconds=60,
        response_cache_stale_if_error_seconds=60,
    )
    return PerformanceMiddleware(app, keen, cache=TieredCache(), **more)


def check(user: str, answer: Answer) -> None:
    """Assert that an answer is the user's own, or has nothing in it."""
    if answer.error is not None:
        raise answer.error
    if answer.status == 200 and answer.raw:
        assert answer.body == b"This is only for %s. " % user.encode() * 100


def request_of(user: str, by: str, fields: tuple[tuple[str, str], ...]) -> Scope:
    """Return a user's request."""
    return scope("GET", "/mine", [(by, user), ("accept-encoding", "gzip"), *fields])


VARY = "Cookie, X-User, Authorization"
SAYS_NOTHING_OF_SHARING: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (("cache-control", "private, max-age=60"),),
    (("cache-control", "no-store"),),
    (("cache-control", "no-cache"),),
    (("cache-control", "max-age=60"),),
    (("cache-control", "max-age=60"), ("etag", '"same for all"')),
    (("cache-control", "max-age=0, stale-while-revalidate=60"),),
    (("cache-control", "stale-if-error=60"),),
    (("etag", '"same for all"'),),
    (("expires", "Mon, 23 Nov 2037 10:00:00 GMT"),),
    (("last-modified", "Mon, 23 Nov 2020 10:00:00 GMT"),),
    (("cache-control", "private, s-maxage=60"),),
    (("cache-control", 'public, max-age=60, private="x"'),),
    (("cache-control", "public, max-age=60"), ("vary", "*")),
)
SHARES_BY_VARY: tuple[tuple[tuple[str, str], ...], ...] = (
    (("cache-control", "public, max-age=60"), ("vary", VARY)),
    (("cache-control", "s-maxage=60"), ("vary", VARY)),
    (("cache-control", "public, max-age=60"), ("vary", "Cookie"), ("vary", "x-user, AUTHORIZATION")),
    (("cache-control", "public, max-age=60, must-revalidate"), ("vary", VARY), ("set-cookie", "session=1")),
    (("cache-control", "public, max-age=0, stale-while-revalidate=60"), ("vary", VARY)),
    (("cdn-cache-control", "max-age=60"), ("cache-control", "public"), ("vary", VARY)),
)

users = st.lists(st.sampled_from(("ann", "bob", "cy")), min_size=2, max_size=6)
asked = st.sampled_from(
    (
        (),
        (("cache-control", "max-stale"),),
        (("cache-control", "only-if-cached"),),
        (("if-none-match", '"other"'),),
        (("range", "bytes=0-"),),
    )
)
often = settings(max_examples=100, deadline=None)


@pytest.mark.parametrize("by", ["authorization", "cookie"])
@often
@given(says=st.sampled_from(SAYS_NOTHING_OF_SHARING), users=users, fields=asked, at_once=st.booleans())
def test_an_answer_to_credentials_that_is_not_said_to_be_public_is_its_users_alone(
    by: str, says: Any, users: list[str], fields: Any, at_once: bool
) -> None:
    """By Authorization or Cookie; one after another, or all at once, when one might wait for another."""
    asyncio.run(_ask(says, [(user, by) for user in users], fields, at_once=at_once))


@often
@given(
    says=st.sampled_from(SHARES_BY_VARY),
    asks=st.lists(
        st.tuples(st.sampled_from(("ann", "bob")), st.sampled_from(("authorization", "cookie", "x-user"))),
        min_size=2,
        max_size=6,
    ),
    fields=asked,
    at_once=st.booleans(),
)
def test_an_answer_that_varies_is_read_by_whom_it_varies_for(
    says: Any, asks: list[tuple[str, str]], fields: Any, at_once: bool
) -> None:
    """`Vary` parts what `public` joins."""
    asyncio.run(_ask(says, asks, fields, at_once=at_once))


async def _ask(says: Any, asks: list[tuple[str, str]], fields: Any, *, at_once: bool) -> None:
    app = layer(an_application(says))
    requests = [request_of(user, by, fields) for user, by in asks]
    if at_once:
        answers = await asyncio.gather(*(hear(app, request) for request in requests))
    else:
        answers = [await hear(app, request) for request in requests]
    for (user, _), answer in zip(asks, answers, strict=True):
        check(user, answer)


async def test_the_application_imitated_here_does_share_when_it_says_so() -> None:
    """So that the tests above mean something: without credentials and Vary, the second reads the first's."""
    app = layer(an_application((("cache-control", "public, max-age=60"),)))
    await hear(app, request_of("ann", "x-user", ()))
    with pytest.raises(AssertionError):
        check("bob", await hear(app, request_of("bob", "x-user", ())))
