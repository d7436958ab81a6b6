"""The middleware around FastAPI, Starlette, Litestar, Quart and Django: the same answers, sent better."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from perfkit.asgi import add_performance_middlewares
from perfkit.asgi.messages import App, Message, Receive, Scope, Send
from tests.asgi.frameworks import in_django, in_fastapi, in_litestar, in_quart, in_starlette
from tests.asgi.frameworks.service import EVENTS, USERS, Made
from tests.asgi.imitated import Reader, ask, hear, legal, scope
from tests.asgi.served import PATIENCE_S

MAKERS = {
    "fastapi": in_fastapi.make,
    "starlette": in_starlette.make,
    "litestar": in_litestar.make,
    "quart": in_quart.make,
    "django": in_django.make,
}
CODINGS = ["zstd", "br", "gzip", "deflate"]


@pytest.fixture(params=MAKERS)
def made(request: pytest.FixtureRequest) -> Made:
    """The service in each framework, with everything on."""
    service = MAKERS[request.param]()
    service.app = add_performance_middlewares(service.app)
    return service


@pytest.fixture
async def client(made: Made) -> AsyncIterator[httpx.AsyncClient]:
    """A client that asks for no coding unless it says so."""
    transport = httpx.ASGITransport(made.app, raise_app_exceptions=False)
    headers = {"accept-encoding": "identity"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service.example", headers=headers
    ) as asking:
        yield asking


async def test_the_example_of_the_mission_works_word_for_word() -> None:
    """And the request it shows: `GET /api/users/123?fields=id,name,email`."""
    from fastapi import FastAPI

    app = FastAPI()

    # Add all performance middlewares
    add_performance_middlewares(
        app,
        compress_responses=True,
        optimize_payloads=True,
        add_cache_control=True,
        track_response_time=True,
    )

    @app.get("/api/users/{user_id}")
    async def read_user(user_id: int) -> dict[str, Any]:
        return {
            "id": user_id,
            "name": "Ada",
            "email": "ada@example.org",
            "hash": "x",
            "notes": "y" * 5_000,
        }

    answer = await ask(
        patiently(app), "gzip, deflate, br", path="/api/users/123", query="fields=id,name,email"
    )
    assert answer.body == b'{"id":123,"name":"Ada","email":"ada@example.org"}'
    assert answer.coding == "identity"  # it has become too small
    assert answer.get("cache-control") == "no-cache"
    assert answer.get("x-response-time")
    whole = await ask(patiently(app), "gzip, deflate, br", path="/api/users/123")
    assert whole.coding == "br"
    assert json.loads(whole.body)["hash"] == "x"


@pytest.mark.parametrize("coding", CODINGS)
async def test_each_coding_is_read_as_what_was_sent(client: httpx.AsyncClient, coding: str) -> None:
    """By a client whose decoders are not ours."""
    response = await client.get("/users", headers={"accept-encoding": coding})

    assert response.status_code == 200
    assert response.headers["content-encoding"] == coding
    assert "accept-encoding" in response.headers["vary"].lower()
    assert int(response.headers["content-length"]) < len(json.dumps(USERS)) / 3
    assert response.json() == USERS


async def test_a_client_that_has_it_already_gets_304(client: httpx.AsyncClient) -> None:
    """By the tag it was given, whatever coding it accepts; of a choice of fields too."""
    for path in ("/users", "/users?fields=id"):
        first = await client.get(path)
        again = await client.get(
            path, headers={"if-none-match": first.headers["etag"], "accept-encoding": "br"}
        )

        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    assert (await client.get("/users/1")).headers["etag"] != (await client.get("/users/2")).headers["etag"]


async def test_a_client_may_choose_fields(client: httpx.AsyncClient) -> None:
    """Of one and of each; the length is that of what is left, and so is the tag."""
    one = await client.get("/users/7?fields=id,name,email")
    each = await client.get("/users?fields=-about")
    whole = await client.get("/users/7")

    assert one.json() == {"id": 7, "name": "User 7", "email": "user7@example.org"}
    assert each.json() == [{name: user[name] for name in ("id", "name", "email")} for user in USERS]
    assert int(one.headers["content-length"]) == len(one.content)
    assert one.headers["etag"] != whole.headers["etag"]
    assert whole.json() == USERS[7]


async def test_a_choice_that_cannot_be_read_is_answered_with_a_problem(client: httpx.AsyncClient) -> None:
    """Before the application is asked."""
    response = await client.get("/users?fields=id,(name")

    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["position"] == 3
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("coding", [*CODINGS, "identity"])
async def test_events_come_as_they_happen(made: Made, coding: str) -> None:
    """The head before all; and each message readable when it is there."""
    answer = await ask(patiently(made.app), coding, path="/events")
    legal(answer)
    reader = Reader(coding)
    text = [reader.feed(chunk) for chunk in answer.chunks]

    assert answer.types[0] == "http.response.start"
    assert [piece.decode() for piece in text if piece] == EVENTS
    assert answer.coding == coding
    assert answer.get("content-length") is None


async def test_head_is_answered_as_get_without_a_body(client: httpx.AsyncClient, made: Made) -> None:
    """Where the framework answers it at all."""
    get, head = await client.get("/users"), await client.head("/users")

    assert head.content == b""
    if head.status_code == 200:
        assert head.headers.get("content-type") == get.headers["content-type"]
        assert head.headers.get("cache-control") == get.headers["cache-control"]


async def test_an_error_nobody_caught_is_500_and_not_kept(made: Made) -> None:
    """Whether the framework answers it within the middleware or around it."""
    answer = await hear(patiently(made.app), scope(path="/broken"))

    assert answer.status == 500
    assert "max-age" not in (answer.get("cache-control") or "")
    assert answer.get("etag") is None
    assert isinstance(answer.error, LookupError | None)


async def test_what_is_not_there_is_404_and_not_kept(client: httpx.AsyncClient) -> None:
    """An error of the framework's own; fields are not chosen from it."""
    response = await client.get("/nowhere?fields=id")

    assert response.status_code == 404
    assert response.headers["cache-control"] == "no-store"
    assert len(response.content) == int(response.headers["content-length"])
    assert len(response.content) > 2


async def test_what_is_to_be_done_later_is_done(made: Made) -> None:
    """After the answer, which does not wait for it."""
    async with alive(made):
        answer = await ask(patiently(made.app), "br", path="/later")
        for _turn in range(100):
            if "done" in made.noted:
                break
            await asyncio.sleep(0.01)

    assert json.loads(answer.body) == {"status": "accepted"}
    assert "done" in made.noted


@pytest.mark.parametrize("made", sorted(MAKERS.keys() - {"django"}), indirect=True)
async def test_the_application_is_told_of_its_start_and_end(made: Made) -> None:
    """Lifespan passes."""
    async with alive(made):
        assert made.noted == ["started"]
    assert made.noted == ["started", "stopped"]


@pytest.mark.parametrize("made", ["fastapi", "starlette", "litestar"], indirect=True)
async def test_a_mounted_application_is_served_too(made: Made) -> None:
    """Compressed, and its fields may be chosen."""
    answer = await ask(patiently(made.app), "gzip", path="/inner/hello", query="fields=hello")
    whole = await ask(patiently(made.app), "gzip", path="/inner/hello")

    assert json.loads(answer.body) == {"hello": "inner"}
    assert (whole.coding, whole.raw != whole.body) == ("gzip", True)


@pytest.mark.parametrize("made", sorted(MAKERS.keys() - {"django"}), indirect=True)
async def test_websockets_pass_untouched(made: Made) -> None:
    """What is said on one is what arrives."""
    said = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello " * 500}]
    heard: list[Message] = []

    async def receive() -> Message:
        return said.pop(0) if said else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        heard.append(message)

    more = {"type": "websocket", "subprotocols": [], "scheme": "ws", "extensions": {}, "state": {}}
    asked = scope(path="/echo", fields=[("accept-encoding", "gzip")], query="fields=a(", **more)
    del asked["method"]
    await made.app(asked, receive, send)

    texts = [message.get("text") for message in heard if message["type"] == "websocket.send"]
    assert heard[0]["type"] == "websocket.accept"
    assert texts == ["hello " * 500]


def patiently(app: App) -> App:
    """Return an application whose client stays until it is answered, where that of `ask` leaves at once."""

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        said: list[Message] = []
        answered = asyncio.Event()

        async def once() -> Message:
            if said:
                await answered.wait()
                return {"type": "http.disconnect"}
            said.append(await receive())
            return said[0]

        async def sent(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                answered.set()

        await app(scope, once, sent)

    return asked


@asynccontextmanager
async def alive(made: Made) -> AsyncIterator[None]:
    """The time between an application's start and its end, if it wants to know of them."""
    if not made.lifespan:
        yield
        return
    said: asyncio.Queue[Message] = asyncio.Queue()
    heard: asyncio.Queue[Message] = asyncio.Queue()
    told = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    running = asyncio.ensure_future(made.app(told, said.get, heard.put))
    for what in ("startup", "shutdown"):
        await said.put({"type": f"lifespan.{what}"})
        assert (await asyncio.wait_for(heard.get(), PATIENCE_S))["type"] == f"lifespan.{what}.complete"
        if what == "startup":
            yield
    await running
