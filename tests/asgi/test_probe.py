"""Our middleware, put to the probe: one stage, every stage, and a response cache before the application."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.asgi import AsgiSettings, CompressionMiddleware, PerformanceMiddleware
from perfkit.asgi.messages import App, Message, Receive, Scope, Send
from perfkit.cache import TieredCache
from tests.asgi.imitated import Scripted, ask, body, hear, scope, start, whole
from tests.asgi.probe.case import BIG, Check, Factory, verify
from tests.asgi.probe.expect import coded, plain
from tests.asgi.probe.table import TABLE


def _with_a_cache(app: App) -> App:
    return PerformanceMiddleware(app, AsgiSettings(), cache=TieredCache())


LAYERS: dict[str, Factory] = {
    "compression alone": lambda app: CompressionMiddleware(app, AsgiSettings()),
    "every stage": lambda app: PerformanceMiddleware(app, AsgiSettings()),
    "every stage and a cache": _with_a_cache,
}
CHECKS = [pytest.param(check, id=check.sentence) for checks in TABLE.values() for check in checks]
layers = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())


@layers
@pytest.mark.parametrize("check", CHECKS)
async def test_the_probe(layer: Factory, check: Check) -> None:
    """Each sentence of the probe is true of each of our layers."""
    await verify(layer, check)


def test_the_probe_asks_each_thing_once() -> None:
    """Two checks of one name would hide one another in a report."""
    sentences = [check.sentence for checks in TABLE.values() for check in checks]
    assert len(set(sentences)) == len(sentences) >= 62


@pytest.mark.parametrize(
    ("expects", "accept"), [(coded("br"), "gzip"), (plain, "gzip"), (coded("gzip"), "identity")]
)
async def test_the_probe_can_fail(expects: Any, accept: str) -> None:
    """A check of what is not so raises."""
    with pytest.raises(AssertionError):
        await verify(LAYERS["every stage"], Check("no", accept, lambda: whole(BIG), (expects,)))


async def test_the_probe_sees_bytes_that_are_lost() -> None:
    """A layer that loses the end of every body does not pass, though its messages are legal."""

    def careless(app: App) -> App:
        async def layer(scope: Scope, receive: Receive, send: Send) -> None:
            async def cut(message: Message) -> None:
                await send({**message, "body": message["body"][:-1]} if "body" in message else message)

            await app(scope, receive, cut)

        return layer

    with pytest.raises(AssertionError, match="other bytes"):
        await verify(careless, Check("no", None, lambda: [start(), body(BIG)], ()))


@layers
@pytest.mark.parametrize("kind", ["websocket", "lifespan", "of the future"])
async def test_what_is_not_http_passes_as_if_nobody_were_there(layer: Factory, kind: str) -> None:
    """The application gets the very scope, and both directions carry the very messages."""
    request: Scope = {
        "type": kind,
        "asgi": {"version": "3.0"},
        "path": "/",
        "headers": [(b"accept-encoding", b"gzip")],
    }
    there, back = {"type": f"{kind}.startup", "text": "in"}, {"type": f"{kind}.send", "text": "out" * 1_000}
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([scope, await receive()])
        await send(back)

    async def receive() -> Message:
        return there

    async def send(message: Message) -> None:
        seen.append(message)

    await layer(app)(request, receive, send)
    assert seen[0] is request
    assert seen[1] is there
    assert seen[2] is back


@layers
async def test_a_request_is_seen_by_the_application_as_it_came(layer: Factory) -> None:
    """Fields, extensions and state of the scope are the server's, and the scope is not changed."""
    app = Scripted(whole(BIG))
    state: dict[str, Any] = {"pool": object()}
    await ask(layer(app), "gzip", ("cookie", "a=1"), state=state, extensions={"http.response.trailers": {}})
    (seen,) = app.scopes
    assert seen["state"] is state
    assert (b"accept-encoding", b"gzip") in seen["headers"]
    assert (b"cookie", b"a=1") in seen["headers"]
    assert seen["extensions"] == {"http.response.trailers": {}}


@layers
@pytest.mark.parametrize("kind", [tuple, iter], ids=["tuple", "iterator"])
async def test_a_server_may_give_the_fields_of_a_request_as_any_iterable(layer: Factory, kind: Any) -> None:
    """As ASGI has it: the client gets its coding, and the application still sees every field."""
    app = Scripted(whole(BIG))
    request = scope(fields=[("accept-encoding", "gzip"), ("cookie", "a=1")])
    sent = list(request["headers"])
    answer = await hear(layer(app), request | {"headers": kind(sent)})
    assert answer.error is None
    assert answer.coding == "gzip"
    assert list(app.scopes[0]["headers"]) == sent
