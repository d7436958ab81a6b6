"""What is compressed, what its head then says, and what is left alone."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import json
import random
import threading
import time
import zlib
from collections.abc import Awaitable, Callable

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.asgi.compress import Compression, without_a_length_too_large
from perfkit.asgi.compress_counts import REASONS
from perfkit.asgi.head import Head
from perfkit.asgi.levels import Step
from perfkit.asgi.offload import THREADS
from perfkit.asgi.request import Request
from perfkit.asgi.settings import AsgiSettings
from perfkit.lab.virtual import run_virtual

JSON = (b"content-type", b"application/json")
BODY = json.dumps([{"id": n, "name": f"name {n % 7}", "open": True} for n in range(200)]).encode()
NOISE = random.Random(1).randbytes(4_000)  # noqa: S311  # a body, not a secret
DECODE: dict[bytes, Callable[[bytes], bytes]] = {
    b"zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
    b"br": brotli.decompress,
    b"gzip": gzip.decompress,
    b"deflate": zlib.decompress,
}


def asked(accept: bytes | None = b"gzip, deflate, br, zstd", method: str = "GET", **fields: bytes) -> Request:
    """A request that takes these codings."""
    lines = [(name.replace("_", "-").encode(), value) for name, value in fields.items()]
    if accept is not None:
        lines.append((b"accept-encoding", accept))
    return Request({"type": "http", "http_version": "1.1", "method": method, "headers": lines})


def answer(*fields: tuple[bytes, bytes], status: int = 200) -> Head:
    """A head; of JSON unless it says otherwise."""
    named = [name for name, _ in fields]
    return Head(status, [*fields] if b"content-type" in named else [JSON, *fields])


def compression(**knobs: object) -> Compression:
    """One that no load of this machine disturbs."""
    return Compression(AsgiSettings(**{"compress_lag_ms": 0, **knobs}))  # type: ignore[arg-type]


def sent(made: bytes | Awaitable[bytes]) -> bytes:
    """A body that no thread was needed for."""
    assert isinstance(made, bytes)
    return made


def read(head: Head, body: bytes) -> bytes:
    """What a client makes of it."""
    coding = head.get(b"content-encoding")
    return body if coding is None else DECODE[coding](body)


@pytest.mark.parametrize("coding", DECODE)
def test_a_body_travels_in_the_coding_a_client_takes(coding: bytes) -> None:
    """And the head says so: the coding, the length, and what it depends on."""
    head = answer((b"content-length", b"%d" % len(BODY)), (b"x-mine", b"1"))
    body = sent(compression().whole(asked(coding), head, BODY))

    assert DECODE[coding](body) == BODY
    assert sorted(head.fields) == sorted(
        [
            JSON,
            (b"x-mine", b"1"),
            (b"vary", b"accept-encoding"),
            (b"content-encoding", coding),
            (b"content-length", b"%d" % len(body)),
        ]
    )


@pytest.mark.parametrize(
    ("knob", "first"), [("all", b"zstd"), ("no-zstd", b"br"), ("no-brotli", b"zstd"), ("gzip", b"gzip")]
)
def test_a_client_without_a_preference_gets_ours(knob: str, first: bytes) -> None:
    """Of the codings that are offered."""
    head = answer()
    compression(compress_codings=knob).whole(asked(), head, BODY)

    assert head.get(b"content-encoding") == first


@pytest.mark.parametrize("name", ["accept-ranges", "content-digest", "content-md5", "digest", "repr-digest"])
def test_what_is_not_true_of_the_compressed_body_goes(name: str) -> None:
    """Digests and ranges are of the bytes as the application made them."""
    field = (name.encode(), b"bytes")
    kept, gone = answer(field), answer(field)
    compression().whole(asked(None), kept, BODY)
    compression().whole(asked(), gone, BODY)

    assert kept.get(field[0]) == b"bytes"
    assert gone.get(field[0]) is None


@pytest.mark.parametrize(
    ("etag", "after"), [(b'"a"', b'W/"a"'), (b'W/"a"', b'W/"a"'), (b"a", b"a"), (b'""', b'W/""')]
)
def test_a_strong_etag_becomes_weak(etag: bytes, after: bytes) -> None:
    """Only of what is compressed: it is another sequence of bytes with the same meaning."""
    packed, plain = answer((b"etag", etag)), answer((b"etag", etag))
    compression().whole(asked(), packed, BODY)
    compression().whole(asked(b"identity"), plain, BODY)

    assert packed.get(b"etag") == after
    assert plain.get(b"etag") == etag


@pytest.mark.parametrize(
    ("vary", "after"),
    [
        (b"*", b"*"),
        (b"Origin", b"Origin, accept-encoding"),
        (b"Accept-Encoding", b"Accept-Encoding"),
        (b"origin, accept-encoding", b"origin, accept-encoding"),
    ],
)
@pytest.mark.parametrize("accept", [b"gzip", None])
def test_vary_is_merged(vary: bytes, after: bytes, accept: bytes | None) -> None:
    """Whether this client's answer was compressed or not."""
    head = answer((b"vary", vary))
    compression().whole(asked(accept), head, BODY)

    assert head.get(b"vary") == after


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (asked(None), BODY),
        (asked(b"identity"), BODY),
        (asked(), b"{}"),
        (asked(b"br;q=0"), BODY),
        (asked(), NOISE),
    ],
    ids=["none", "identity", "small", "refused", "noise"],
)
def test_what_could_have_been_compressed_says_that_it_varies(request_: Request, body: bytes) -> None:
    """Or a cache would give one client's answer to another."""
    head = answer()

    assert compression().whole(request_, head, body) == body
    assert head.fields == [JSON, (b"vary", b"accept-encoding")]


@pytest.mark.parametrize(
    "head",
    [
        answer((b"content-type", b"image/png")),
        answer((b"content-type", b"application/octet-stream")),
        answer((b"content-type", b"application/grpc+json")),
        Head(200, []),
        answer((b"content-encoding", b"gzip")),
        answer((b"content-encoding", b"aes128gcm")),
        answer((b"content-encoding", b"identity, br")),
        answer((b"cache-control", b"no-transform")),
        answer((b"cache-control", b"public, No-Transform , max-age=5")),
        answer(status=204),
        answer(status=205),
        answer(status=101),
    ],
    ids=str,
)
def test_what_is_not_to_be_compressed_is_not_touched(head: Head) -> None:
    """Not even by a Vary: no client gets it otherwise."""
    before = head.copy()

    assert compression().whole(asked(), head, BODY) is BODY
    assert compression().stream(asked(), head) is None
    compression().bodiless(asked(), head)
    assert head.fields == before.fields


@pytest.mark.parametrize("head", [answer(status=206), answer((b"content-range", b"bytes 0-9/99"))])
def test_a_range_is_never_compressed(head: Head) -> None:
    """Its bytes are counted in the body as it is; but the whole varies."""
    assert compression().whole(asked(), head, BODY) is BODY
    assert head.get(b"content-encoding") is None
    assert head.get(b"vary") == b"accept-encoding"


@pytest.mark.parametrize("control", [b"no-transform", b"max-age=0, no-transform"])
def test_a_client_may_forbid_it(control: bytes) -> None:
    """In its own Cache-Control; what only looks like the word does not count."""
    assert compression().whole(asked(cache_control=control), answer(), BODY) is BODY
    assert compression().whole(asked(cache_control=b"x-no-transform"), answer(), BODY) != BODY


def test_identity_as_a_coding_is_none() -> None:
    """Some servers name it in Content-Encoding, where it should not stand."""
    head = answer((b"content-encoding", b"identity"))
    body = sent(compression().whole(asked(b"gzip"), head, BODY))

    assert [value for name, value in head.fields if name == b"content-encoding"] == [b"gzip"]
    assert gzip.decompress(body) == BODY


def test_an_error_s_body_is_compressed_as_any_other() -> None:
    """Whatever its status says."""
    head = answer((b"content-type", b"application/problem+json"), status=500)

    assert read(head, sent(compression().whole(asked(), head, BODY))) == BODY
    assert head.get(b"content-encoding") == b"zstd"


@pytest.mark.parametrize(("size", "packed"), [(1_023, False), (1_024, True)])
def test_compression_begins_at_its_minimum(size: int, packed: bool) -> None:
    """And not below."""
    head = answer()
    compression(compress_min_bytes=1_024).whole(asked(), head, b"x" * size)

    assert (head.get(b"content-encoding") is not None) is packed


def test_a_client_that_refuses_identity_gets_none() -> None:
    """However small the body, however little is gained; an empty one is no body."""
    for body in (b"x", NOISE, BODY):
        head = answer()
        made = sent(compression().whole(asked(b"identity;q=0, gzip"), head, body))
        assert head.get(b"content-encoding") == b"gzip"
        assert gzip.decompress(made) == body

    empty = answer()
    assert compression().whole(asked(b"identity;q=0, gzip"), empty, b"") == b""
    assert empty.get(b"content-encoding") is None


def test_a_client_that_refuses_everything_gets_identity() -> None:
    """A body is worth more than a 406."""
    head = answer()

    assert compression().whole(asked(b"*;q=0"), head, BODY) is BODY
    assert head.status == 200


@pytest.mark.parametrize("coding", DECODE)
def test_a_body_that_does_not_shrink_travels_as_it_is(coding: bytes) -> None:
    """Nor one that shrinks by less than the share that is worth it."""
    head = answer((b"etag", b'"a"'), (b"content-length", b"4000"))
    little = b"a" * 180 + NOISE[:3_820]

    assert compression().whole(asked(coding), head, NOISE) is NOISE
    assert (head.get(b"etag"), head.get(b"content-length")) == (b'"a"', b"4000")
    assert compression(compress_min_gain=0.05).whole(asked(coding), answer(), little) is little
    assert compression(compress_min_gain=0.0).whole(asked(coding), answer(), little) != little


@given(
    body=st.binary(max_size=300).flatmap(lambda b: st.integers(1, 40).map(lambda n: b * n)),
    accept=st.none()
    | st.binary(max_size=40)
    | st.sampled_from([b"*", b"identity;q=0, br", b"zstd;q=.1, gzip"]),
    min_bytes=st.sampled_from([0, 1_024]),
    etag=st.sampled_from([(), ((b"etag", b'"x"'),)]),
)
@settings(deadline=None)
def test_whatever_a_client_says_it_can_read_the_answer(
    body: bytes, accept: bytes | None, min_bytes: int, etag: tuple[tuple[bytes, bytes], ...]
) -> None:
    """It decodes to the same bytes, is not longer unless identity is refused, and its length is told."""
    head = answer((b"content-length", b"%d" % len(body)), *etag)
    made = sent(compression(compress_min_bytes=min_bytes).whole(asked(accept), head, body))

    assert read(head, made) == body
    assert head.get(b"content-length") == b"%d" % len(made)
    assert len(made) <= len(body) or accept == b"identity;q=0, br"
    assert len({name for name, _ in head.fields}) == len(head.fields)


@given(st.lists(st.binary(max_size=30).map(lambda b: b * 20), max_size=6), st.sampled_from(sorted(DECODE)))
@settings(deadline=None)
def test_a_body_in_parts_can_be_read_as_far_as_it_came(chunks: list[bytes], coding: bytes) -> None:
    """And its head says no length, which nobody knows."""
    head = answer((b"etag", b'"a"'), (b"accept-ranges", b"bytes"))
    encoder = compression().stream(asked(coding), head)
    assert encoder is not None
    made = b"".join(map(encoder.feed, chunks)) + encoder.end(b"end")

    assert read(head, made) == b"".join(chunks) + b"end"
    assert head.fields == [
        JSON,
        (b"vary", b"accept-encoding"),
        (b"content-encoding", coding),
        (b"etag", b'W/"a"'),
    ]


@pytest.mark.parametrize(
    ("length", "packed"), [(b"100", False), (b"5000", True), (b"-1", True), (b"junk", True)]
)
def test_a_stream_that_says_it_is_small_is_left(length: bytes, packed: bool) -> None:
    """A length that is none says nothing."""
    head = answer((b"content-length", length))

    assert (compression().stream(asked(), head) is not None) is packed
    assert (head.get(b"content-length") is None) is packed
    assert head.get(b"vary") == b"accept-encoding"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_an_answer_without_a_body_says_what_one_with_it_would(method: str) -> None:
    """For HEAD: it varies, its tag is weak, and its length is not told, since it is not known."""
    head = answer((b"etag", b'"a"'), (b"content-length", b"5000"), (b"accept-ranges", b"bytes"))
    compression().bodiless(asked(method=method), head)

    assert head.fields == [JSON, (b"vary", b"accept-encoding"), (b"etag", b'W/"a"')]


@pytest.mark.parametrize(
    ("request_", "length"),
    [
        (asked(b"identity"), b"5000"),
        (asked(), b"500"),
        (asked(cache_control=b"no-transform"), b"5000"),
        (asked(None), b"5000"),
    ],
    ids=["identity", "small", "forbidden", "none"],
)
def test_one_that_would_not_be_compressed_keeps_its_length(request_: Request, length: bytes) -> None:
    """And its strong tag; but it varies."""
    head = answer((b"etag", b'"a"'), (b"content-length", length))
    compression().bodiless(request_, head)

    assert head.fields == [
        JSON,
        (b"etag", b'"a"'),
        (b"content-length", length),
        (b"vary", b"accept-encoding"),
    ]


@pytest.mark.parametrize(
    ("known", "after"),
    [(None, b'W/"a"'), (b'W/"a"', b'W/"a"'), (b'"a"', b'"a"'), (b"*", b'W/"a"'), (b'"b", W/"a"', b'W/"a"')],
)
@pytest.mark.parametrize("fields", [(JSON,), ()], ids=["typed", "untyped"])
def test_a_304_names_the_tag_the_client_holds(
    known: bytes | None, after: bytes, fields: tuple[tuple[bytes, bytes], ...]
) -> None:
    """Weak, if its body was compressed; a 304 seldom says of what type that was."""
    head = Head(304, [*fields, (b"etag", b'"a"')])
    request = asked() if known is None else asked(if_none_match=known)
    compression().bodiless(request, head)

    assert head.get(b"etag") == after
    assert head.get(b"vary") == b"accept-encoding"


def test_secrets_are_kept_from_other_sites_when_asked_for() -> None:
    """BREACH needs an answer that is compressed, a secret in it, and a request another site can cause."""
    crossed = asked(sec_fetch_site=b"cross-site", cookie=b"session=1")
    careful = compression(compress_cross_site=False)

    assert compression().whole(crossed, answer(), BODY) != BODY
    assert careful.whole(crossed, answer(), BODY) is BODY
    assert careful.stream(crossed, answer()) is None
    assert careful.whole(asked(sec_fetch_site=b"cross-site"), answer(), BODY) != BODY
    assert careful.whole(asked(sec_fetch_site=b"same-origin", cookie=b"session=1"), answer(), BODY) != BODY


@pytest.mark.parametrize("coding", DECODE)
def test_noise_blurs_the_size_of_an_answer(coding: bytes) -> None:
    """By a field of up to so many bytes, in any coding; what is not compressed needs none."""
    noisy = compression(compress_noise_bytes=16)
    lengths = set()
    for _ in range(400):
        head = answer()
        noisy.whole(asked(coding), head, BODY)
        lengths.add(len(head.get(b"x-noise") or b""))
    plain = answer()
    noisy.whole(asked(None), plain, BODY)

    assert lengths == set(range(17))
    assert plain.get(b"x-noise") is None


def test_noise_comes_from_the_system_unless_told_otherwise() -> None:
    """A seed can be guessed."""
    drawn = []
    for rng in (random.Random(7), random.Random(7), None, None):  # noqa: S311  # the one that can be guessed
        head = answer()
        noisy = Compression(AsgiSettings(compress_noise_bytes=256, compress_lag_ms=0), rng=rng)
        for _ in range(3):
            noisy.whole(asked(), head, BODY)
        drawn.append(head.get(b"x-noise"))

    assert drawn[0] == drawn[1]
    assert drawn[2] != drawn[3]


def test_a_level_that_is_set_is_used() -> None:
    """Whatever the aim would be."""
    for coding, knob in (("zstd", "zstd"), ("br", "brotli"), ("gzip", "gzip"), ("deflate", "gzip")):
        light = compression(**{f"compress_{knob}_level": 1})
        heavy = compression(**{f"compress_{knob}_level": 9})
        sizes = [len(sent(one.whole(asked(coding.encode()), answer(), BODY))) for one in (light, heavy)]
        assert sizes[1] < sizes[0], coding


def test_the_least_cost_sends_fewer_bytes_than_the_least_time() -> None:
    """Of words."""
    for coding in DECODE:
        sizes = [
            len(sent(compression(compress_objective=aim).whole(asked(coding), answer(), BODY)))
            for aim in ("cost", "latency")
        ]
        assert sizes[0] <= sizes[1], coding


def test_a_busy_process_leaves_bodies_as_they_are() -> None:
    """Where the client takes that; where not, the fastest level serves."""
    busy = compression()
    busy.governor.step = Step.OFF

    assert busy.whole(asked(), answer(), BODY) is BODY
    assert busy.stream(asked(), answer()) is None
    head = answer()
    assert read(head, sent(busy.whole(asked(b"br, identity;q=0"), head, BODY))) == BODY
    assert busy.counts.left_alone["load"] == 2


async def test_a_long_body_is_compressed_in_a_thread() -> None:
    """The head changes when it is done, and the loop was free meanwhile."""
    one = compression(compress_brotli_level=9)
    body = b"".join(b"%d," % n for n in range(100_000))
    head = answer((b"etag", b'"a"'))
    made = one.whole(asked(b"br"), head, body)
    assert not isinstance(made, bytes)
    assert head.get(b"content-encoding") is None
    turns, done = 0, asyncio.ensure_future(made)  # type: ignore[arg-type]
    while not done.done():
        turns += 1
        await asyncio.sleep(0)

    assert read(head, done.result()) == body
    assert turns > 3
    assert (one.counts.of("br").responses, one.counts.of("br").offloaded) == (1, 1)
    assert one.counts.of("br").codec_seconds > 0.001


async def test_a_client_that_goes_away_leaves_no_thread_busy() -> None:
    """What was begun is finished and thrown away; what comes after is served."""
    one = compression(compress_brotli_level=9)
    body = b"".join(b"%d," % n for n in range(50_000))
    for _ in range(3):
        task = asyncio.ensure_future(one.whole(asked(b"br"), answer(), body))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    deadline = time.monotonic() + 10
    while THREADS.waiting and time.monotonic() < deadline:  # noqa: ASYNC110  # threads set no event
        await asyncio.sleep(0.001)

    assert THREADS.waiting == 0
    assert one.counts.of("br").responses == 0
    head = answer()
    made = one.whole(asked(b"br"), head, body)
    assert read(head, made if isinstance(made, bytes) else await made) == body


async def test_a_body_that_was_never_awaited_is_no_secret_work() -> None:
    """An answer that fails before it is sent: the coroutine is closed, and nothing was given to a thread."""
    one = compression(compress_brotli_level=9)
    made = one.whole(asked(b"br"), answer(), BODY * 200)
    assert inspect.iscoroutine(made)
    made.close()

    assert THREADS.waiting == 0


async def test_many_long_bodies_at_once_all_arrive() -> None:
    """When the threads are busy and as many wait, the loop helps."""
    one = compression(compress_brotli_level=9)
    bodies = [b"".join(b"%d," % (n * k) for n in range(20_000)) for k in range(1, 9)]
    heads = [answer() for _ in bodies]

    async def serve(head: Head, body: bytes) -> bytes:
        made = one.whole(asked(b"br"), head, body)
        return made if isinstance(made, bytes) else await made

    made = await asyncio.gather(*map(serve, heads, bodies))

    assert [read(head, one) for head, one in zip(heads, made, strict=True)] == bodies
    assert one.counts.of("br").responses == 8


def test_a_simulation_never_waits_for_a_thread() -> None:
    """Under virtual time the same body is compressed at once."""

    async def serve() -> bytes | Awaitable[bytes]:
        return compression(compress_brotli_level=9).whole(asked(b"br"), answer(), BODY * 40)

    assert brotli.decompress(sent(run_virtual(serve()))) == BODY * 40


async def test_a_long_part_of_a_stream_may_go_to_a_thread() -> None:
    """In order, since nobody feeds the next before this one is back."""
    one = compression(compress_brotli_level=9)
    head = answer()
    encoder = one.stream(asked(b"br"), head)
    assert encoder is not None
    long = b"".join(b"%d," % n for n in range(50_000))
    pieces: list[bytes] = []
    kinds = set()
    for number, chunk in enumerate((b"short", long, b"", long)):
        made = one.part(encoder, chunk, more=number < 3)
        kinds.add(type(made) is bytes)
        pieces.append(made if isinstance(made, bytes) else await made)

    assert kinds == {True, False}
    assert read(head, b"".join(pieces)) == b"short" + long + long


def test_threads_share_a_middleware() -> None:
    """Two loops in two threads, as some servers run."""
    one = compression()
    wrong: list[int] = []

    def serve(number: int) -> None:
        body = b"%d " % number * 2_000
        for _ in range(200):
            head = answer()
            if read(head, sent(one.whole(asked(), head, body))) != body:
                wrong.append(number)

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_everything_is_counted_once() -> None:
    """Each answer is under one coding or one reason, and the bytes add up."""
    one = compression(compress_cross_site=False)
    whole = sent(one.whole(asked(b"gzip"), answer(), BODY))
    encoder = one.stream(asked(b"br"), answer())
    assert encoder is not None
    parts = encoder.feed(BODY) + encoder.end()
    for request, head, body in (
        (asked(), answer((b"content-type", b"image/png")), BODY),
        (asked(), answer(status=206), BODY),
        (asked(cache_control=b"no-transform"), answer(), BODY),
        (asked(None), answer(), BODY),
        (asked(), answer(), b"{}"),
        (asked(sec_fetch_site=b"cross-site", cookie=b"a=b"), answer(), BODY),
        (asked(), answer(), NOISE),
    ):
        one.whole(request, head, body)

    assert one.counts.left_alone == {**dict.fromkeys(REASONS, 1), "load": 0}
    gzipped, brotlied = one.counts.of("gzip"), one.counts.of("br")
    assert (gzipped.responses, gzipped.bytes_in, gzipped.bytes_out) == (1, len(BODY), len(whole))
    assert (brotlied.responses, brotlied.bytes_in, brotlied.bytes_out) == (1, len(BODY), len(parts))
    assert gzipped.codec_seconds > 0 < brotlied.codec_seconds


def test_the_application_s_list_of_fields_is_left_alone() -> None:
    """It may be the same list for every answer."""
    fields = [JSON, (b"content-length", b"%d" % len(BODY)), (b"etag", b'"a"')]
    before = list(fields)
    compression().whole(asked(), Head(200, fields), BODY)

    assert fields == before


@pytest.mark.parametrize(
    ("version", "length", "kept"),
    [
        ("1.1", b"31457280", True),
        ("1.1", b"31457281", False),
        ("1.1", b"5", True),
        ("1.1", b"nonsense!", True),
        ("1.0", b"99999999", True),  # it knows no chunks
        ("2", b"99999999", True),
    ],
)
def test_a_length_the_front_end_would_refuse_is_not_told(version: str, length: bytes, kept: bool) -> None:
    """Above 30 MiB, over HTTP/1.1."""
    head = answer((b"content-length", length))
    request = Request({"type": "http", "http_version": version, "method": "GET", "headers": []})
    without_a_length_too_large(request, head)

    assert (head.get(b"content-length") == length) is kept
    empty = answer()
    without_a_length_too_large(request, empty)
    assert empty.fields == [JSON]
