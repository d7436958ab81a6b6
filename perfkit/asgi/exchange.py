"""One response on its way out: the state machine between what an application sends and what a client gets.

    waiting ──start──▶ held ──whole body──────────────▶ fields, ETag, 304, compression ──▶ sent
                         │──first of many──▶ streaming   line by line, message by message ──▶ sent
                         │──JSON in pieces, some fields of it wanted──▶ collecting ──end──▶ as a whole body
                         └──the cache answers by itself──▶ swallowed

The start is held until the first piece of the body says what it will be: whole bodies get an ETag, a length
and the best coding. A body counts as whole when it comes in one message, or when its first message is as long
as the `Content-Length`: what middleware made with Starlette's `BaseHTTPMiddleware` turns whole bodies into.
Event streams and lines of JSON are never held: a client of a language model waits for the head, too.

Messages this file does not know are passed on untouched, in their place.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

from perfkit.asgi.conditional import as_not_modified, etag_of, not_modified
from perfkit.asgi.content import streams_at_once
from perfkit.asgi.head import Head
from perfkit.asgi.messages import Fields, Message, Send
from perfkit.asgi.ranges import ranged
from perfkit.asgi.request import Request

if TYPE_CHECKING:
    from perfkit.asgi.compress import Encoder
    from perfkit.asgi.fields import LineFilter, Mask
    from perfkit.asgi.stages import Stages

__all__ = ["Exchange", "Kept", "Tee"]

_WAITING, _HELD, _PLAIN, _STREAMING, _COLLECTING, _SWALLOWED = range(6)
_BODY_BY_OTHER_MEANS = frozenset({"http.response.pathsend", "http.response.zerocopysend"})
_WITHOUT_BODY = frozenset({204, 205, 304})
_PREPARED_AT_MOST = 16
"""Variants kept ready of one stored response; clients that accept the same send one of a few headers."""


class Tee(Protocol):
    """Hears a response as the application sent it, its cache policy applied and nothing else."""

    def head(self, head: Head) -> bool:
        """Take note of the head; False keeps this response from the client."""
        ...

    def body(self, chunk: bytes, more: bool) -> None:
        """Take note of a piece of the body."""
        ...

    def other(self, message: Message) -> None:
        """Take note of a message that is neither: trailers, a file the server sends by itself."""
        ...


class Kept(Protocol):
    """A stored response, whole and unfiltered, in no coding."""

    status: int
    fields: Fields
    body: bytes
    prepared: MutableMapping[Any, tuple[Head, bytes]]
    """Variants ready to be sent, which are kept beside it and never stored."""


class Exchange:
    """The answer to one request: `send` is what the application gets."""

    __slots__ = (
        "_collected",
        "_encoder",
        "_ended",
        "_head",
        "_lines",
        "_request",
        "_send",
        "_sent_bytes",
        "_stages",
        "_start",
        "_started_s",
        "_state",
        "cache_status",
        "mask",
        "tee",
    )

    def __init__(self, stages: Stages, request: Request, send: Send) -> None:
        self._stages = stages
        self._request = request
        self._send = send
        self._state = _WAITING
        self._head: Head | None = None
        self._encoder: Encoder | None = None
        self._lines: LineFilter | None = None
        self._sent_bytes = 0
        self._ended = False
        self._started_s = 0.0 if stages.timing is None else stages.timing.begin(request)
        self.mask: Mask | None = None
        """The fields the client wants, if not all."""
        self.tee: Tee | None = None
        """Hears what the application sends; set before it is called."""
        self.cache_status = b""
        """What `Cache-Status` says (RFC 9211); empty leaves it out."""

    async def send(self, message: Message) -> None:
        """Take a message of the application."""
        kind = message["type"]
        if kind == "http.response.body":
            await self._body(message)
        elif kind == "http.response.start" and self._state == _WAITING:
            await self._begin(message)
        else:
            await self._other(kind, message)

    async def reply(self, kept: Kept, *, age_seconds: int, cache_status: bytes) -> None:
        """Answer with a stored response: the fields, the coding and the range this client asks for, or 304."""
        request, mask = self._request, self.mask
        variant = request.get(b"accept-encoding"), "" if mask is None else mask.key
        ready = kept.prepared.get(variant) or await self._prepare(kept, variant)
        head, body = ready[0].copy(), ready[1]
        self._start = {"type": "http.response.start"}
        if self._not_modified(head):
            head, body = as_not_modified(head), b""
        elif mask is None and request.get(b"range") is not None:
            part = ranged(request, Head(kept.status, kept.fields), kept.body)
            if part is not None:
                head, body = part
        head.set(b"age", b"%d" % age_seconds)
        self.cache_status = cache_status
        await self._commit(head)
        await self._last(b"" if request.method == "HEAD" else body)

    async def finish(self) -> None:
        """Send what is still held: the application has returned."""
        if self._state == _HELD:
            assert self._head is not None  # noqa: S101  # for the type checker: what is held has a head
            await self._commit(self._head)
        elif self._state == _COLLECTING:
            await self._let_go(more=True)
        self._end("" if self._ended or self._state == _SWALLOWED else "incomplete")

    def fail(self, error: BaseException) -> None:
        """Take note that the application, or what is before it, raised instead of finishing."""
        self._end(type(error).__qualname__)

    async def _begin(self, message: Message) -> None:
        head = self._head = Head(message["status"], message.get("headers", ()))
        self._start: Message = message
        stages = self._stages
        if stages.policies is not None:
            stages.policies.apply(self._request, head)
        if self.tee is not None and not self.tee.head(head):
            self._state = _SWALLOWED
            return
        self._state = _HELD
        if (
            head.get(b"content-length") is None
            and streams_at_once(head.get(b"content-type"))
            and self._may_have_body(head)
        ):
            await self._stream(head)

    async def _body(self, message: Message) -> None:
        chunk, more = message.get("body", b""), message.get("more_body", False)
        if type(chunk) is not bytes:
            chunk = bytes(chunk)
        state = self._state
        if self.tee is not None:
            self.tee.body(chunk, more)
        if state == _HELD:
            head = self._head
            assert head is not None  # noqa: S101  # for the type checker: what is held has a head
            if not more or head.get(b"content-length") == b"%d" % len(chunk):
                await self._whole(head, chunk, more=more)
            elif self.mask is not None and self._form(head) == "json":
                self._state, self._collected = _COLLECTING, bytearray(chunk)
            else:
                await self._stream(head)
                await self._piece(chunk, more=more)
        elif state == _STREAMING:
            await self._piece(chunk, more=more)
        elif state == _COLLECTING:
            await self._collect(chunk, more=more)
        elif state != _SWALLOWED:
            self._sent_bytes += len(chunk)
            await self._send(message)
            if not more:
                self._end()

    async def _other(self, kind: str, message: Message) -> None:
        if self.tee is not None:
            self.tee.other(message)
        if self._state == _SWALLOWED:
            return
        if kind in _BODY_BY_OTHER_MEANS and self._state == _HELD:
            assert self._head is not None  # noqa: S101  # for the type checker: what is held has a head
            await self._commit(self._head)
            await self._send(message)
            self._end()
        else:
            await self._send(message)

    async def _whole(self, head: Head, body: bytes, *, more: bool) -> None:
        """Send a response whose whole body is known; `more` says that the application has yet to end it."""
        if self._may_have_body(head):
            body = self._filtered(head, body)
            self._validate(head, body)
            if self._not_modified(head):
                await self._not_modified_instead(head, more=more)
                return
            compression = self._stages.compression
            if compression is not None:
                coded = compression.whole(self._request, head, body)
                body = coded if type(coded) is bytes else await coded  # type: ignore[misc]  # bytes has no subclass here
            if head.get(b"content-length") is None:
                head.set(b"content-length", b"%d" % len(body))
        else:
            if body and head.status == 200:  # HEAD, by a framework that makes the body and lets the server drop it
                self._validate(head, body)
            if self._not_modified(head):
                await self._not_modified_instead(head, more=more)
                return
            self._without_body(head)
        await self._commit(head)
        if more:
            self._sent_bytes += len(body)
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
        else:
            await self._last(body)

    async def _stream(self, head: Head) -> None:
        """Send the head of a response whose body comes in pieces, and see to how they are treated."""
        if not self._may_have_body(head):
            self._without_body(head)
        elif self._not_modified(head):
            await self._not_modified_instead(head, more=True)
            return
        else:
            if self.mask is not None and self._form(head) == "lines":
                self._lines = self.mask.lines()
                head.drop(b"content-length", *_OF_THE_BYTES)
            if self._stages.compression is not None:
                self._encoder = self._stages.compression.stream(self._request, head)
        await self._commit(head)
        if self._lines is not None or self._encoder is not None:
            self._state = _STREAMING

    async def _piece(self, chunk: bytes, *, more: bool) -> None:
        """Send a piece of a streamed body."""
        if self._state == _SWALLOWED:
            return
        lines, encoder = self._lines, self._encoder
        if lines is not None:
            chunk = lines.feed(chunk) if more else lines.end(chunk)
        if encoder is not None and (chunk or not more):
            chunk = encoder.feed(chunk) if more else encoder.end(chunk)
        if not more:
            await self._last(chunk)
        elif chunk:
            self._sent_bytes += len(chunk)
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _collect(self, chunk: bytes, *, more: bool) -> None:
        """Add a piece to a body that is filtered as a whole, unless it has become too large for that."""
        self._collected += chunk
        if not more:
            assert self._head is not None  # noqa: S101  # for the type checker: what is collected has a head
            await self._whole(self._head, bytes(self._collected), more=False)
        elif len(self._collected) > self._stages.fields_max_bytes:
            self.mask = None
            await self._let_go(more=True)

    async def _let_go(self, *, more: bool) -> None:
        """Send what was collected as it came."""
        head, so_far = self._head, bytes(self._collected)
        assert head is not None  # noqa: S101  # for the type checker: what is collected has a head
        self._collected = bytearray()
        await self._stream(head)
        await self._piece(so_far, more=more)

    async def _not_modified_instead(self, head: Head, *, more: bool) -> None:
        head = as_not_modified(head)
        self._without_body(head)
        await self._commit(head)
        await self._last(b"")
        if more:
            self._state = _SWALLOWED

    async def _prepare(self, kept: Kept, variant: tuple[bytes | None, str]) -> tuple[Head, bytes]:
        """Make a variant of a stored response, and keep it ready where that is safe."""
        head, stages = Head(kept.status, kept.fields), self._stages
        body = self._filtered(head, kept.body)
        self._validate(head, body)
        if stages.compression is not None:
            coded = stages.compression.whole(self._request, head, body)
            body = coded if type(coded) is bytes else await coded  # type: ignore[misc]  # bytes has no subclass here
        if head.get(b"content-length") is None and head.status not in _WITHOUT_BODY:
            head.set(b"content-length", b"%d" % len(body))
        if stages.repeatable:
            while len(kept.prepared) >= _PREPARED_AT_MOST:
                kept.prepared.pop(next(iter(kept.prepared)))
            kept.prepared[variant] = head, body
        return head, body

    def _filtered(self, head: Head, body: bytes) -> bytes:
        """Leave only the wanted fields of a JSON body."""
        mask = self.mask
        if mask is None or len(body) > self._stages.fields_max_bytes:
            return body
        form = self._form(head)
        if not form:
            return body
        filtered = mask.apply(body) if form == "json" else mask.lines().end(body)
        if filtered is None:
            return body
        head.drop(*_OF_THE_BYTES)
        head.set(b"content-length", b"%d" % len(filtered))
        return filtered

    def _form(self, head: Head) -> str:
        fields = self._stages.fields
        return "" if fields is None else fields.form_of(head)

    def _validate(self, head: Head, body: bytes) -> None:
        """Give a body its entity tag, unless the application did or nobody may keep it."""
        if (
            self._stages.validators
            and head.status == 200
            and head.get(b"etag") is None
            and self._request.method in _SAFE
            and b"no-store" not in (head.get(b"cache-control") or b"")
        ):
            head.set(b"etag", etag_of(body))

    def _not_modified(self, head: Head) -> bool:
        """Whether the client has this answer already (RFC 9110 §13.2.2)."""
        get = self._request.get
        return (
            self._stages.validators
            and head.status == 200
            and (get(b"if-none-match") is not None or get(b"if-modified-since") is not None)
            and self._request.method in _SAFE
            and not_modified(self._request, head)
        )

    def _may_have_body(self, head: Head) -> bool:
        return self._request.method != "HEAD" and head.status >= 200 and head.status not in _WITHOUT_BODY

    def _without_body(self, head: Head) -> None:
        if self.mask is not None and self._request.method == "HEAD" and self._form(head):
            head.drop(b"content-length")  # it is that of all the fields
        if self._stages.compression is not None:
            self._stages.compression.bodiless(self._request, head)

    async def _commit(self, head: Head) -> None:
        """Send the head; nothing changes it any more."""
        self._state = _PLAIN
        self._head = head
        if self.cache_status:
            head.set(b"cache-status", self.cache_status)
        if self._stages.timing is not None:
            self._stages.timing.head(head, self._started_s, self.cache_status)
        await self._send({**self._start, "status": head.status, "headers": head.fields})

    async def _last(self, body: bytes) -> None:
        self._sent_bytes += len(body)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self._end()

    def _end(self, error: str = "") -> None:
        """Take note, once, that the response has ended."""
        if self._ended:
            return
        self._ended = True
        if self._stages.timing is not None:
            status = 500 if self._head is None else self._head.status
            self._stages.timing.end(self._request, status, self._started_s, self._sent_bytes, error)


_SAFE = frozenset({"GET", "HEAD"})
_OF_THE_BYTES = (b"etag", b"accept-ranges", b"content-digest", b"content-md5", b"digest", b"repr-digest")
"""Fields that are true of the very bytes the application sent, and of no others."""
