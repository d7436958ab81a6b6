"""Applications that pause, servers that are slow, clients that leave, and many answers at once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.asgi import AsgiSettings, CompressionMiddleware, PerformanceMiddleware
from perfkit.asgi.messages import App, Message, Receive, Scope, Send
from tests.asgi.imitated import Answer, Reader, Scripted, Step, ask, body, hear, legal, scope, start
from tests.asgi.probe.case import BIG, SMALL, Factory

CODINGS = ("gzip", "br", "zstd", "deflate", "identity")
LAYERS: dict[str, Factory] = {
    "compression": lambda app: CompressionMiddleware(app, AsgiSettings()),
    "every stage": lambda app: PerformanceMiddleware(app, AsgiSettings()),
    "threads for all": lambda app: CompressionMiddleware(app, AsgiSettings(compress_offload_ms=0.1)),
}
layers = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One event loop for all examples."""
    with asyncio.Runner() as runner:
        yield runner


def turns(count: int) -> Callable[..., Awaitable[None]]:
    """Return what lets the loop turn a few times."""

    async def turn(*_: object) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    return turn


pieces = st.lists(st.sampled_from((b"", b"a", SMALL, b"few bytes. " * 40, BIG[:1_100], BIG)), max_size=5)
pauses = st.lists(st.integers(0, 4), min_size=6, max_size=6)
types = st.sampled_from(("text/plain", "application/json", "text/event-stream", "image/png"))


def script(chunks: list[bytes], waits: list[int], content_type: str) -> list[Step]:
    """Return a response in pieces with pauses between."""
    steps: list[Step] = [turns(waits[0]), start(200, ("content-type", content_type))]
    for chunk, wait in zip(chunks, waits[1:], strict=False):
        steps += [turns(wait), body(chunk, more=True)]
    return [*steps, turns(waits[-1]), body()]


class Watched:
    """What the loop was told that nobody waited for."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def __call__(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.told.append(context)

    def nothing(self) -> None:
        """Assert that all errors were somebody's."""
        gc.collect(1)
        assert self.told == []


@layers
@settings(max_examples=80, deadline=None)
@given(pieces, pauses, types, st.integers(0, 3), st.sampled_from(CODINGS))
def test_pauses_change_no_byte_and_no_order(
    loop: asyncio.Runner,
    layer: Factory,
    chunks: list[bytes],
    waits: list[int],
    kind: str,
    slow: int,
    coding: str,
) -> None:
    """However long the application waits between its messages, and the server with each."""
    app = layer(Scripted(script(chunks, waits, kind)))
    request = scope(fields=[("accept-encoding", coding)])
    answer = loop.run(hear(app, request, strict=True, taking=turns(slow)))
    assert answer.error is None
    legal(answer)
    assert answer.body == b"".join(chunks)


@layers
@settings(max_examples=80, deadline=None)
@given(pieces, pauses, types, st.integers(0, 3), st.integers(0, 6), st.sampled_from(CODINGS))
def test_a_client_that_is_gone_is_told_to_the_application_and_to_no_log(
    loop: asyncio.Runner,
    layer: Factory,
    chunks: list[bytes],
    waits: list[int],
    kind: str,
    slow: int,
    leaves_at: int,
    coding: str,
) -> None:
    """A server may raise at any message: that error, and no other, comes out; before it came a beginning."""
    gone = OSError("the client is gone")
    answer = Answer()

    async def taking(_: Message) -> None:
        await turns(slow)()
        if len(answer.messages) >= leaves_at:
            raise gone

    async def run() -> None:
        watched = Watched()
        asyncio.get_running_loop().set_exception_handler(watched)
        app = layer(Scripted(script(chunks, waits, kind)))
        await hear(app, scope(fields=[("accept-encoding", coding)]), into=answer, taking=taking)
        await turns(10)()
        watched.nothing()

    loop.run(run())
    assert answer.error in (None, gone)
    assert len(answer.messages) <= leaves_at
    if answer.error is None:
        legal(answer)
    if answer.messages:
        assert b"".join(chunks).startswith(Reader(answer.coding).feed(answer.raw))


@layers
@settings(max_examples=80, deadline=None)
@given(pieces, pauses, types, st.sampled_from((0, 1, 3, 100)), st.integers(0, 12), st.sampled_from(CODINGS))
def test_a_request_may_be_cancelled_at_any_moment(
    loop: asyncio.Runner,
    layer: Factory,
    chunks: list[bytes],
    waits: list[int],
    kind: str,
    slow: int,
    moment: int,
    coding: str,
) -> None:
    """It ends at once, leaves no task behind, and the next answer of the layer is sound."""

    async def run() -> None:
        watched = Watched()
        asyncio.get_running_loop().set_exception_handler(watched)
        app = layer(Scripted(script(chunks, waits, kind)))
        request = scope(fields=[("accept-encoding", coding)])
        first = asyncio.ensure_future(hear(app, request, taking=turns(slow)))
        await turns(moment)()
        first.cancel()
        await asyncio.wait([first])
        await turns(20)()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert (await ask(app, coding)).body == b"".join(chunks)
        watched.nothing()

    loop.run(run())


@layers
@pytest.mark.parametrize("wait", range(5))
@pytest.mark.parametrize("slow", [0, 1, 2, 5])
async def test_an_application_that_fails_at_a_pause_fails_alone(layer: Factory, wait: int, slow: int) -> None:
    """Its error comes out, though the server fails too while the beginning of the body is on its way."""
    error, watched = ValueError("the application failed"), Watched()
    asyncio.get_running_loop().set_exception_handler(watched)

    async def taking(_: Message) -> None:
        await turns(slow)()
        raise OSError("the client is gone")

    steps = [start(200, ("content-type", "text/plain")), body(SMALL, more=True), turns(wait), error]
    answer = await hear(layer(Scripted(steps)), scope(fields=[("accept-encoding", "gzip")]), taking=taking)
    await turns(20)()
    assert answer.error is error or isinstance(answer.error, OSError)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    watched.nothing()


@layers
@pytest.mark.parametrize("coding", CODINGS[:4])
async def test_many_answers_at_once_keep_their_own_bytes(layer: Factory, coding: str) -> None:
    """Bodies large enough for threads, streams that take turns, small ones between: each gets its own."""

    def content(n: int) -> bytes:
        return b"".join(
            b'{"n": %d, "of": %d, "x": "%x"}\n' % (i, n, i * n) for i in range(4_000 if n % 2 else 40)
        )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        text = content(int(scope["path"][1:]))
        await send(start(200, ("content-type", "application/json")))
        if int(scope["path"][1:]) % 3:
            await send(body(text))
            return
        for at in range(0, len(text), 5_000):
            await send(body(text[at : at + 5_000], more=True))
            await asyncio.sleep(0)
        await send(body())

    served: App = layer(app)
    answers = await asyncio.gather(*(ask(served, coding, path=f"/{n}") for n in range(40)))
    for n, answer in enumerate(answers):
        legal(answer)
        assert answer.body == content(n)


@layers
async def test_a_layer_in_a_layer_does_its_work_once(layer: Factory) -> None:
    """Whatever is added twice, at two places of an application, encodes once and varies once."""
    answer = await ask(
        layer(layer(Scripted([start(200, ("content-type", "text/plain")), body(BIG)]))), "gzip"
    )
    legal(answer)
    assert answer.all("content-encoding") == ["gzip"]
    assert answer.tokens("vary").count("accept-encoding") == 1
    assert answer.body == BIG


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
async def test_a_small_piece_goes_out_when_the_application_waits(content_type: str) -> None:
    """Whatever the type: JSON is held back only for a client that wants some of its fields."""
    sent: list[Message] = []
    before_the_end: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, ("content-type", content_type)))
        await send(body(b"[1,", more=True))
        for _ in range(3):
            await asyncio.sleep(0)
        before_the_end.append(len(sent))
        await send(body(b"2]"))

    async def keep(message: Message) -> None:
        sent.append(message)

    request = scope("GET", "/", [("accept-encoding", "gzip")])
    await PerformanceMiddleware(app, AsgiSettings())(request, None, keep)  # type: ignore[arg-type]

    assert before_the_end == [2]
