"""A client that speaks raw ASGI, and applications that send what they are told: what tests here share."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import brotli
import zstandard

from perfkit.asgi.messages import App, Fields, Message, Receive, Scope, Send

__all__ = [
    "Answer",
    "Reader",
    "Scripted",
    "ask",
    "body",
    "decoded",
    "encoded",
    "hear",
    "legal",
    "scope",
    "start",
    "whole",
]

Field = tuple[str | bytes, str | bytes]
Step = Message | BaseException | Callable[[], Awaitable[Any]]
"""What a scripted application does next: send a message, raise, or wait for something."""


def scope(
    method: str = "GET",
    path: str = "/",
    fields: Iterable[Field] = (),
    *,
    query: str | bytes = b"",
    **more: Any,
) -> Scope:
    """Return the scope of an HTTP request; `more` sets keys of it, such as `extensions`."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": _bytes(query),
        "root_path": "",
        "headers": [
            (b"host", b"service.example"),
            *((_bytes(name), _bytes(value)) for name, value in fields),
        ],
        "client": ("192.0.2.1", 50_000),
        "server": ("192.0.2.2", 80),
        **more,
    }


def start(status: int = 200, *fields: Field) -> Message:
    """Return the message that starts a response."""
    lines = [(_bytes(name), _bytes(value)) for name, value in fields]
    return {"type": "http.response.start", "status": status, "headers": lines}


def body(chunk: bytes = b"", *, more: bool = False) -> Message:
    """Return a message of a response's body."""
    return {"type": "http.response.body", "body": chunk, "more_body": more}


def whole(
    content: bytes = b"", *fields: Field, status: int = 200, content_type: str | None = "text/plain"
) -> list[Step]:
    """Return the two messages of a response sent in one piece, with its Content-Length, as frameworks do."""
    typed = [] if content_type is None else [("content-type", content_type)]
    return [start(status, ("content-length", str(len(content))), *typed, *fields), body(content)]


class Scripted:
    """An application that takes its steps, one after another, with every request, and notes what it saw.

    `after_each` is called when a message has been sent and the next step is not begun.
    """

    def __init__(self, steps: Iterable[Step], after_each: Callable[[], Any] = lambda: None) -> None:
        self.steps = list(steps)
        self.scopes: list[Scope] = []
        self.refused: BaseException | None = None
        """What came of sending a message the server does not take."""
        self.after_each = after_each

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        for step in self.steps:
            if isinstance(step, BaseException):
                raise step
            if callable(step):
                await step()
                continue
            try:
                await send(step)
            except BaseException as error:
                self.refused = error
                raise
            self.after_each()


@dataclass
class Answer:
    """All that came of one request."""

    messages: list[Message] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def types(self) -> list[str]:
        """The types of the messages, in their order."""
        return [message["type"] for message in self.messages]

    @property
    def head(self) -> Message:
        """The message that started the response."""
        heads = [message for message in self.messages if message["type"] == "http.response.start"]
        assert len(heads) == 1, f"{len(heads)} starts: {self.types}"
        return heads[0]

    @property
    def status(self) -> int:
        """The response's status."""
        return int(self.head["status"])

    @property
    def fields(self) -> Fields:
        """The response's fields, names in small letters."""
        return [(bytes(name).lower(), bytes(value)) for name, value in self.head.get("headers", ())]

    def all(self, name: str) -> list[str]:
        """Return the lines of a field."""
        return [value.decode("latin-1") for key, value in self.fields if key == name.encode()]

    def get(self, name: str) -> str | None:
        """Return a field's value, its lines joined, or None."""
        lines = self.all(name)
        return ", ".join(lines) if lines else None

    def tokens(self, name: str) -> list[str]:
        """Return the members of a field that is a list, in small letters: twice what is there twice."""
        return [part.strip().lower() for part in (self.get(name) or "").split(",") if part.strip()]

    @property
    def coding(self) -> str:
        """The body's coding; `identity` when none is named."""
        return self.get("content-encoding") or "identity"

    @property
    def chunks(self) -> list[bytes]:
        """What each body message carried."""
        return [
            bytes(message.get("body", b""))
            for message in self.messages
            if message["type"] == "http.response.body"
        ]

    @property
    def raw(self) -> bytes:
        """The body as it travelled."""
        return b"".join(self.chunks)

    @property
    def body(self) -> bytes:
        """The body as a client reads it, and proof that it is whole."""
        return decoded(self.coding, self.raw)


class OutOfOrder(RuntimeError):
    """What a strict server raises at a message out of order."""


async def hear(
    app: App,
    request: Scope,
    incoming: Sequence[Message] = (),
    *,
    into: Answer | None = None,
    strict: bool = False,
    taking: Callable[[Message], Awaitable[Any]] | None = None,
) -> Answer:
    """Ask an application for one answer; what it raises is noted.

    `into` is filled as the messages come; a `strict` server refuses messages out of order, as uvicorn does;
    `taking` is what the server does before it takes a message: it may wait, or raise.
    """
    answer = Answer() if into is None else into
    order = Order(request["method"])
    waiting = list(incoming) or [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if taking is not None:
            await taking(message)
        if (reason := order.broken_by(message)) and strict:
            raise OutOfOrder(reason)
        # As a server does, it reads the message at once: what is changed later did not travel.
        answer.messages.append(
            {
                key: bytes(value) if key == "body" else list(value) if key == "headers" else value
                for key, value in message.items()
            }
        )

    try:
        await app(request, receive, send)
    except BaseException as error:  # a scripted application raises what a test likes
        answer.error = error
    return answer


async def ask(
    app: App,
    accept: str | Sequence[str] | None = None,
    *fields: Field,
    method: str = "GET",
    path: str = "/",
    query: str | bytes = b"",
    **more: Any,
) -> Answer:
    """Ask an application for one answer that ends well; `accept` is Accept-Encoding, or its lines."""
    lines = [] if accept is None else [accept] if isinstance(accept, str) else accept
    accepts = [("accept-encoding", line) for line in lines]
    answer = await hear(app, scope(method, path, [*accepts, *fields], query=query, **more))
    if answer.error is not None:
        raise answer.error
    return answer


class Reader:
    """Decodes a body as it comes, as a browser does; `ended` when the coding says so."""

    def __init__(self, coding: str) -> None:
        self.coding = coding
        self.ended = False
        self._zlib = zlib.decompressobj(31 if coding == "gzip" else 15)
        self._brotli = brotli.Decompressor()
        self._zstd = zstandard.ZstdDecompressor(max_window_size=8 * 1024**2).decompressobj()  # RFC 9659

    def feed(self, chunk: bytes) -> bytes:
        """Return what can be read now that `chunk` is here."""
        if self.coding == "identity":
            return chunk
        if self.ended:
            assert not chunk, f"{len(chunk)} bytes after the end of {self.coding}"
            return b""
        if self.coding == "br":
            text = self._brotli.process(chunk) if chunk else b""
            self.ended = self._brotli.is_finished()
        elif self.coding == "zstd":
            text = self._zstd.decompress(chunk) if chunk else b""
            self.ended = self._zstd.eof
            assert not self._zstd.unused_data, "bytes after the end of zstd"
        elif self.coding in ("gzip", "deflate"):
            text = self._zlib.decompress(chunk)
            self.ended = self._zlib.eof
            assert not self._zlib.unused_data, f"bytes after the end of {self.coding}"
        else:
            raise AssertionError(f"nobody asked for {self.coding!r}")
        return text


def decoded(coding: str, content: bytes) -> bytes:
    """Return a body without its coding; fails when it is cut short or longer than its coding says."""
    reader = Reader(coding)
    text = reader.feed(content)
    assert coding == "identity" or reader.ended, f"{coding} is cut short after {len(content)} bytes"
    return text


def encoded(coding: str, content: bytes) -> bytes:
    """Return a body in a coding, made by none of our code."""
    makers: dict[str, Callable[[bytes], bytes]] = {
        "identity": bytes,
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": brotli.compress,
        "zstd": zstandard.ZstdCompressor().compress,
    }
    return makers[coding](content)


class Order:
    """What a server takes, as uvicorn does: messages in order, and as many bytes as Content-Length says."""

    def __init__(self, method: str = "GET") -> None:
        self.method = method
        self.started = self.ended = False
        self.left: int | None = None
        """How many bytes are still to come, if that was said."""

    def broken_by(self, message: Message) -> str:
        """Take the next message; return what is wrong with it."""
        kind = message["type"]
        if kind == "http.response.start":
            wrong = "a second start" if self.started else ""
            self.started = True
            self.left = self._length_of(message)
        elif kind in ("http.response.body", "http.response.pathsend", "http.response.zerocopysend"):
            more = message.get("more_body", False)
            wrong = (
                "a body after its end" if self.ended else "" if self.started else "a body before its start"
            )
            self.ended = self.ended or not more
            if self.left is not None and kind == "http.response.body":
                self.left -= len(message.get("body", b""))
                if self.left < 0 or (self.left > 0 and not more):
                    wrong = wrong or "a body of another length than was said"
        else:
            wrong = ""
        return wrong

    def _length_of(self, start: Message) -> int | None:
        if self.method == "HEAD" or start["status"] in (204, 304):
            return None
        lines = [
            value for name, value in start.get("headers", ()) if bytes(name).lower() == b"content-length"
        ]
        return int(lines[0]) if lines and bytes(lines[0]).isdigit() else None


def legal(answer: Answer, *, method: str = "GET") -> None:
    """Assert that a server may be sent these messages, and that they are all of a response."""
    order = Order(method)
    for message in answer.messages:
        wrong = order.broken_by(message)
        assert not wrong, f"{wrong}: {answer.types}"
    assert order.started, "nothing was answered"
    assert order.ended, f"the response did not end: {answer.types}"
    for name, value in answer.head.get("headers", ()):
        assert type(name) is bytes, name
        assert type(value) is bytes, value
    lengths = answer.all("content-length")
    assert len(lengths) <= 1, lengths


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
