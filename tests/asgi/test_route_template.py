"""Which pattern of the application a response is counted under, framework by framework."""

from __future__ import annotations

from typing import Any

import fastapi
import litestar
from litestar.params import FromPath
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router

from perfkit.asgi import RequestCounts, TimingMiddleware
from perfkit.asgi.messages import App
from tests.asgi.imitated import Scripted, ask, whole


async def of(app: App, *requests: tuple[str, str]) -> list[str]:
    """Return the routes an application's requests are counted under, in their order."""
    routes = []
    for method, path in requests:
        counts = RequestCounts()
        await ask(TimingMiddleware(app, counts=counts), method=method, path=path)
        routes += [key.route for key in counts.series]
    return routes


async def answer(_request: Any) -> PlainTextResponse:
    """Answer any request of Starlette's."""
    return PlainTextResponse("hello")


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Answer as an application that is no router."""
    await PlainTextResponse("hello")(scope, receive, send)


async def test_starlette_s_routes_are_told_as_patterns() -> None:
    """Below mounts too, though Starlette leaves only the path that matched them."""
    app = Starlette(
        routes=[
            Route("/members/{id:int}", answer),
            Mount("/teams/{id}", routes=[Route("/members/{id}", answer), Mount("/files", plain)]),
            Mount("/static", plain),
            Host("other.example", Router([Route("/other/{id}", answer)])),
        ]
    )
    paths = {
        "/members/17": "/members/{id}",
        "/members/anne": "",
        "/teams/17/members/4": "/teams/{id}/members/{id}",
        "/teams/17/files/a/b": "/teams/{id}/files/{path}",
        "/teams/17/nothing": "/teams/{id}/{path}",
        "/static/a/b": "/static/{path}",
        "/members/17/": "",
    }
    assert dict(zip(paths, await of(app, *(("GET", path) for path in paths)), strict=True)) == paths
    assert await of(app, ("POST", "/members/17")) == ["/members/{id}"]


async def test_fastapi_s_routes_are_told_with_all_their_prefixes() -> None:
    """Of routers included in routers, of mounted applications, and of the same router in both."""
    members = fastapi.APIRouter(prefix="/members")
    members.get("/{id}")(lambda id: {"id": id})  # noqa: A006  # the pattern's name
    inner = fastapi.APIRouter(prefix="/inner")
    inner.include_router(members)
    below = fastapi.FastAPI()
    below.include_router(members, prefix="/in")
    below.get("/direct/{id}")(lambda id: {"id": id})  # noqa: A006
    app = fastapi.FastAPI()
    app.include_router(inner, prefix="/api/{tenant}")
    app.mount("/teams/{team}", below)
    app.mount("/files", plain)
    app.add_route("/plain", answer)
    paths = {
        "/api/acme/inner/members/17": "/api/{tenant}/inner/members/{id}",
        "/teams/red/direct/17": "/teams/{team}/direct/{id}",
        "/teams/red/in/members/17": "/teams/{team}/in/members/{id}",
        "/plain": "/plain",
        "/files/a/b": "/files/{path}",
        "/openapi.json": "/openapi.json",
        "/nowhere": "",
    }
    assert dict(zip(paths, await of(app, *(("GET", path) for path in paths)), strict=True)) == paths


async def test_a_configured_root_is_part_of_the_route() -> None:
    """As the conventions ask; it comes from the server's configuration."""
    counts = RequestCounts()
    app = Starlette(routes=[Route("/a/{b}", answer), Mount("/m/{n}", routes=[Route("/c", answer)])])
    for path in ("/api/a/1", "/api/m/9/c"):
        await ask(TimingMiddleware(app, counts=counts), path=path, root_path="/api")

    assert [key.route for key in counts.series] == ["/api/a/{b}", "/api/m/{n}/c"]


async def test_litestar_s_routes_are_told_as_patterns() -> None:
    """Litestar leaves the pattern itself."""

    @litestar.get("/members/{number:int}")
    async def member(number: FromPath[int]) -> dict[str, int]:
        return {"id": number}

    assert await of(litestar.Litestar([member]), ("GET", "/members/17")) == ["/members/{number}"]


async def test_what_a_scope_holds_in_place_of_a_route_does_no_harm() -> None:
    """Another framework may use the same keys for something else."""
    for odd in (object(), "route", {"path_format": 3}, type("R", (), {"path_format": 7})):
        counts = RequestCounts()
        app = TimingMiddleware(Scripted(whole(b"")), counts=counts)
        await ask(app, route=odd, fastapi=odd, app_root_path="/x")
        await ask(app, endpoint=odd, router=odd)
        await ask(app, path_template=odd)
        assert {key.route for key in counts.series} <= {"", "route"}
