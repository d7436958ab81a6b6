"""What a request that changes something takes back (RFC 9111 §4.4)."""

from __future__ import annotations

import asyncio

import pytest

from tests.asgi.response_cache.site import Page, Site

MINUTE = ("cache-control", "max-age=60")


async def kept_site(*paths: str) -> Site:
    """Return a site that keeps an answer of each path."""
    site = Site(MINUTE)
    for path in paths:
        await site.get(path)
    return site


async def is_kept(site: Site, path: str) -> bool:
    """Tell whether a path is answered without the application."""
    before = site.calls
    await site.get(path)
    return site.calls == before


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "M-SEARCH"])
@pytest.mark.parametrize(
    ("status", "taken"), [(200, True), (204, True), (303, True), (404, False), (500, False)]
)
async def test_what_succeeds_takes_back_its_target(method: str, status: int, taken: bool) -> None:
    """Whatever the method, unless it is known to be safe; an error has changed nothing."""
    site = await kept_site("/", "/other")
    site.page.status = status
    await site.get("/", method=method)
    assert await is_kept(site, "/") is not taken
    assert await is_kept(site, "/other")


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "HEAD"])
async def test_what_is_safe_takes_nothing_back(method: str) -> None:
    """RFC 9110 §9.2.1."""
    site = await kept_site("/")
    await site.get("/", method=method)
    assert await is_kept(site, "/")


@pytest.mark.parametrize("field", ["location", "content-location"])
@pytest.mark.parametrize(
    ("reference", "taken"),
    [
        ("/items/7", True),
        ("7", True),
        ("http://service.example/items/7", True),
        ("HTTP://SERVICE.example:80/items/7#top", True),
        ("//service.example/items/7", True),
        ("../items/./7", True),
        ("https://service.example/items/7", False),
        ("http://other.example/items/7", False),
        ("http://service.example:8080/items/7", False),
        ("/items/8", False),
        ("http://[", False),
    ],
)
async def test_what_the_answer_points_to_is_taken_back_too(field: str, reference: str, taken: bool) -> None:
    """If it is of the same origin: another's is not for this site to judge."""
    site = await kept_site("/items/7", "/items/")
    site.pages["/items/"] = Page((field, reference), status=201)
    await site.get("/items/", method="POST")
    assert await is_kept(site, "/items/7") is not taken
    assert not await is_kept(site, "/items/")


async def test_it_is_taken_back_before_the_client_is_answered() -> None:
    """Who reads after writing reads the new."""
    site = await kept_site("/")
    read: list[bytes] = []

    async def app(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        site.layer.app, app_before = site._app, site.layer.app
        read.append((await site.get("/")).body)
        site.layer.app = app_before
        await send({"type": "http.response.body", "body": b"", "more_body": False})  # type: ignore[operator]

    site.layer.app = app
    await site.get("/", method="POST")
    assert read == [b"answer 2"]


async def test_what_was_asked_for_before_is_not_kept_after() -> None:
    """An answer under way may be the old one; who asked gets it, and nobody else."""
    site = Site(MINUTE)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await go_on.wait()

    site.page.wait = wait
    reader = asyncio.create_task(site.get("/"))
    await begun.wait()
    site.page.wait = None
    await site.get("/", method="POST")
    go_on.set()
    assert (await reader).body == b"answer 1"
    assert (await site.get("/")).body == b"answer 3"


async def test_a_url_is_taken_back_by_hand_and_so_is_everything() -> None:
    """For a service that learns of changes by other ways than HTTP."""
    site = await kept_site("/items/7", "/other")
    cache = site.layer.stages.response_cache()
    await cache.invalidate("http://service.example/items/7")
    assert not await is_kept(site, "/items/7")
    assert await is_kept(site, "/other")
    site.now_s += 1
    await cache.clear()
    assert not await is_kept(site, "/items/7")
    assert not await is_kept(site, "/other")
