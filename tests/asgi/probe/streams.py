"""Answers that come in pieces: what is live arrives live, and what is whole is treated as whole."""

from __future__ import annotations

from collections.abc import Iterable

from tests.asgi.imitated import Field, Step, body, start
from tests.asgi.probe.case import BIG, NOISE, SMALL, Check, Seen
from tests.asgi.probe.expect import coded, has, no_length, plain, prompt, smaller, varies

__all__ = ["CHECKS"]

EVENTS = [b'data: {"token": "word %d", "model": "small", "index": %d}\n\n' % (n, n) for n in range(60)]
LINES = [b'{"id": %d, "name": "member %d"}\n' % (n, n) for n in range(200)]
PIECES = [BIG[at : at + 3_000] for at in range(0, len(BIG), 3_000)]
LENGTH = str(len(BIG))


def _stream(pieces: Iterable[bytes], content_type: str, *fields: Field, closed: bool = True) -> list[Step]:
    """Return a response in pieces: the last says it is the last, or (`closed`) an empty message does."""
    bodies = [body(piece, more=True) for piece in pieces]
    if closed:
        bodies.append(body())
    else:
        bodies[-1]["more_body"] = False
    return [start(200, ("content-type", content_type), *fields), *bodies]


def _events() -> list[Step]:
    return _stream(EVENTS, "text/event-stream; charset=utf-8", ("cache-control", "no-store"))


def _lines() -> list[Step]:
    return _stream(LINES, "application/x-ndjson")


def _pieces() -> list[Step]:
    return _stream(PIECES, "application/json")


def _head_at_once(seen: Seen) -> None:
    assert seen.marks[0] == 1, "the head waited for the first event"
    assert seen.answer.types[0] == "http.response.start"


def _as_many_messages(seen: Seen) -> None:
    """One message for each of the application's: no event is torn, and none waits to be joined."""
    bodies = [chunk for chunk in seen.answer.chunks if chunk]
    assert len(bodies) in (len(EVENTS), len(EVENTS) + 1)


def _tiny() -> list[Step]:
    return [start(200, ("content-type", "text/plain")), body(SMALL, more=True), body(SMALL)]


CHECKS = [
    Check("server-sent events: the head goes at once, plain", None, _events, (plain, _head_at_once)),
    Check("server-sent events: the head goes at once, with gzip", "gzip", _events, (_head_at_once,)),
    Check("server-sent events: the head goes at once, with zstd", "zstd", _events, (_head_at_once,)),
    Check("server-sent events: each arrives as it is sent, plain", None, _events, (prompt,)),
    Check(
        "server-sent events: each arrives as it is sent, with gzip",
        "gzip",
        _events,
        (prompt, _as_many_messages),
    ),
    Check(
        "server-sent events: each arrives as it is sent, with br", "br", _events, (prompt, _as_many_messages)
    ),
    Check(
        "server-sent events: each arrives as it is sent, with zstd",
        "zstd",
        _events,
        (prompt, _as_many_messages),
    ),
    Check("server-sent events: each arrives as it is sent, with deflate", "deflate", _events, (prompt,)),
    Check("server-sent events are compressed", "zstd", _events, (coded("zstd"), no_length, varies)),
    Check("lines of JSON: the head goes at once", "gzip", _lines, (_head_at_once,)),
    Check("lines of JSON: each arrives as it is sent, with gzip", "gzip", _lines, (prompt,)),
    Check("lines of JSON: each arrives as it is sent, with zstd", "zstd", _lines, (prompt,)),
    Check("lines of JSON are compressed", "br", _lines, (coded("br"), no_length, varies)),
    Check(
        "a stream of another type: each piece arrives as it is sent, with gzip", "gzip", _pieces, (prompt,)
    ),
    Check("a stream of another type: each piece arrives as it is sent, with br", "br", _pieces, (prompt,)),
    Check(
        "a stream of another type: each piece arrives as it is sent, with zstd", "zstd", _pieces, (prompt,)
    ),
    Check("a stream is compressed", "gzip", _pieces, (coded("gzip"), no_length, varies)),
    Check("a tiny stream of two pieces is not compressed", "gzip", _tiny, (plain, varies)),
    Check(
        "a stream whose Content-Length is small is not compressed",
        "gzip",
        lambda: _stream([SMALL[:9], SMALL[9:]], "text/plain", ("content-length", str(len(SMALL)))),
        (plain, has("content-length", str(len(SMALL)))),
    ),
    Check(
        "a first piece as long as Content-Length is the whole body",
        "gzip",
        lambda: _stream([BIG], "application/json", ("content-length", LENGTH)),
        (coded("gzip"), smaller),
    ),
    Check(
        "and when it is small it keeps its length",
        "gzip",
        lambda: _stream([SMALL], "text/plain", ("content-length", str(len(SMALL)))),
        (plain, has("content-length", str(len(SMALL)))),
    ),
    Check(
        "a last piece that says it is the last ends the encoding",
        "br",
        lambda: _stream(PIECES, "text/html", closed=False),
        (coded("br"), no_length),
    ),
    Check(
        "empty pieces amid a stream harm nothing",
        "zstd",
        lambda: _stream([b"", PIECES[0], b"", b"", PIECES[1], b""], "text/html"),
        (coded("zstd"),),
    ),
    Check("a stream of nothing is nothing", "gzip", lambda: _stream([b"", b""], "text/html"), (plain,)),
    Check(
        "a stream nobody compresses keeps its Content-Length and its pieces",
        "gzip",
        lambda: _stream([NOISE] * 3, "image/jpeg", ("content-length", str(3 * len(NOISE)))),
        (plain, prompt, has("content-length", str(3 * len(NOISE)))),
    ),
]
