"""Every coding: what goes in comes out, whole, in parts, and from many threads at once."""

from __future__ import annotations

import gzip
import random
import threading
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.asgi.codecs import CODECS, Codec

LEVELS = {"zstd": (1, 2, 7, 19), "br": (1, 3, 6, 11), "gzip": (1, 5, 7, 9), "deflate": (1, 5, 9)}
CASES = [(coding, level) for coding, levels in LEVELS.items() for level in levels]
CHUNKS = st.lists(
    st.binary(max_size=40).flatmap(lambda b: st.integers(0, 60).map(lambda n: b * n)), max_size=8
)


def _decoder(coding: str) -> Callable[[bytes], bytes]:
    """A decoder that keeps its state, as a client's does; independent of what encoded."""
    match coding:
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress
        case "br":
            return brotli.Decompressor().process
        case "gzip":
            return zlib.decompressobj(31).decompress
        case _:
            return zlib.decompressobj(15).decompress


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> Codec:
    """Each of them."""
    return CODECS[request.param]


@pytest.mark.parametrize(("coding", "level"), CASES)
@given(piece=st.binary(max_size=60), times=st.integers(0, 200))
@settings(max_examples=25, deadline=None)
def test_a_whole_body_comes_out_as_it_went_in(coding: str, level: int, piece: bytes, times: int) -> None:
    """At every kind of level."""
    body = piece * times

    assert _decoder(coding)(CODECS[coding].compress(body, level)) == body


@pytest.mark.parametrize(("coding", "level"), CASES)
@given(chunks=CHUNKS)
@settings(max_examples=25, deadline=None)
def test_all_that_was_fed_can_be_read_at_once(coding: str, level: int, chunks: list[bytes]) -> None:
    """However the body is cut: after each part a client has all parts so far."""
    encoder, decode = CODECS[coding].encoder(level), _decoder(coding)
    for chunk in chunks:
        assert decode(encoder.feed(chunk)) == chunk
    assert decode(encoder.end(b"the end")) == b"the end"


@given(st.binary(max_size=50), st.sampled_from(sorted(CODECS)))
@settings(deadline=None)
def test_a_stream_that_was_fed_nothing_is_an_empty_body(chunk: bytes, coding: str) -> None:
    """An empty part makes no bytes, and an end without a part is an end."""
    encoder, decode = CODECS[coding].encoder(5), _decoder(coding)

    assert encoder.feed(b"") == b""
    assert decode(encoder.feed(chunk) + encoder.end()) == chunk


def test_equal_bodies_are_equal_bytes(codec: Codec) -> None:
    """Today and tomorrow: no clock is in them."""
    body = b"a line of text\n" * 300
    first = codec.compress(body, 5)
    codec.compress(random.Random(1).randbytes(5_000), 5)  # noqa: S311  # a body, not a secret

    assert codec.compress(body, 5) == first


def test_a_gzip_header_tells_no_time() -> None:
    """Its four bytes for it are 0, and the standard library reads the rest."""
    packed = CODECS["gzip"].compress(b"x" * 999, 5)

    assert packed[:4] == b"\x1f\x8b\x08\x00"
    assert packed[4:8] == bytes(4)
    assert gzip.decompress(packed) == b"x" * 999


def test_deflate_is_wrapped_by_zlib() -> None:
    """RFC 9110 §8.4.1.2, and not the bare format some servers send."""
    assert zlib.decompress(CODECS["deflate"].compress(b"x" * 999, 5)) == b"x" * 999


@pytest.mark.parametrize("level", [1, 7, 19])
def test_no_zstd_window_is_larger_than_clients_must_take(level: int) -> None:
    """RFC 9659: 8 MiB; a stream's is 128 KiB."""
    body = random.Random(level).randbytes(1 << 20) * 12  # noqa: S311  # a body, not a secret
    whole = zstandard.get_frame_parameters(CODECS["zstd"].compress(body, level))
    stream = CODECS["zstd"].encoder(level)
    parts = zstandard.get_frame_parameters(stream.feed(body[: 1 << 20]))

    assert whole.window_size <= 8 << 20
    assert whole.content_size == len(body)
    assert parts.window_size == 1 << 17


def test_a_level_of_zstd_above_the_highest_is_the_highest() -> None:
    """Above, its windows would be too large."""
    assert CODECS["zstd"].compress(b"x" * 9_999, 22) == CODECS["zstd"].compress(b"x" * 9_999, 19)


def test_threads_share_a_codec_and_streams_pass_between_them(codec: Codec) -> None:
    """Whole bodies from four threads, while streams that began in one are fed from another."""
    bodies = [random.Random(n).randbytes(20) * 400 for n in range(4)]  # noqa: S311  # bodies
    streams = [codec.encoder(3) for _ in bodies]
    begun = [stream.feed(body) for stream, body in zip(streams, bodies, strict=True)]
    wrong: list[int] = []
    barrier = threading.Barrier(len(bodies))

    def work(number: int) -> None:
        barrier.wait()
        body = bodies[number]
        wrong.extend(number for _ in range(50) if _decoder(codec.coding)(codec.compress(body, 3)) != body)
        neighbour = (number + 1) % len(bodies)
        made = begun[neighbour] + streams[neighbour].end(b"end")
        if _decoder(codec.coding)(made) != bodies[neighbour] + b"end":
            wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_a_stream_left_in_the_middle_disturbs_no_whole_body(codec: Codec) -> None:
    """A client that goes away leaves its encoder unfinished."""
    stream = codec.encoder(3)
    stream.feed(b"half a sent")
    body = b"something else altogether " * 50

    assert _decoder(codec.coding)(codec.compress(body, 3)) == body
