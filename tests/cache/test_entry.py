"""The envelope: what was written is read for as long as it lives, and anything else is refused.

`tests/golden/entry-v1.bin` was written once, by the code of that day. When the format changes, add version 2
to the docstring of `perfkit.cache.entry`, write `entry-v2.bin` beside it with `pack(...)` of the same values,
and let `unpack` read both: a golden file is never written again, because instances of the old version still
fill Redis.
"""

from __future__ import annotations

import math
import pickle
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perfkit.cache.codec import decode, encode
from perfkit.cache.entry import Envelope, TornEnvelope, pack, unpack

GOLDEN = Path(__file__).parents[1] / "golden"
V1 = (GOLDEN / "entry-v1.bin").read_bytes()
VALUE = {
    "user": 7,
    "name": "Ada Lovelace, née Byron",
    "scores": (1, 2.5, -0.0, None, True),
    "raw": b"\x00\xff\x80",
    "empty": [[], {}, ""],
}
BORN_S = 1_767_225_600.25
FRESH_UNTIL_S = 1_767_229_200.5
HEAD_BYTES = 25

bytes_of_any_kind = st.binary(max_size=200)
letters = st.binary(min_size=1, max_size=1)
times = st.floats(allow_nan=False, allow_infinity=False)
envelopes = st.builds(Envelope, letters, letters, times, times, bytes_of_any_kind)


def sealed(head: bytes, payload: bytes) -> bytes:
    """Bytes with the checksum the format asks for, whatever the head says."""
    return head + struct.pack(">I", zlib.crc32(head + payload)) + payload


def test_the_golden_entry_is_read_as_the_values_it_was_written_from() -> None:
    """Each field, and the value down to its types."""
    envelope = unpack(V1)
    value = decode(envelope.kind, envelope.compression, envelope.payload)

    assert (envelope.kind, envelope.compression) == (b"T", b"-")
    assert (envelope.born_s, envelope.fresh_until_s) == (BORN_S, FRESH_UNTIL_S)
    assert repr(value) == repr(VALUE)


def test_the_same_values_are_written_as_exactly_the_golden_bytes() -> None:
    """Today's instance writes what yesterday's can read."""
    kind, compression, payload = encode(VALUE, compress_min_bytes=4_096)

    assert pack(Envelope(kind, compression, BORN_S, FRESH_UNTIL_S, payload)) == V1


def test_the_golden_bytes_are_laid_out_as_the_module_says() -> None:
    """Magic, version, kind, compression, two times and a checksum, big-endian, before the payload."""
    assert V1[:5] == b"pk\x01T-"
    assert struct.unpack_from(">dd", V1, 5) == (BORN_S, FRESH_UNTIL_S)
    assert sealed(V1[:21], V1[HEAD_BYTES:]) == V1


@given(envelopes)
def test_what_is_packed_comes_back_as_it_was(envelope: Envelope) -> None:
    """Any kind, any compression, any finite times, any payload."""
    packed = pack(envelope)

    assert unpack(packed) == envelope
    assert len(packed) == HEAD_BYTES + len(envelope.payload)


@given(bytes_of_any_kind)
@example(b"pk\x01B-" + bytes(20))
@example(V1[:HEAD_BYTES])
def test_arbitrary_bytes_are_refused_and_nothing_else_happens(packed: bytes) -> None:
    """Chance does not hit a checksum of 32 bits; what is there is refused by the one exception named."""
    with pytest.raises(TornEnvelope):
        unpack(packed)


@given(bytes_of_any_kind.map(lambda rest: V1[:3] + rest))
def test_arbitrary_bytes_behind_a_true_beginning_are_refused(packed: bytes) -> None:
    """The magic alone convinces nobody."""
    with pytest.raises(TornEnvelope):
        unpack(packed)


def test_every_truncation_is_refused() -> None:
    """A value cut short anywhere, to nothing included."""
    for length in range(len(V1)):
        with pytest.raises(TornEnvelope):
            unpack(V1[:length])


def test_every_flipped_bit_is_refused() -> None:
    """In the head, in the checksum and in the payload."""
    for bit in range(len(V1) * 8):
        flipped = bytearray(V1)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TornEnvelope):
            unpack(bytes(flipped))


def test_what_has_more_behind_it_is_refused() -> None:
    """An append to the key is an alteration too."""
    with pytest.raises(TornEnvelope, match="checksum"):
        unpack(V1 + b"\x00")


@pytest.mark.parametrize(
    "foreign",
    [None, 7, "pk", bytearray(V1), memoryview(V1), [V1]],
    ids=["none", "int", "text", "bytearray", "memoryview", "list"],
)
def test_what_is_no_bytes_is_refused(foreign: object) -> None:
    """A client that decodes its answers to text must not break a look-up."""
    with pytest.raises(TornEnvelope, match=f"{type(foreign).__name__} that is too short .* or not bytes"):
        unpack(foreign)


@pytest.mark.parametrize(
    "foreign",
    [pickle.dumps(VALUE), zlib.compress(bytes(100)), b'{"json": "of another service, long enough"}'],
    ids=["pickle", "zlib", "json"],
)
def test_what_another_program_wrote_is_refused_by_how_it_begins(foreign: bytes) -> None:
    """The message shows the beginning, for whoever wonders what stands in Redis."""
    with pytest.raises(TornEnvelope, match="not with an envelope"):
        unpack(foreign.ljust(HEAD_BYTES, b" "))


@pytest.mark.parametrize("version", [0, 2, 255])
def test_a_version_this_code_does_not_know_is_refused_even_when_it_is_whole(version: int) -> None:
    """During a roll-back the newer version's entries are misses, not riddles."""
    head = V1[:2] + bytes([version]) + V1[3:21]

    with pytest.raises(TornEnvelope, match="not with an envelope this version can read"):
        unpack(sealed(head, V1[HEAD_BYTES:]))


@pytest.mark.parametrize("time_s", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", ["born_s", "fresh_until_s"])
def test_times_that_are_no_times_are_refused_even_when_the_checksum_holds(which: str, time_s: float) -> None:
    """NaN would compare false with every present, and so be fresh for ever."""
    fields = {"born_s": 1.0, "fresh_until_s": 2.0} | {which: time_s}

    with pytest.raises(TornEnvelope, match="not finite"):
        unpack(pack(Envelope(b"B", b"-", payload=b"x", **fields)))


def test_huge_input_is_refused_or_read_like_any_other() -> None:
    """Sixteen megabytes: foreign, whole, and whole but for the last bit."""
    payload = bytes(16 * 1024**2)
    packed = pack(Envelope(b"B", b"-", 1.0, 2.0, payload))

    assert unpack(packed).payload == payload
    for torn in (payload, packed[:-1], packed[:-1] + b"\x01"):
        with pytest.raises(TornEnvelope):
            unpack(torn)
