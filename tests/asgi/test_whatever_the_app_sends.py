"""Whatever an application sends and a client asks: the client reads the same bytes, no failure is ours."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from perfkit.asgi import AsgiSettings, CompressionMiddleware, PerformanceMiddleware
from perfkit.asgi.messages import App, Message, Scope
from perfkit.cache import TieredCache
from tests.asgi.imitated import Answer, OutOfOrder, Reader, Scripted, body, decoded, hear, legal, start
from tests.asgi.probe.case import Factory
from tests.asgi.scripts import Sent, requests, responses


def _everything(app: App) -> App:
    return PerformanceMiddleware(app, AsgiSettings(compress_min_bytes=200, response_cache_ttl_seconds=60))


def _cached(app: App) -> App:
    kept = AsgiSettings(compress_min_bytes=200, response_cache_ttl_seconds=60)
    return PerformanceMiddleware(app, kept, cache=TieredCache())


def _noisy(app: App) -> App:
    return CompressionMiddleware(app, AsgiSettings(compress_noise_bytes=32, compress_cross_site=False))


LAYERS: dict[str, Factory] = {
    "compression": lambda app: CompressionMiddleware(app, AsgiSettings(compress_min_bytes=0)),
    "compression against BREACH": _noisy,
    "every stage": _everything,
    "every stage and a cache": _cached,
}
layers = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
thorough = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One event loop for all examples: making one costs more than most of them."""
    with asyncio.Runner() as runner:
        yield runner


def field(request: Scope, name: bytes) -> bytes | None:
    """Return a request's field."""
    return dict(request["headers"]).get(name)


def judge(request: Scope, sent: Sent, answer: Answer) -> None:
    """Hold an answer against what the application sent."""
    if answer.error is not None:
        raise answer.error
    legal(answer, method=request["method"])
    event(f"{answer.status} {answer.coding}")
    status = sent.steps[0]["status"]
    if answer.coding != "identity" and sent.coding == "identity":
        assert {"accept-encoding", "*"} & set(answer.tokens("vary"))
    if answer.status != status:
        assert status == 200 or answer.status in (400, 504)
        assert answer.status in _other_statuses(request)
        if answer.status == 304:
            _is_had(request, answer)
        if answer.status == 206 and request["method"] == "GET":
            _is_part(sent, answer)
        return
    if request["method"] == "HEAD" or _is_filtered(request, sent, answer):
        return
    if sent.coding != "identity":
        assert (answer.coding, answer.raw) == (sent.coding, sent.body)
    else:
        assert answer.body == sent.body


def _is_had(request: Scope, answer: Answer) -> None:
    """A 304 names a tag the client has; asked by date, its own date or its tag (RFC 9110 §15.4.5)."""
    had = field(request, b"if-none-match")
    if had is None:
        assert answer.get("last-modified") or answer.get("date") or answer.get("etag")
        return
    tag = answer.get("etag")
    opaque = [] if tag is None else [tag.removeprefix("W/").encode("latin-1")]
    assert had.strip() == b"*" or re.findall(rb'"[^"]*"', had).count(*opaque)


def _is_part(sent: Sent, answer: Answer) -> None:
    """A 206 has the very bytes its Content-Range names, alone or in parts (RFC 9110 §15.3.7)."""
    assert answer.coding == sent.coding
    kind, _, boundary = (answer.get("content-type") or "").partition("; boundary=")
    if kind == "multipart/byteranges":
        *parts, last = answer.raw.split(b"--" + boundary.strip('"').encode())[1:]
        assert last.strip() == b"--"
        found = [part.removesuffix(b"\r\n").split(b"\r\n\r\n", 1) for part in parts]
    else:
        found = [[f"content-range: {answer.get('content-range')}".encode(), answer.raw]]
    assert found
    for head, text in found:
        named = re.search(rb"(?i)content-range: bytes (\d+)-(\d+)/(\d+)", head)
        assert named is not None
        first, last_one, size = map(int, named.groups())
        assert size == len(sent.body)
        assert text == sent.body[first : last_one + 1]


def _other_statuses(request: Scope) -> set[int]:
    """Return the statuses that may be ours, by what the client asked."""
    found = set()
    if request["query_string"].startswith(b"fields"):
        found.add(400)
    if request["method"] in ("GET", "HEAD"):
        if field(request, b"if-none-match") is not None or field(request, b"if-modified-since") is not None:
            found.add(304)
        if field(request, b"range") is not None:
            found |= {206, 416}
        if b"only-if-cached" in (field(request, b"cache-control") or b""):
            found.add(504)
    return found


def _is_filtered(request: Scope, sent: Sent, answer: Answer) -> bool:
    """Tell whether fields were taken out; if so, JSON is left."""
    if not request["query_string"].startswith(b"fields") or sent.coding != "identity":
        return False
    try:
        json.loads(sent.body)
    except ValueError:
        return b"\n" in sent.body  # lines of JSON are filtered each by itself
    json.loads(answer.body)
    return True


@layers
@thorough
@given(sent=responses(), first=requests(), second=requests())
def test_the_client_reads_what_was_sent(
    loop: asyncio.Runner, layer: Factory, sent: Sent, first: Scope, second: Scope
) -> None:
    """Twice, as the second may be answered from what was kept of the first."""
    app = layer(Scripted(sent.steps))
    for request in (first, second):
        judge(request, sent, loop.run(hear(app, request)))


@thorough
@given(
    sent=responses(statuses=(200,), says="public, max-age=600"),
    asked=st.lists(requests(methods=("GET", "GET", "HEAD")), min_size=2, max_size=5),
)
def test_the_client_reads_what_was_kept(loop: asyncio.Runner, sent: Sent, asked: list[Scope]) -> None:
    """Public answers, asked for in whole, in part, with fields, tags and codings: most are from the cache."""
    app = Scripted(sent.steps)
    served = _cached(app)
    for request in asked:
        judge(request, sent, loop.run(hear(served, request)))
    event(f"asked {len(app.scopes)} times for {len(asked)}")


@layers
@thorough
@given(data=st.data(), sent=responses(), request_=requests(methods=("GET", "POST")))
def test_an_exception_of_the_application_passes_and_no_answer_looks_whole_for_it(
    loop: asyncio.Runner, layer: Factory, data: st.DataObject, sent: Sent, request_: Scope
) -> None:
    """Wherever it is raised: the very object arrives, and what was sent before is a beginning of the body."""
    at = data.draw(st.integers(0, len(sent.steps)))
    error = data.draw(st.sampled_from((ValueError("the application"), asyncio.CancelledError(), OSError())))
    answer = loop.run(hear(layer(Scripted([*sent.steps[:at], error])), request_))
    if answer.error is None:
        assert answer.status in (
            400,
            304,
            504,
        )  # answered before the application was asked, or before it failed
        return
    assert answer.error is error
    bodies = [message for message in answer.messages if message["type"] == "http.response.body"]
    if at < len(sent.steps) and answer.messages and answer.status not in (304, 206):
        assert all(message.get("more_body", False) for message in bodies)
    if answer.messages and answer.status == sent.steps[0]["status"] and not request_["query_string"]:
        text = answer.raw if sent.coding != "identity" else Reader(answer.coding).feed(answer.raw)
        assert sent.body.startswith(text)


_words = st.sampled_from(
    (
        start(200, ("content-type", "text/plain")),
        start(204),
        body(b"some" * 100, more=True),
        body(b"last"),
        body(),
        {"type": "http.response.trailers", "headers": []},
        {"type": "http.response.debug", "info": {}},
        {"type": "http.response.pathsend", "path": "/a"},
    )
)


@layers
@thorough
@given(steps=st.lists(_words, max_size=6), request_=requests(methods=("GET", "HEAD")))
def test_messages_out_of_order_are_judged_by_the_server_and_not_by_us(
    loop: asyncio.Runner, layer: Factory, steps: list[Message], request_: Scope
) -> None:
    """An application that errs hears so as it would without us; one that does not, does not."""
    request_["query_string"] = b""
    bare = loop.run(hear(Scripted(steps), request_, strict=True))
    ours = loop.run(hear(layer(Scripted(steps)), request_, strict=True))
    if ours.error is not None:
        assert isinstance(ours.error, OutOfOrder)
        assert isinstance(bare.error, OutOfOrder)
    elif isinstance(bare.error, OutOfOrder):
        assert ours.status in (304, 504) or request_["method"] == "HEAD"


@layers
@thorough
@given(sent=responses(statuses=(200,)), claimed=st.integers(0, 2_000), request_=requests(methods=("GET",)))
def test_a_content_length_that_is_not_true_costs_no_byte(
    loop: asyncio.Runner, layer: Factory, sent: Sent, claimed: int, request_: Scope
) -> None:
    """What is encoded has a true one or none; what is not goes out as the application sent it."""
    request_["query_string"] = b""
    lines = [line for line in sent.steps[0].get("headers", ()) if line[0].lower() != b"content-length"]
    steps: list[Any] = [
        {**sent.steps[0], "headers": [*lines, (b"content-length", b"%d" % claimed)]},
        *sent.steps[1:],
    ]
    answer = loop.run(hear(layer(Scripted(steps)), request_))
    assert answer.error is None
    if answer.status == 200 and sent.coding == "identity" and answer.coding != "identity":
        legal(answer)
        assert decoded(answer.coding, answer.raw) == sent.body
    elif answer.status == 200:
        assert answer.raw == sent.body
