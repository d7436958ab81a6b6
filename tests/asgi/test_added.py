"""`add_performance_middlewares` on applications that have more around them, and behind a real server."""

from __future__ import annotations

import json
import warnings
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from perfkit.asgi import AsgiSettings, PerformanceMiddleware, add_performance_middlewares
from perfkit.asgi.counts import RequestCounts
from perfkit.asgi.messages import Receive, Scope, Send
from perfkit.cache import TieredCache
from tests.asgi.frameworks import in_django, in_fastapi, in_quart
from tests.asgi.frameworks.service import EVENTS, USERS
from tests.asgi.imitated import Reader, Scripted, ask, body, hear, legal, scope, start
from tests.asgi.served import PATIENCE_S, Wire, serving

CONTENT = json.dumps(USERS).encode()


async def users(request: Request) -> Response:
    """All of them."""
    return JSONResponse(USERS)


def application(**more: Any) -> Starlette:
    """One route of one service."""
    return Starlette(routes=[Route("/users", users)], **more)


async def test_to_add_it_twice_is_to_add_it_once_the_last_time_counts() -> None:
    """A service that adds it where it is made and where it is started compresses once."""
    app = application()
    assert add_performance_middlewares(app, track_response_time=True) is app
    add_performance_middlewares(app, track_response_time=False)
    answer = await ask(app, "gzip", path="/users")

    assert [entry.cls for entry in app.user_middleware] == [PerformanceMiddleware]
    assert answer.coding == "gzip"
    assert json.loads(answer.body) == USERS
    assert answer.get("x-response-time") is None


async def test_around_any_other_application_it_is_one_layer_too() -> None:
    """Also where the application is only a function."""
    inner = in_fastapi.make().app
    wrapped = add_performance_middlewares(Wrapper(inner))
    again = add_performance_middlewares(wrapped)

    assert isinstance(again, PerformanceMiddleware)
    assert not isinstance(again.app, PerformanceMiddleware)
    quart = in_quart.make().app
    assert add_performance_middlewares(add_performance_middlewares(quart)) is quart
    assert not isinstance(quart.asgi_app.app, PerformanceMiddleware)


class Wrapper:
    """A layer of somebody else, of which nothing is known."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, *arguments: Any) -> None:
        await self.app(*arguments)


async def test_who_compresses_already_is_told_and_nothing_is_compressed_twice() -> None:
    """In either order; what arrives is what was sent."""
    app = application(middleware=[Middleware(GZipMiddleware, minimum_size=100)])
    with pytest.warns(UserWarning, match="GZipMiddleware compresses responses already"):
        add_performance_middlewares(app)
    answer = await ask(app, "gzip, br", path="/users")
    assert (answer.coding, json.loads(answer.body)) == ("gzip", USERS)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        later = add_performance_middlewares(application())
    later.add_middleware(GZipMiddleware, minimum_size=100)
    answer = await ask(later, "gzip, br", path="/users")
    assert json.loads(answer.body) == USERS


async def test_an_application_that_serves_already_is_refused() -> None:
    """Starlette has built its layers by then."""
    app = application()
    await ask(app, path="/users")

    with pytest.raises(RuntimeError):
        add_performance_middlewares(app)


async def test_layers_of_base_http_middleware_do_not_hide_that_a_body_is_whole() -> None:
    """They make two messages of one; it still has a length, a tag, the best coding, and its fields."""

    class Nothing(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            return await call_next(request)

    app = application(middleware=[Middleware(Nothing), Middleware(Nothing)])
    add_performance_middlewares(app)
    answer = await ask(app, "br", path="/users")
    legal(answer)
    chosen = await ask(app, "identity", path="/users", query="fields=id")

    assert answer.get("content-length") == str(len(answer.raw))
    assert answer.get("etag")
    assert json.loads(answer.body) == USERS
    assert chosen.get("content-length") == str(len(chosen.raw))
    assert json.loads(chosen.body) == [{"id": user["id"]} for user in USERS]


async def test_an_application_within_another_may_have_a_layer_of_its_own() -> None:
    """The outer one finds everything done."""
    inner = add_performance_middlewares(application())
    outer = add_performance_middlewares(Starlette(routes=[Mount("/inner", inner)]))
    answer = await ask(outer, "zstd", path="/inner/users", query="fields=id,name")
    legal(answer)
    again = await ask(outer, "zstd", ("if-none-match", answer.get("etag") or ""), path="/inner/users",
                      query="fields=id,name")  # fmt: skip

    assert json.loads(answer.body) == [{"id": user["id"], "name": user["name"]} for user in USERS]
    assert (answer.coding, again.status, again.raw) == ("zstd", 304, b"")


async def test_an_error_passes_to_whoever_handles_it() -> None:
    """Handlers see the error they would see without the layer, and the request counts as failed."""
    counts = RequestCounts()

    async def broken(request: Request) -> Response:
        raise LookupError("the application failed")

    async def told(request: Request, error: Exception) -> Response:
        return PlainTextResponse(f"sorry: {type(error).__name__}", 500)

    app = Starlette(routes=[Route("/broken", broken)], exception_handlers={Exception: told})
    add_performance_middlewares(app, counts=counts)
    answer = await hear(app, scope(path="/broken"))
    legal(answer)

    assert (answer.status, answer.body) == (500, b"sorry: LookupError")
    assert isinstance(answer.error, LookupError)


async def test_a_handled_error_is_an_answer_like_any_other() -> None:
    """With its own status, and nobody keeps it."""

    async def refused(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": "x" * 2_000}, 409)

    async def broken(request: Request) -> Response:
        raise LookupError("refused")

    app = Starlette(routes=[Route("/broken", broken)], exception_handlers={LookupError: refused})
    add_performance_middlewares(app)
    answer = await ask(app, "gzip", path="/broken", query="fields=nothing")

    assert (answer.status, answer.coding) == (409, "gzip")
    assert json.loads(answer.body) == {"detail": "x" * 2_000}
    assert answer.get("cache-control") == "no-store"
    assert answer.get("etag") is None


async def test_fields_of_lines_are_chosen_as_the_lines_come() -> None:
    """And each is compressed so that the client can read it at once."""

    async def rows(request: Request) -> Response:
        async def lines() -> Any:
            for user in USERS[:3]:
                yield json.dumps(user) + "\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    app = Starlette(routes=[Route("/rows", rows)])
    add_performance_middlewares(app)
    for coding in ("identity", "zstd", "gzip"):
        answer = await ask(app, coding, path="/rows", query="fields=id")
        legal(answer)
        reader = Reader(coding)
        pieces = [text for text in map(reader.feed, answer.chunks) if text]
        assert pieces == [b'{"id":%d}\n' % n for n in range(3)]


async def test_a_stream_of_json_is_gathered_when_fields_are_chosen_and_only_then() -> None:
    """A document can be filtered when it is all there; larger than allowed, it passes as it is."""

    async def rows(request: Request) -> Response:
        async def pieces() -> Any:
            for at in range(0, len(CONTENT), 1_000):
                yield CONTENT[at : at + 1_000]

        return StreamingResponse(pieces(), media_type="application/json")

    app = Starlette(routes=[Route("/rows", rows)])
    add_performance_middlewares(app)
    chosen = await ask(app, path="/rows", query="fields=id")
    whole = await ask(app, path="/rows")
    small = Starlette(routes=[Route("/rows", rows)])
    add_performance_middlewares(small, settings=AsgiSettings(fields_max_bytes=4_096))
    passed = await ask(small, path="/rows", query="fields=id")

    assert json.loads(chosen.body) == [{"id": user["id"]} for user in USERS]
    assert chosen.get("content-length") == str(len(chosen.raw))
    assert whole.body == passed.body == CONTENT
    assert len(whole.chunks) > 10


async def test_fields_of_an_envelope_are_chosen_within_it() -> None:
    """`fields_root` names the member that is meant."""

    async def page(request: Request) -> Response:
        return JSONResponse({"data": USERS, "next": "/users?page=2"})

    app = Starlette(routes=[Route("/page", page)])
    add_performance_middlewares(app, fields_root="data")
    answer = await ask(app, path="/page", query="fields=id")

    assert json.loads(answer.body) == {
        "data": [{"id": user["id"]} for user in USERS],
        "next": "/users?page=2",
    }


async def test_a_head_says_what_a_get_would() -> None:
    """Also of a choice of fields: not the length and the tag of everything."""
    app = application()

    async def tagged(request: Request) -> Response:
        return JSONResponse(USERS, headers={"etag": '"1"'})

    app = Starlette(routes=[Route("/users", tagged, methods=["GET", "HEAD"])])
    add_performance_middlewares(app)
    for query in ("", "fields=id"):
        get = await ask(app, "identity", path="/users", query=query)
        head = await ask(app, "identity", path="/users", query=query, method="HEAD")
        legal(head, method="HEAD")
        assert head.get("etag") == get.get("etag")
        assert head.get("content-length") in (None, get.get("content-length"))


@pytest.mark.parametrize("make", [in_fastapi.make, in_django.make, in_quart.make])
def test_behind_a_real_server_everything_works_as_in_process(make: Any) -> None:
    """Codings, fields, 304, events as they happen, a problem: over sockets, to clients of others."""
    made = make()
    app = add_performance_middlewares(made.app)
    with serving(app) as server, httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
        for coding in ("zstd", "br", "gzip", "deflate"):
            answer = client.get("/users", headers={"accept-encoding": coding})
            assert (answer.headers["content-encoding"], answer.json()) == (coding, USERS)
        chosen = client.get("/users/7?fields=id,name,email")
        assert chosen.json() == {"id": 7, "name": "User 7", "email": "user7@example.org"}
        again = client.get("/users/7?fields=id,name,email", headers={"if-none-match": chosen.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get("/users?fields=a(").json()["position"] == 2
        assert client.head("/users?fields=id").status_code in (200, 405)
        with Wire(server.port) as wire:
            wire.ask("/events", "Accept-Encoding: gzip")
            head = wire.head()
            text = Reader("gzip").feed(b"".join(wire.pieces(head)))
            assert (head.get("content-encoding"), text.decode()) == ("gzip", "".join(EVENTS))
            wire.ask("/users/7?fields=id", "Accept-Encoding: gzip")  # the connection is still good
            assert wire.answer().raw == b'{"id":7}'


def test_a_service_in_fastapi_keeps_what_fastapi_gives_it() -> None:
    """Its documentation, its validation and its errors."""
    made = in_fastapi.make()
    app: FastAPI = add_performance_middlewares(made.app)
    with serving(app) as server, httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
        assert made.noted == ["started"]
        assert "/users/{number}" in client.get("/openapi.json").json()["paths"]
        assert "<html>" in client.get("/docs").text
        assert client.get("/users/seven").status_code == 422
        assert client.get("/users/seven?fields=id").json()["detail"]
        assert client.post("/users").status_code == 405
    assert made.noted == ["started", "stopped"]


async def test_an_application_with_fields_of_its_own_names_another_parameter() -> None:
    """It sees its own parameter, and ours works under the other name, out of the cache too."""
    asked: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["query_string"])
        await Scripted(
            [
                start(200, ("content-type", "application/json"), ("cache-control", "public, max-age=60")),
                body(b'{"a": 1, "b": 2}'),
            ]
        )(scope, receive, send)

    added = add_performance_middlewares(app, fields_parameter="only", cache=TieredCache())
    answers = [await ask(added, query=query) for query in ("fields=x&only=a", "fields=x&only=b", "fields=x")]

    assert [answer.body for answer in answers] == [b'{"a":1}', b'{"b":2}', b'{"a": 1, "b": 2}']
    assert asked == [b"fields=x"]
