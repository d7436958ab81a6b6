"""What is compressed, what its head then says, and what is left alone."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.asgi.compress_counts import REASONS
from perfkit.asgi.head import Head
from perfkit.asgi.levels import Step
from perfkit.asgi.request import Request
from tests.asgi.answers import BODY, DECODE, JSON, NOISE, answer, asked, compression, read, sent


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
            (b"vary", b"Accept-Encoding"),
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
        (b"Origin", b"Origin, Accept-Encoding"),
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
    assert head.fields == [JSON, (b"vary", b"Accept-Encoding")]


@pytest.mark.parametrize(
    "head",
    [
        answer((b"content-type", b"image/png")),
        answer((b"content-type", b"application/octet-stream")),
        answer((b"content-type", b"application/grpc+json")),
        answer((b"content-encoding", b"gzip")),
        answer((b"content-encoding", b"aes128gcm")),
        answer((b"content-encoding", b"identity, br")),
        answer((b"cache-control", b"no-transform")),
        answer((b"cache-control", b"public, No-Transform , max-age=5")),
        answer(status=204),
        answer(status=205),
        answer(status=101),
    ],
    ids=lambda head: f"{head.status} {head.fields[-1][1].decode() if head.fields else ''}",
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
    assert head.get(b"vary") == b"Accept-Encoding"


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
        (b"vary", b"Accept-Encoding"),
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
    assert head.get(b"vary") == b"Accept-Encoding"


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
