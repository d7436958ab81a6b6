"""Where only heads are changed, bodies pass as they come, and are counted all the same."""

from __future__ import annotations

import asyncio

import pytest

from perfkit.asgi import CacheControlMiddleware, FieldsMiddleware, RequestCounts, TimingMiddleware
from perfkit.asgi.exchange import Exchange
from perfkit.asgi.messages import Message, Receive, Scope, Send
from tests.asgi.imitated import Scripted, ask, body, hear, scope, start

HEAD = start(200, ("content-type", "application/json"))


async def test_the_pieces_of_a_body_are_the_applications_own_messages() -> None:
    """Not held, not joined: the very objects."""
    pieces = [body(b'{"a":', more=True), body(b" 1}")]
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in (HEAD, *pieces):
            await send(message)

    for layer in (TimingMiddleware(app), CacheControlMiddleware(app), FieldsMiddleware(app)):
        sent.clear()
        await layer({"type": "http", "method": "GET", "path": "/", "headers": []}, None, keep)  # type: ignore[arg-type]

        assert [sent[1] is pieces[0], sent[2] is pieces[1]] == [True, True]
        assert sent[0]["status"] == 200


async def test_a_request_for_some_fields_takes_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is the only one that does."""
    made: list[Exchange] = []
    before = Exchange.__init__

    def noted(self: Exchange, *arguments: object) -> None:
        made.append(self)
        before(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Exchange, "__init__", noted)
    layer = FieldsMiddleware(Scripted([HEAD, body(b'{"a": 1, "b": 2}')]))

    whole, some = await ask(layer, query="page=2"), await ask(layer, query="fields=a")

    assert (whole.body, some.body, len(made)) == (b'{"a": 1, "b": 2}', b'{"a":1}', 1)


@pytest.mark.parametrize(
    ("steps", "status", "error"),
    [
        ([HEAD, body(b"12"), ValueError("after the end")], 200, ""),
        ([HEAD, body(b"1", more=True), ValueError("amid")], 200, "ValueError"),
        ([ValueError("before")], 500, "ValueError"),
        ([HEAD, asyncio.CancelledError()], 200, "asyncio.exceptions.CancelledError"),
        ([asyncio.CancelledError()], 0, "asyncio.exceptions.CancelledError"),
        ([HEAD], 200, "incomplete"),
        ([HEAD, {"type": "http.response.pathsend", "path": "/x"}], 200, ""),
    ],
    ids=["after", "amid", "before", "cancelled", "left", "incomplete", "file"],
)
async def test_each_answer_is_counted_once_with_what_befell_it(
    steps: list[object], status: int, error: str
) -> None:
    counts = RequestCounts()

    await hear(TimingMiddleware(Scripted(steps), counts=counts), scope())

    ((key, series),) = counts.series.items()
    assert (key.status, key.error, series.count) == (status, error, 1)
