"""The stage that compresses responses, whole or in parts, and says so in their heads.

    the head                the client                  the process        the result
    ────────                ──────────                  ───────────        ──────────
    a body to compress?     takes a coding,             busy? a lower      saves enough?
    its type, not encoded,  best first, and             level, or none;    else as it was
    not a range, allowed    not identity rather         long? a thread

What a client cannot decode it never gets, and nothing grows unless the client refuses identity. Whatever
could have been compressed says `Vary: accept-encoding`, even when it was not: a cache in between must not
give one client's answer to the other. A compressed body is another representation than the application
described (RFC 9110 §8.8.3), so its strong ETag becomes weak, digests go, and ranges are no longer offered.
`no-transform`, of either side, is obeyed (RFC 9111 §5.2).

Compression can give away secrets: who may put words into an answer beside one, and sees how many bytes go by,
finds the secret letter by letter (BREACH, 2013). `compress_noise_bytes` blurs the size with a field of random
length, whatever the coding; it makes the attack longer, not impossible. `compress_cross_site=False` takes its
ground away: what another site asks for with this site's cookies is not compressed. Both are off by default,
for what carries no secret needs neither.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from secrets import SystemRandom
from typing import Final

from perfkit.asgi.codecs import CODECS, Encoder
from perfkit.asgi.compress_counts import CodingCounts, CompressionCounts
from perfkit.asgi.content import content_of
from perfkit.asgi.governor import LoadGovernor
from perfkit.asgi.head import Head
from perfkit.asgi.levels import SMALL_BYTES, Step, is_numeric, level_of
from perfkit.asgi.memo import remembering_short
from perfkit.asgi.messages import Fields
from perfkit.asgi.negotiate import Negotiated, negotiate
from perfkit.asgi.offload import THREADS, Pace, Worked
from perfkit.asgi.request import Request
from perfkit.asgi.settings import AsgiSettings
from perfkit.clock import Clock, now_s

__all__ = ["Compression", "without_a_length_too_large"]

_OFFERED: Final = {
    "all": ("zstd", "br", "gzip", "deflate"),
    "no-zstd": ("br", "gzip", "deflate"),
    "no-brotli": ("zstd", "gzip", "deflate"),
    "gzip": ("gzip",),
}
_FIELD_BYTES: Final = 32  # what saying that a body is compressed costs
_FRONT_END_BYTES: Final = 30 * 1024**2
_UNTRUE: Final = frozenset(  # of a compressed body
    (
        b"accept-ranges",
        b"content-digest",
        b"content-encoding",
        b"content-length",
        b"content-md5",
        b"digest",
        b"repr-digest",
        b"x-noise",
    )
)
_UNTRUE_AND_STRONG: Final = _UNTRUE | {b"etag"}


class Compression:
    """Compresses responses; one a middleware.

    >>> request = Request({"method": "GET", "headers": [(b"accept-encoding", b"gzip")]})
    >>> head = Head(200, [(b"content-type", b"application/json"), (b"etag", b'"7"')])
    >>> body = Compression(AsgiSettings()).whole(request, head, b'{"name": "Ada"}, ' * 100)
    >>> head.fields  # doctest: +NORMALIZE_WHITESPACE
    [(b'content-type', b'application/json'), (b'vary', b'Accept-Encoding'), (b'content-encoding', b'gzip'),
     (b'content-length', b'57'), (b'etag', b'W/"7"')]

    Args:
        settings: The knobs `compress_*`.
        clock: Measures codecs and the lag of the loop.
        rng: Draws the noise; the system's secure source by default.
    """

    def __init__(
        self, settings: AsgiSettings, *, clock: Clock = now_s, rng: random.Random | None = None
    ) -> None:
        self.counts = CompressionCounts()
        aim = Step.COST if settings.compress_objective == "cost" else Step.LATENCY
        self.governor = LoadGovernor(settings.compress_lag_ms, aim, clock=clock)
        self._offered = _OFFERED[settings.compress_codings]
        self._min_bytes = settings.compress_min_bytes
        self._most_kept = 1 - settings.compress_min_gain
        self._fixed_levels = {
            "zstd": settings.compress_zstd_level,
            "br": settings.compress_brotli_level,
            "gzip": settings.compress_gzip_level,
            "deflate": settings.compress_gzip_level,
        }
        self._offload_s = settings.compress_offload_ms / 1000
        self._noise_bytes = settings.compress_noise_bytes
        self._cross_site = settings.compress_cross_site
        self._clock = clock
        self._rng = rng or SystemRandom()
        self._works: dict[tuple[str, int], _Work] = {}
        self._cases: dict[tuple[str, Step, bool, bool, bool], _Work] = {}

    @property
    def rests(self) -> bool:
        """Whether the process is too busy for compression right now."""
        return self.governor.step is Step.OFF

    def is_wanted(self, accept_encoding: bytes | None) -> bool:
        """Whether a client that accepts this takes one of the codings offered, and rather than none."""
        return accept_encoding is not None and negotiate(accept_encoding, self._offered).coding is not None

    def whole(self, request: Request, head: Head, body: bytes) -> bytes | Awaitable[bytes]:
        """Return a body as it shall travel, its head changed to match.

        An awaitable when a thread does the work; until it is done, the head is not to be read or changed.
        """
        size = len(body)
        taken = self._taken(request, head, size)
        if taken is None:
            return body
        work = self._work(taken.codings[0], size < SMALL_BYTES, is_numeric(body), False)
        if work.pace.expected_s(size) > self._offload_s and THREADS.has_room():
            return self._in_a_thread(work, head, body, taken.identity)
        begun_s = self._clock()
        made = work.compress(body)
        took_s = self._clock() - begun_s
        work.pace.learn(size, took_s)
        return self._better(work, head, body, made, took_s, taken.identity)

    def stream(self, request: Request, head: Head) -> Encoder | None:
        """Return an encoder for a body that comes in parts, its head changed to match, or None to leave it.

        A `Content-Length` that is there is taken for the body's size.
        """
        taken = self._taken(request, head, _length_of(head.get(b"content-length")))
        if taken is None:
            return None
        work = self._work(taken.codings[0], False, False, True)
        self._describe(head, [work.field])
        work.counts.responses += 1
        return _Counted(work, self._clock)

    def part(self, encoder: Encoder, chunk: bytes, *, more: bool) -> bytes | Awaitable[bytes]:
        """Return what `encoder.feed` does, or `end` for the last part; from a thread if that takes long."""
        do = encoder.feed if more else encoder.end
        if (
            isinstance(encoder, _Counted)
            and encoder.work.pace.expected_s(len(chunk)) > self._offload_s
            and THREADS.has_room()
        ):
            return _made(THREADS.run(do, chunk, self._clock))
        return do(chunk)

    def bodiless(self, request: Request, head: Head) -> None:
        """Change the head of an answer to HEAD, or of a 304, to what an answer with the body would have said.

        Its size is not known without the work, and so is not told (RFC 9110 §8.6). A 304 often does not say
        what it is about; then it may have been compressed, and the client shows whether its tag became weak.
        """
        not_modified = head.status == 304
        content_type = head.get(b"content-type")
        if (not_modified and content_type is None) or content_of(content_type).compressible:
            if _is_left(head):
                return
            head.vary_by(b"accept-encoding")
            size = None if not_modified else _length_of(head.get(b"content-length"))
            taken = negotiate(request.get(b"accept-encoding"), self._offered)
            encoded = taken.coding is not None and (
                size is None or size >= self._min_bytes or not taken.identity
            )
            if (
                encoded
                and not _forbids(request.get(b"cache-control") or b"")
                and (self._cross_site or not _is_cross_site(request))
            ):
                head.drop(b"accept-ranges", b"content-length")
                _weaken(head, request.get(b"if-none-match") if not_modified else None)

    def _taken(self, request: Request, head: Head, size: int | None) -> Negotiated | None:
        """Return what the client takes, the best first, or None when the body is to travel as it is."""
        get = head.get
        if not content_of(get(b"content-type")).compressible:
            return self._left("type")
        if (
            head.status != 200
            or get(b"content-range") is not None
            or get(b"content-encoding") is not None
            or get(b"cache-control") is not None
        ) and _is_left(head):
            return self._left("response")
        head.vary_by(b"accept-encoding")
        taken = negotiate(request.get(b"accept-encoding"), self._offered)
        if not taken.codings or taken.prefers_identity:
            return self._left("client")
        if size is not None and (size == 0 or (size < self._min_bytes and taken.identity)):
            return self._left("size")
        control = request.get(b"cache-control")
        if control is not None and _forbids(control):
            return self._left("request")
        if not self._cross_site and _is_cross_site(request):
            return self._left("cross-site")
        if self.governor.ask() is Step.OFF and taken.identity:
            return self._left("load")
        return taken

    def _left(self, reason: str) -> Negotiated | None:
        self.counts.left_alone[reason] += 1
        return None

    def _work(self, coding: str, small: bool, numeric: bool, stream: bool) -> _Work:
        """Return the codec for a body like this, at the level for now."""
        case = (coding, self.governor.step, small, numeric, stream)
        work = self._cases.get(case)
        if work is None:
            level = self._fixed_levels[coding] or level_of(
                coding, self.governor.step, small=small, numeric=numeric, stream=stream
            )
            work = self._works.get((coding, level))
            if work is None:
                work = self._works[coding, level] = _Work(coding, level, self.counts.of(coding))
            self._cases[case] = work
        return work

    async def _in_a_thread(self, work: _Work, head: Head, body: bytes, may_be_identity: bool) -> bytes:
        done = await THREADS.run(work.compress, body, self._clock)
        work.pace.learn(len(body), done.seconds)
        work.counts.offloaded += 1
        self.governor.observe(done.waited_s)
        return self._better(work, head, body, done.made, done.seconds, may_be_identity)

    def _better(
        self, work: _Work, head: Head, body: bytes, made: bytes, took_s: float, may_be_identity: bool
    ) -> bytes:
        """Return the better of two bodies, the head changed to match."""
        counts, size, small = work.counts, len(body), len(made)
        counts.codec_seconds += took_s
        if may_be_identity and (small > size * self._most_kept or small + _FIELD_BYTES > size):
            self._left("gain")
            return body
        counts.responses += 1
        counts.bytes_in += size
        counts.bytes_out += small
        self._describe(head, [work.field, (b"content-length", b"%d" % small)])
        return made

    def _describe(self, head: Head, new: Fields) -> None:
        """Change a head to one of a compressed body, with these fields."""
        etag = head.get(b"etag")
        strong = etag is not None and etag.startswith(b'"')
        if etag is not None and strong:
            new.append((b"etag", b"W/" + etag))
        if self._noise_bytes and (length := self._rng.randrange(self._noise_bytes + 1)):
            new.append((b"x-noise", self._rng.randbytes(length // 2 + 1).hex()[:length].encode()))
        head.recast(_UNTRUE_AND_STRONG if strong else _UNTRUE, new)


class _Work:
    """A codec at one level, how fast it is and what it did."""

    __slots__ = ("compress", "counts", "encoder", "field", "pace")

    def __init__(self, coding: str, level: int, counts: CodingCounts) -> None:
        codec = CODECS[coding]
        self.compress: Callable[[bytes], bytes] = lambda body: codec.compress(body, level)
        self.encoder: Callable[[], Encoder] = lambda: codec.encoder(level)
        self.field = (b"content-encoding", coding.encode())
        self.pace = Pace(coding, level)
        self.counts = counts


class _Counted:
    """A stream that counts what it does."""

    __slots__ = ("_clock", "_encoder", "work")

    def __init__(self, work: _Work, clock: Clock) -> None:
        self.work = work
        self._encoder = work.encoder()
        self._clock = clock

    def feed(self, chunk: bytes) -> bytes:
        begun_s = self._clock()
        made = self._encoder.feed(chunk)
        self._count(chunk, made, self._clock() - begun_s)
        return made

    def end(self, chunk: bytes = b"") -> bytes:
        begun_s = self._clock()
        made = self._encoder.end(chunk)
        self._count(chunk, made, self._clock() - begun_s)
        return made

    def _count(self, chunk: bytes, made: bytes, took_s: float) -> None:
        counts = self.work.counts
        counts.codec_seconds += took_s
        counts.bytes_in += len(chunk)
        counts.bytes_out += len(made)


def without_a_length_too_large(request: Request, head: Head) -> None:
    """Drop a `Content-Length` above 30 MiB over HTTP/1.1: without one the server sends the body in chunks.

    Cloud Run's front end answers an empty 500 in place of a response over HTTP/1 that announces more than 32
    MiB, though the service logged a 200; in chunks it lets any length pass. To be called last, on GET and not
    on HEAD.

    >>> head = Head(200, [(b"content-length", b"40000000")])
    >>> without_a_length_too_large(Request({"method": "GET", "http_version": "1.1", "headers": []}), head)
    >>> head.fields
    []
    """
    length = head.get(b"content-length")
    if length is None or len(length) < 8 or request.scope.get("http_version") != "1.1":
        return
    if (size := _length_of(length)) is not None and size > _FRONT_END_BYTES:
        head.drop(b"content-length")


def _is_cross_site(request: Request) -> bool:
    """Whether another site asks with this one's cookies."""
    site = request.get(b"sec-fetch-site")
    return site is not None and site.lower() == b"cross-site" and request.get(b"cookie") is not None


async def _made(worked: Awaitable[Worked]) -> bytes:
    return (await worked).made


def _is_left(head: Head) -> bool:
    """Whether a response's own head forbids to compress its body."""
    get = head.get
    if head.status < 200 or head.status in (204, 205):
        return True
    if head.status == 206 or get(b"content-range") is not None:
        head.vary_by(b"accept-encoding")  # as the whole of it does
        return True
    coded, said = get(b"content-encoding"), get(b"cache-control")
    return (coded is not None and _is_encoded(coded)) or (said is not None and _forbids(said))


@remembering_short(64)
def _is_encoded(content_encoding: bytes) -> bool:
    """Whether a `Content-Encoding` names any coding but identity, which no server should send and some do."""
    return any(part.strip().lower() not in (b"", b"identity") for part in content_encoding.split(b","))


@remembering_short(256)
def _forbids(cache_control: bytes) -> bool:
    """Whether a `Cache-Control` says `no-transform`."""
    return any(part.strip(b" \t").lower() == b"no-transform" for part in cache_control.split(b","))


def _length_of(content_length: bytes | None) -> int | None:
    return int(content_length) if content_length is not None and content_length.isdigit() else None


def _weaken(head: Head, known: bytes | None) -> None:
    """Make a strong ETag weak, unless the client shows that it knows the strong one."""
    etag = head.get(b"etag")
    if etag is None or not etag.startswith(b'"'):
        return
    weak = b"W/" + etag
    if known is None or etag not in known or weak in known:
        head.set(b"etag", weak)
