"""Messages of ASGI: those of extensions pass, odd ones are borne, an application's failure stays its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from perfkit.asgi.messages import Message
from tests.asgi.imitated import Step, body, start, whole
from tests.asgi.probe.case import BIG, Check, Expectation, Seen
from tests.asgi.probe.expect import coded, no_length, plain, smaller

__all__ = ["CHECKS"]

TEXT = ("content-type", "text/plain")
LENGTH = ("content-length", str(len(BIG)))
ENCODED = coded("gzip")

EXTENSIONS: dict[str, dict[str, Any]] = {
    "http.response.trailers": {},
    "http.response.pathsend": {},
    "http.response.debug": {},
    "http.response.early_hint": {},
    "tls": {"tls_version": 0x0304},
}

TRAILERS: Message = {"type": "http.response.trailers", "headers": [(b"x-sum", b"7")], "more_trailers": False}
HINT: Message = {"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]}
DEBUG: Message = {"type": "http.response.debug", "info": {"template": "page.html"}}
FUTURE: Message = {"type": "http.response.of_the_future", "what": b"ever"}
PATH: Message = {"type": "http.response.pathsend", "path": "/srv/film.txt"}
ZERO_COPY: Message = {"type": "http.response.zerocopysend", "file": 7, "count": len(BIG), "more_body": False}


def _sends(sentence: str, *steps: Step, expects: tuple[Expectation, ...], **more: Any) -> Check:
    return Check(
        sentence,
        "gzip",
        lambda: [_fresh(step) for step in steps],
        expects,
        scope={"extensions": EXTENSIONS},
        **more,
    )


def _fresh(step: Step) -> Step:
    """Return a message of its own: some middleware changes those it gets."""
    if not isinstance(step, dict):
        return step
    return step | ({"headers": list(step["headers"])} if "headers" in step else {})


def _body_of(kind: Callable[[bytes], Any]) -> list[Step]:
    message = body(BIG)
    message["body"] = kind(BIG)
    return [start(200, TEXT, LENGTH), message]


def _headers_of(kind: Callable[[Sequence[Any]], Any]) -> list[Step]:
    steps = whole(BIG)
    steps[0]["headers"] = kind(steps[0]["headers"])
    return steps


def _passed(message: Message) -> Expectation:
    """A message reached the server as the application sent it."""

    def expectation(seen: Seen) -> None:
        assert [found for found in seen.answer.messages if found["type"] == message["type"]] == [message]

    return expectation


def _in_order(*types: str) -> Expectation:
    def expectation(seen: Seen) -> None:
        kinds = [kind.removeprefix("http.response.") for kind in seen.answer.types]
        assert [kind for n, kind in enumerate(kinds) if n == 0 or kind != kinds[n - 1]] == list(types)

    return expectation


def _as_sent(seen: Seen) -> None:
    """Start and file go out as the application sent them."""
    assert seen.answer.types == [step["type"] for step in seen.script]
    assert seen.answer.get("content-encoding") is None
    assert seen.answer.get("content-length") == LENGTH[1]
    assert seen.answer.messages[1] == seen.script[1]


def _raised(error: BaseException) -> Expectation:
    """What the application raised, the very object, is what the server sees."""

    def expectation(seen: Seen) -> None:
        assert seen.answer.error is error

    return expectation


def _unended(seen: Seen) -> None:
    """An answer cut short does not look whole: no last message was made up."""
    bodies = [message for message in seen.answer.messages if message["type"] == "http.response.body"]
    assert all(message.get("more_body", False) for message in bodies)


def _ended_once(seen: Seen) -> None:
    ends = [
        m for m in seen.answer.messages if m["type"] == "http.response.body" and not m.get("more_body", False)
    ]
    assert len(ends) == 1
    assert seen.answer.body.startswith(BIG)


def _nothing(seen: Seen) -> None:
    assert seen.answer.types == []


def _refused(seen: Seen) -> None:
    """The application hears of its mistake, as it would from the server alone."""
    assert isinstance(seen.app.refused, RuntimeError)


def _first_or_none(seen: Seen) -> None:
    assert not seen.answer.messages or seen.answer.status == seen.script[0]["status"]


def _no_error(seen: Seen) -> None:
    assert seen.answer.error is None


def _started_at_most(seen: Seen) -> None:
    assert seen.answer.types in ([], ["http.response.start"])


def _whole_or_refused(seen: Seen) -> None:
    """The client gets every byte under a true length; or the server refuses what it refuses without us."""
    if seen.answer.error is not None:
        assert seen.app.refused is seen.answer.error
        return
    assert seen.answer.body == seen.sent
    if seen.answer.coding != "identity":
        assert seen.answer.get("content-length") in (None, str(len(seen.answer.raw)))


def _sees_extensions(seen: Seen) -> None:
    assert set(EXTENSIONS) <= set(seen.app.scopes[0]["extensions"])


def _promises_trailers(seen: Seen) -> None:
    assert seen.answer.head["trailers"] is True


def _hint_first(seen: Seen) -> None:
    """A hint is of use before the answer: it went out when the application sent it."""
    assert seen.marks[0] == 1
    assert seen.answer.messages[0] == HINT


ERROR = ValueError("the application failed")
GONE = asyncio.CancelledError()
HEAD = start(200, TEXT)
FIXED = start(200, TEXT, LENGTH)
TRAILED = {**HEAD, "trailers": True}

CHECKS = [
    _sends(
        "trailers follow the body",
        TRAILED,
        body(BIG),
        TRAILERS,
        expects=(ENCODED, _passed(TRAILERS), _in_order("start", "body", "trailers"), _promises_trailers),
    ),
    Check(
        "an answer that promises trailers is given no Content-Length: they need chunks",
        "identity",
        lambda: [dict(TRAILED), body(BIG), dict(TRAILERS)],
        (plain, no_length, _promises_trailers),
        scope={"extensions": EXTENSIONS},
    ),
    _sends(
        "trailers follow a stream",
        TRAILED,
        body(BIG, more=True),
        body(BIG),
        TRAILERS,
        expects=(ENCODED, _passed(TRAILERS), _in_order("start", "body", "trailers")),
    ),
    _sends(
        "early hints go out at once", HINT, HEAD, body(BIG), expects=(ENCODED, _passed(HINT), _hint_first)
    ),
    _sends("debug messages pass", DEBUG, HEAD, body(BIG), expects=(ENCODED, _passed(DEBUG))),
    _sends("messages of the future pass", FUTURE, HEAD, body(BIG), expects=(ENCODED, _passed(FUTURE))),
    _sends(
        "a message of the future between start and body passes",
        HEAD,
        FUTURE,
        body(BIG),
        expects=(_passed(FUTURE),),
    ),
    _sends("a file by its path passes", FIXED, PATH, expects=(_as_sent,), broken=True),
    _sends("a file by its descriptor passes", FIXED, ZERO_COPY, expects=(_as_sent,), broken=True),
    _sends("the application sees the server's extensions", HEAD, body(BIG), expects=(_sees_extensions,)),
    _sends(
        "a start without fields is borne",
        {"type": "http.response.start", "status": 200},
        body(BIG),
        expects=(ENCODED, smaller),
    ),
    _sends("a body message without a body is borne", HEAD, {"type": "http.response.body"}, expects=(plain,)),
    Check("fields in a tuple are borne", "gzip", lambda: _headers_of(tuple), (ENCODED, smaller)),
    Check(
        "fields as lists are borne",
        "gzip",
        lambda: _headers_of(lambda lines: [*map(list, lines)]),
        (ENCODED, smaller),
    ),
    Check("fields from a generator are borne", "gzip", lambda: _headers_of(iter), (ENCODED, smaller)),
    Check("a memoryview is a body", "gzip", lambda: _body_of(memoryview), (ENCODED, smaller)),
    Check("a memoryview is a body with brotli", "br", lambda: _body_of(memoryview), (coded("br"), smaller)),
    Check("a memoryview is a body with zstd", "zstd", lambda: _body_of(memoryview), (coded("zstd"), smaller)),
    Check("a memoryview is a body that goes as it is", None, lambda: _body_of(memoryview), (plain,)),
    Check("a bytearray is a body", "gzip", lambda: _body_of(bytearray), (ENCODED, smaller)),
    _sends(
        "a Content-Length that says too little cuts nothing off what is encoded",
        start(200, TEXT, ("content-length", "5")),
        body(BIG),
        expects=(_whole_or_refused,),
        broken=True,
    ),
    _sends(
        "a Content-Length that says too much leaves no client waiting",
        start(200, TEXT, ("content-length", "999999")),
        body(BIG),
        expects=(ENCODED, smaller),
    ),
    _sends(
        "a Content-Length that is no number is no error",
        start(200, TEXT, ("content-length", "many")),
        body(BIG),
        expects=(ENCODED, smaller),
    ),
    _sends(
        "pieces after a first as long as Content-Length are not lost in silence",
        FIXED,
        body(BIG, more=True),
        body(b"more"),
        expects=(_whole_or_refused,),
        broken=True,
        strict=True,
    ),
    _sends("an exception before any message passes", ERROR, expects=(_raised(ERROR), _nothing), broken=True),
    _sends(
        "an exception after the start passes", HEAD, ERROR, expects=(_raised(ERROR), _unended), broken=True
    ),
    _sends(
        "an exception between pieces passes, and the answer does not look whole",
        HEAD,
        body(BIG, more=True),
        ERROR,
        expects=(_raised(ERROR), _unended),
        broken=True,
    ),
    _sends(
        "an exception after the end passes, and the answer is whole",
        HEAD,
        body(BIG),
        ERROR,
        expects=(_raised(ERROR), _ended_once),
        broken=True,
    ),
    _sends(
        "a cancelled request passes as one",
        HEAD,
        body(BIG, more=True),
        GONE,
        expects=(_raised(GONE), _unended),
        broken=True,
    ),
    _sends(
        "an application that sends nothing is no reason to answer", expects=(_nothing, _no_error), broken=True
    ),
    _sends(
        "an application that only starts has started, and no end is made up",
        HEAD,
        expects=(_no_error, _started_at_most),
        broken=True,
    ),
    _sends(
        "a body before its start is refused by the server",
        body(BIG),
        expects=(_refused,),
        broken=True,
        strict=True,
    ),
    _sends(
        "a second start does not displace the first",
        start(201, TEXT),
        start(500, TEXT),
        body(BIG),
        expects=(_refused, _first_or_none),
        broken=True,
        strict=True,
    ),
    _sends("a second start is refused", HEAD, HEAD, body(BIG), expects=(_refused,), broken=True, strict=True),
    _sends(
        "a body after the end is refused, and the answer is whole",
        HEAD,
        body(BIG),
        body(b"and more"),
        expects=(_refused, _ended_once),
        broken=True,
        strict=True,
    ),
]
