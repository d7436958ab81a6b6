"""One response on its way out: the state machine between what an application sends and what a client gets.

    waiting ──start──▶ held ──whole body──────────────▶ fields, ETag, 304, compression ──▶ sent
                         │──first of many──▶ streaming   piece by piece ──────────────────▶ sent
                         │──a little, or JSON of which some fields are wanted──▶ gathering
                         │                     ├──end──────────────────────────▶ as a whole body
                         │                     └──much, or a pause────────────▶ streaming
                         └──the client has it already──▶ 304, and the body is swallowed

The start is held until the first piece of the body says what it will be: whole bodies get an ETag, a length
and the best coding. A body counts as whole when it comes in one message; when its first message is as long
as the `Content-Length`, which is what layers of Starlette's `BaseHTTPMiddleware` turn whole bodies into; and
when all its pieces are there, small, before the event loop has turned. Event streams and lines of JSON are
never held: a client of a language model waits for the head, too.

Messages this file does not know are passed on untouched, in their place.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perfkit.asgi.compress import without_a_length_too_large
from perfkit.asgi.conditional import as_not_modified
from perfkit.asgi.content import content_of, streams_at_once
from perfkit.asgi.fields import as_filtered
from perfkit.asgi.head import Head
from perfkit.asgi.messages import Message, Send
from perfkit.asgi.ranges import ranged
from perfkit.asgi.request import Request
from perfkit.asgi.timing import error_type
from perfkit.asgi.whole import WITHOUT_BODY, filtered, form_of, has_body, is_not_modified, tag

if TYPE_CHECKING:
    from perfkit.asgi.codecs import Encoder
    from perfkit.asgi.fields import LineFilter, Mask
    from perfkit.asgi.response_cache import Kept, Tee
    from perfkit.asgi.stages import Stages

__all__ = ["Exchange"]

_WAITING, _HELD, _PLAIN, _STREAMING, _GATHERING, _FILLED, _SWALLOWED = range(7)
_BODY_BY_OTHER_MEANS = frozenset({"http.response.pathsend", "http.response.zerocopysend"})
_MANY_DIGITS = 8
"""Of a length that may be too large for the front end."""
_PREPARED_AT_MOST = 16
"""Variants kept ready of one stored response; clients that accept the same send one of a few headers."""


class Exchange:
    """The answer to one request: `send` is what the application gets."""

    # Defaults of the class, for most responses need none of it: a request pays for what is set.
    mask: Mask | None = None
    """The fields the client wants, if not all."""
    tee: Tee | None = None
    """Hears what the application sends; set before it is called."""
    cache_status = b""
    """What `Cache-Status` says (RFC 9211); empty leaves it out."""
    _state = _WAITING
    _start: Message
    _head: Head | None = None
    _encoder: Encoder | None = None
    _lines: LineFilter | None = None
    _gathered = bytearray()
    _room = 0
    _letting_go: asyncio.Task[None] | None = None
    _pause: asyncio.Handle | None = None
    _started_s = 0.0
    _sent_bytes = 0
    _ended = False

    def __init__(self, stages: Stages, request: Request, send: Send) -> None:
        self._stages = stages
        self._request = request
        self._send = send
        if stages.timing is not None:
            self._started_s = stages.timing.begin(request)

    async def send(self, message: Message) -> None:
        """Take a message of the application."""
        if self._letting_go is not None:
            await self._let_go_first()
        kind = message["type"]
        if kind == "http.response.body":
            chunk, more = message.get("body", b""), message.get("more_body", False)
            if type(chunk) is not bytes:
                chunk = bytes(chunk)
            if self.tee is not None:
                self.tee.body(chunk, more)
            if self._state == _HELD and not more:
                await self._whole(chunk, more=False)
            else:
                await self._part(message, chunk, more=more)
        elif kind == "http.response.start" and self._state == _WAITING:
            if self._begin(message):
                await self._stream()
        else:
            await self._other(kind, message)

    async def reply(self, kept: Kept, *, age_seconds: int, cache_status: bytes) -> None:
        """Answer with a stored response: in the fields, coding and range this client asks for, or by 304."""
        request, mask = self._request, self.mask
        get = request.get
        control = get(b"cache-control")
        accepts = None if control is not None and b"no-transform" in control else get(b"accept-encoding")
        variant = accepts, "" if mask is None else mask.key
        ready = kept.prepared.get(variant)
        head, body = (await self._prepared(kept, variant)) if ready is None else ready
        stages = self._stages
        if stages.validators and is_not_modified(request, head):
            head, body = as_not_modified(head), b""
        elif mask is None and get(b"range") is not None:
            part = ranged(request, Head(kept.status, kept.fields), kept.body)
            if part is not None:
                head, body = part
        if request.method == "HEAD":
            body = b""
        self._state, self._head, self._sent_bytes = _PLAIN, head, len(body)
        head = head.lent()  # the next who asks finds it as it was
        head.fields.append((b"age", b"%d" % age_seconds))
        head.fields.append((b"cache-status", cache_status))
        if stages.timing is not None:
            stages.timing.head(head, self._started_s, cache_status)
        await self._send({"type": "http.response.start", "status": head.status, "headers": head.fields})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self._end()

    @property
    def is_over(self) -> bool:
        """Whether the response has ended, so that nothing of it is held."""
        return self._ended

    async def finish(self) -> None:
        """Send what is still held: the application has returned."""
        if self._letting_go is not None:
            await self._let_go_first()
        if self._state == _HELD:
            await self._send(self._committed(self._own_head))
        elif self._state == _GATHERING:
            await self._let_go()
        if self._state != _SWALLOWED:
            self._end("incomplete")

    def fail(self, error: BaseException) -> None:
        """Take note that the application, or what is before it, raised instead of finishing."""
        if self._letting_go is not None:
            self._letting_go.cancel()
            self._letting_go.add_done_callback(_looked_at)
        self._end(error_type(error), client_left=isinstance(error, asyncio.CancelledError))

    @property
    def _own_head(self) -> Head:
        assert self._head is not None  # noqa: S101  # for the type checker: there was a start
        return self._head

    def _begin(self, message: Message) -> bool:
        """Hold a start; tell whether it is to be sent at once all the same."""
        head = self._head = Head(message["status"], message.get("headers", ()))
        self._start = message
        if self._stages.policies is not None:
            self._stages.policies.apply(self._request, head)
        if self.tee is not None:
            self.tee.head(head)
        self._state = _HELD
        return head.get(b"content-length") is None and streams_at_once(head.get(b"content-type"))

    def _is_all(self, body: bytes | bytearray) -> bool:
        """Whether so much of a body is all that was announced."""
        return self._own_head.get(b"content-length") == b"%d" % len(body)

    async def _part(self, message: Message, chunk: bytes, *, more: bool) -> None:
        """Take a piece of a body that is not whole."""
        state = self._state
        if state == _HELD:
            if room := self._room_for(self._own_head, chunk):
                self._state, self._room, self._gathered = _GATHERING, room, bytearray()
                await self._gather(chunk, more=True)
            else:
                await self._stream()
                await self._piece(chunk, more=more)
        elif state == _STREAMING:
            await self._piece(chunk, more=more)
        elif state == _GATHERING:
            await self._gather(chunk, more=more)
        elif state != _SWALLOWED:
            if state == _FILLED and chunk:
                raise RuntimeError(
                    f"The application sent {len(chunk)} bytes more than its Content-Length announced. Its "
                    "answer went out at that length; announce all of it, or nothing."
                )
            self._sent_bytes += len(chunk)
            await self._send(message)
            if not more:
                self._end()

    async def _other(self, kind: str, message: Message) -> None:
        """Pass on a message that is neither start nor body."""
        if self.tee is not None:
            self.tee.other(message)
        if self._state == _SWALLOWED:
            return
        if self._state == _HELD and kind == "http.response.start":
            self._state = _PLAIN  # a second start: the server is to see both, and to refuse this one
            await self._send(self._committed(self._own_head))
        if kind in _BODY_BY_OTHER_MEANS and self._state == _HELD:
            self._state = _PLAIN
            await self._send(self._committed(self._own_head))
            await self._send(message)
            self._end()
        else:
            await self._send(message)

    async def _whole(self, body: bytes, *, more: bool) -> None:
        """Send a response whose whole body is known; `more` says that the application has yet to end it."""
        stages, request, head = self._stages, self._request, self._head
        assert head is not None  # noqa: S101  # for the type checker: there was a start
        self._state = _FILLED if more else _PLAIN
        with_body = request.method != "HEAD" and head.status >= 200 and head.status not in WITHOUT_BODY
        if with_body and self.mask is not None:
            body = filtered(stages, self.mask, head, body)
        if stages.validators and head.status == 200:
            if with_body or body:  # a HEAD may come with a body, which the server drops
                tag(request, head, body)
            if is_not_modified(request, head):
                head, body, with_body = as_not_modified(head), b"", False
                if more:
                    more, self._state = False, _SWALLOWED
        if not with_body:
            self._without_body(head)
        elif stages.compression is not None:
            coded = stages.compression.whole(request, head, body)
            body = coded if type(coded) is bytes else await coded  # type: ignore[misc]  # bytes, or an awaitable
        if with_body:
            length = head.get(b"content-length")
            if length is None:
                head.set(b"content-length", b"%d" % len(body))
            elif len(length) >= _MANY_DIGITS:
                without_a_length_too_large(request, head)
        self._sent_bytes = len(body)
        await self._send(self._committed(head))
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        if not more:
            self._end()

    async def _stream(self) -> None:
        """Send the head of a response whose body comes in pieces, and see to how they are treated."""
        stages, request, head = self._stages, self._request, self._own_head
        self._state = _PLAIN
        if not has_body(request, head):
            self._without_body(head)
        elif stages.validators and head.status == 200 and is_not_modified(request, head):
            head = as_not_modified(head)
            self._without_body(head)
            self._state = _SWALLOWED
        else:
            if self.mask is not None and form_of(stages, head) == "lines":
                self._lines = self.mask.lines()
                as_filtered(head)
            if stages.compression is not None:
                self._encoder = stages.compression.stream(request, head)
            without_a_length_too_large(request, head)
            if self._lines is not None or self._encoder is not None:
                self._state = _STREAMING
        await self._send(self._committed(head))
        if self._state == _SWALLOWED:
            await self._last(b"")

    async def _piece(self, chunk: bytes, *, more: bool) -> None:
        """Send a piece of a streamed body."""
        if self._state == _SWALLOWED:
            return
        if self._lines is not None:
            chunk = self._lines.feed(chunk) if more else self._lines.end(chunk)
        if self._encoder is not None and (chunk or not more):
            assert self._stages.compression is not None  # noqa: S101  # for the type checker: it made the encoder
            coded = self._stages.compression.part(self._encoder, chunk, more=more)
            chunk = coded if isinstance(coded, bytes) else await coded
        if not more:
            self._state = _PLAIN  # what comes after the end is the server's to refuse
            await self._last(chunk)
        elif chunk:
            self._sent_bytes += len(chunk)
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    def _room_for(self, head: Head, chunk: bytes) -> int:
        """How many bytes of a body in pieces are worth waiting for; 0 when none are."""
        stages = self._stages
        if self._is_filtered_whole(head):
            return stages.fields_max_bytes
        if self._is_all(chunk):
            return len(chunk)
        if len(chunk) >= stages.small_bytes or head.get(b"content-length") is not None:
            return 0
        if self._request.get(b"accept-encoding") is None:
            return 0
        worth = content_of(head.get(b"content-type")).compressible and head.get(b"content-encoding") is None
        return stages.small_bytes if worth and has_body(self._request, head) else 0

    def _is_filtered_whole(self, head: Head) -> bool:
        """Whether some fields are wanted of a document, which must be all there for that."""
        return self.mask is not None and form_of(self._stages, head) == "json"

    async def _gather(self, chunk: bytes, *, more: bool) -> None:
        """Add a piece to a body that may turn out to be whole: small and all there, or JSON to filter."""
        self._gathered += chunk
        if not more:
            await self._whole(bytes(self._gathered), more=False)
        elif len(self._gathered) > self._room:
            await self._let_go()
        elif self._pause is None and not self._is_filtered_whole(self._own_head):
            await self._until_a_pause()

    async def _until_a_pause(self) -> None:
        try:
            self._pause = asyncio.get_running_loop().call_soon(self._paused)
        except RuntimeError:  # another kind of loop, whose turns nobody tells us of
            await self._let_go()

    def _paused(self) -> None:
        """Let go what is gathered: the loop has turned, so the application waits for something."""
        if self._state == _GATHERING:
            self._letting_go = asyncio.get_running_loop().create_task(self._let_go())

    async def _let_go(self) -> None:
        """Send what is gathered: all of a body that has yet to be ended, or the beginning of a stream."""
        so_far, self._gathered = bytes(self._gathered), bytearray()
        if self._is_all(so_far):
            await self._whole(so_far, more=True)
            return
        if self._is_filtered_whole(self._own_head):
            self.mask = None  # it has become too large for that
        await self._stream()
        await self._piece(so_far, more=True)

    async def _let_go_first(self) -> None:
        """Wait until what was let go at a pause is sent; what befell it befalls the application."""
        letting_go, self._letting_go = self._letting_go, None
        if letting_go is not None:
            await letting_go

    async def _prepared(self, kept: Kept, variant: tuple[bytes | None, str]) -> tuple[Head, bytes]:
        """Make a variant of a stored response, and keep it ready where that is safe."""
        head, stages = Head(kept.status, kept.fields), self._stages
        body = kept.body if self.mask is None else filtered(stages, self.mask, head, kept.body)
        if stages.validators and head.status == 200:
            tag(self._request, head, body)
        if stages.compression is not None:
            coded = stages.compression.whole(self._request, head, body)
            body = coded if type(coded) is bytes else await coded  # type: ignore[misc]  # bytes, or an awaitable
        if head.get(b"content-length") is None and head.status not in WITHOUT_BODY:
            head.set(b"content-length", b"%d" % len(body))
        without_a_length_too_large(self._request, head)
        if stages.repeatable and (stages.compression is None or not stages.compression.rests):
            while len(kept.prepared) >= _PREPARED_AT_MOST:
                kept.prepared.pop(next(iter(kept.prepared)))
            kept.prepared[variant] = head, body
        return head, body

    def _without_body(self, head: Head) -> None:
        if self.mask is not None and self._request.method == "HEAD" and form_of(self._stages, head):
            as_filtered(head)  # what it says is of all the fields
        if self._stages.compression is not None:
            self._stages.compression.bodiless(self._request, head)

    def _committed(self, head: Head) -> Message:
        """Return the message that sends a head; nothing changes it any more."""
        self._head = head
        if self._start.get("trailers"):
            head.drop(b"content-length")  # over HTTP/1.1 only chunks have trailers (RFC 9112 §7.1.2)
        if self.cache_status:
            head.set(b"cache-status", self.cache_status)
        if self._stages.timing is not None:
            self._stages.timing.head(head, self._started_s, self.cache_status)
        start = {"type": "http.response.start", "status": head.status, "headers": head.fields}
        return start if len(self._start) <= 3 else {**self._start, **start}

    async def _last(self, body: bytes) -> None:
        self._sent_bytes += len(body)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self._end()

    def _end(self, error: str = "", *, client_left: bool = False) -> None:
        """Take note, once, that the response has ended."""
        if self._ended:
            return
        self._ended = True
        if self._stages.timing is not None:
            status = (0 if client_left else 500) if self._head is None else self._head.status
            self._stages.timing.end(self._request, status, self._started_s, self._sent_bytes, error)


def _looked_at(task: asyncio.Task[None]) -> None:
    """Spare the log what the application never waited for: it has raised something itself."""
    if not task.cancelled():
        task.exception()
