"""The envelope: what was written is read for as long as it lives, and anything else is refused.

Each `tests/golden/entry-v*.bin` was written once, by the code of that day. When the format changes, add
version 3 to the docstring of `perfkit.cache.envelope`, write `entry-v3.bin` beside them with `pack(...)` of
the same values, and let `unpack` read all: a golden file is never written again, because instances of the old
version still fill Redis.
"""

from __future__ import annotations

import math
import pickle
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import brotli
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perfkit.cache.codecs import GENERAL, Compression
from perfkit.cache.envelope import AGE_AT, Envelope, TornEnvelope, pack, unpack

GOLDEN = Path(__file__).parents[1] / "golden"
V1 = (GOLDEN / "entry-v1.bin").read_bytes()
V2 = (GOLDEN / "entry-v2.bin").read_bytes()
VALUE = {
    "user": 7,
    "name": "Ada Lovelace, née Byron",
    "scores": (1, 2.5, -0.0, None, True),
    "raw": b"\x00\xff\x80",
    "empty": [[], {}, ""],
}
BORN_S = 1_767_225_600.25
FRESH_UNTIL_S = 1_767_229_200.5
KEEP_UNTIL_S = 1_767_232_800.75
TAGS = ("user:7", "née")
HEAD_1, HEAD_2 = 25, 40

bytes_of_any_kind = st.binary(max_size=200)
letters = st.binary(min_size=1, max_size=1)
times = st.floats(allow_nan=False, allow_infinity=False)
any_text = st.text(st.characters(exclude_categories=()), max_size=20)
envelopes = st.builds(
    Envelope,
    *(letters, letters, times, times, bytes_of_any_kind, times),
    load_seconds=st.floats(width=32, allow_nan=False, allow_infinity=False),
    tags=st.lists(any_text, max_size=4).map(tuple),
    schema=st.binary(max_size=20),
)
both = pytest.mark.parametrize("golden", [V1, V2], ids=["v1", "v2"])


def sealed(head: bytes, rest: bytes) -> bytes:
    """Bytes with the checksum the format asks for, whatever the head says."""
    return head + struct.pack(">I", zlib.crc32(head + rest)) + rest


def resealed(packed: bytes, **fields: float) -> bytes:
    """A whole envelope of version 2 with other times."""
    names = ("born_s", "fresh_until_s", "keep_until_s")
    values = [*struct.unpack_from(">dddfBH", packed, 5)]
    for name, value in fields.items():
        values[names.index(name) if name in names else 3] = value
    return sealed(packed[:5] + struct.pack(">dddfBH", *values), packed[HEAD_2:])


def value_of(envelope: Envelope) -> object:
    payload = Compression(min_bytes=0, max_bytes=1_000).decompress(envelope.compression, envelope.payload)
    return GENERAL.decode(envelope.kind, envelope.schema, payload)


def test_the_golden_entry_of_version_1_is_read_as_the_values_it_was_written_from() -> None:
    """Each field, and the value down to its types; it was not kept beyond its freshness."""
    envelope = unpack(V1)

    assert envelope == Envelope(b"T", b"-", BORN_S, FRESH_UNTIL_S, V1[HEAD_1:], FRESH_UNTIL_S)
    assert repr(value_of(envelope)) == repr(VALUE)


def test_what_version_1_compressed_is_read() -> None:
    """With Brotli, which is not written any more."""
    squeezed = brotli.compress(V1[HEAD_1:])
    envelope = unpack(sealed(b"pk\x01Tb" + V1[5:21], squeezed))

    assert repr(value_of(envelope)) == repr(VALUE)


def test_the_golden_entry_of_version_2_is_read_as_the_values_it_was_written_from() -> None:
    """Each field, and the value down to its types."""
    envelope = unpack(V2)

    assert replace(envelope, payload=b"") == Envelope(
        *(b"M", b"-", BORN_S, FRESH_UNTIL_S, b"", KEEP_UNTIL_S), load_seconds=1.5, tags=TAGS, schema=b"schema"
    )
    assert repr(value_of(replace(envelope, schema=b""))) == repr(VALUE)


def test_the_same_values_are_written_as_exactly_the_golden_bytes() -> None:
    """Today's instance writes what yesterday's can read."""
    kind, _, payload = GENERAL.encode(VALUE)
    times_s = (BORN_S, FRESH_UNTIL_S, payload, KEEP_UNTIL_S)

    assert pack(Envelope(kind, b"-", *times_s, 1.5, TAGS, b"schema")) == V2


def test_the_golden_bytes_are_laid_out_as_the_module_says() -> None:
    """Magic, version, kind, compression, times, lengths and a checksum before schema, tags and payload."""
    assert V1[:5] == b"pk\x01T-"
    assert struct.unpack_from(">dd", V1, 5) == (BORN_S, FRESH_UNTIL_S)
    assert sealed(V1[:21], V1[HEAD_1:]) == V1
    assert V2[:5] == b"pk\x02M-"
    assert struct.unpack_from(">dddfBH", V2, 5) == (BORN_S, FRESH_UNTIL_S, KEEP_UNTIL_S, 1.5, 6, 14)
    assert V2[HEAD_2:].startswith(b"schema\x00\x06user:7\x00\x04n\xc3\xa9e")
    assert sealed(V2[:36], V2[HEAD_2:]) == V2


@both
def test_an_age_stands_where_the_script_on_the_server_looks_for_it(golden: bytes) -> None:
    """In every version, or a new instance could not tell which of two values is the younger."""
    assert golden[AGE_AT] == struct.pack(">d", BORN_S)


@given(st.floats(0, 1e12), st.floats(0, 1e12))
def test_ages_compare_as_their_bytes_do(one_s: float, other_s: float) -> None:
    """Which is how the script compares them, having no floating point of 64 bits to read them with."""
    assert (struct.pack(">d", one_s) < struct.pack(">d", other_s)) == (one_s < other_s)


@given(envelopes)
def test_what_is_packed_comes_back_as_it_was(envelope: Envelope) -> None:
    """Any kind, any compression, any finite times, any tags, any payload."""
    packed = pack(envelope)
    tags = sum(2 + len(tag.encode("utf-8", "surrogatepass")) for tag in envelope.tags)

    assert unpack(packed) == envelope
    assert len(packed) == HEAD_2 + len(envelope.schema) + tags + len(envelope.payload)


@given(bytes_of_any_kind)
@example(b"pk\x01B-" + bytes(20))
@example(b"pk\x02B-" + bytes(20))
@example(b"pk\x02B-" + bytes(35))
@example(V1[:HEAD_1])
@example(V2[:HEAD_2])
def test_arbitrary_bytes_are_refused_and_nothing_else_happens(packed: bytes) -> None:
    """Chance does not hit a checksum of 32 bits; what is there is refused by the one exception named."""
    with pytest.raises(TornEnvelope):
        unpack(packed)


@both
@given(rest=bytes_of_any_kind)
def test_arbitrary_bytes_behind_a_true_beginning_are_refused(golden: bytes, rest: bytes) -> None:
    """The magic alone convinces nobody."""
    with pytest.raises(TornEnvelope):
        unpack(golden[:3] + rest)


@given(st.integers(0, 255), st.integers(0, 65_535), bytes_of_any_kind)
@settings(deadline=None)
def test_lengths_that_lie_are_refused_even_when_the_checksum_holds(
    schema: int, tags: int, rest: bytes
) -> None:
    """Whoever can write to Redis can make a checksum; what is read then is a value or refused."""
    packed = sealed(V2[:5] + struct.pack(">dddfBH", 1.0, 2.0, 3.0, 0.0, schema, tags), rest)
    try:
        envelope = unpack(packed)
    except TornEnvelope:
        return
    assert pack(envelope) == packed


@both
def test_every_truncation_is_refused(golden: bytes) -> None:
    """A value cut short anywhere, to nothing included."""
    for length in range(len(golden)):
        with pytest.raises(TornEnvelope):
            unpack(golden[:length])


@both
def test_every_flipped_bit_is_refused(golden: bytes) -> None:
    """In the head, in the checksum and in the payload."""
    for bit in range(len(golden) * 8):
        flipped = bytearray(golden)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TornEnvelope):
            unpack(bytes(flipped))


@both
def test_what_has_more_behind_it_is_refused(golden: bytes) -> None:
    """An append to the key is an alteration too."""
    with pytest.raises(TornEnvelope, match="checksum"):
        unpack(golden + b"\x00")


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
        unpack(foreign.ljust(HEAD_2, b" "))


@pytest.mark.parametrize("version", [0, 3, 255])
def test_a_version_this_code_does_not_know_is_refused_even_when_it_is_whole(version: int) -> None:
    """During a roll-back the newer version's entries are misses, not riddles."""
    head = V2[:2] + bytes([version]) + V2[3:36]

    with pytest.raises(TornEnvelope, match="not with an envelope this version can read"):
        unpack(sealed(head, V2[HEAD_2:]))


@pytest.mark.parametrize("time_s", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", ["born_s", "fresh_until_s", "keep_until_s", "load_seconds"])
def test_times_that_are_no_times_are_refused_on_both_ways(which: str, time_s: float) -> None:
    """NaN would compare false with every present, and so be fresh for ever."""
    with pytest.raises(TornEnvelope, match="not finite"):
        unpack(resealed(V2, **{which: time_s}))
    with pytest.raises(ValueError, match="not finite"):
        pack(replace(unpack(V2), **{which: time_s}))


@pytest.mark.parametrize("tags", [("x" * 65_536,), ("x" * 40_000,) * 2, tuple("x" * 30_000)])
def test_more_tags_than_there_is_room_for_are_refused_on_the_way_in(tags: tuple[str, ...]) -> None:
    """Cut short, an entry would escape the invalidation of a tag."""
    with pytest.raises(ValueError, match=r"Tag it with fewer|Use a shorter one"):
        pack(replace(unpack(V2), tags=tags))


def test_huge_input_is_refused_or_read_like_any_other() -> None:
    """Sixteen megabytes: foreign, whole, and whole but for the last bit."""
    payload = bytes(16 * 1024**2)
    packed = pack(Envelope(b"B", b"-", 1.0, 2.0, payload, 2.0))

    assert unpack(packed).payload == payload
    for torn in (payload, packed[:-1], packed[:-1] + b"\x01"):
        with pytest.raises(TornEnvelope):
            unpack(torn)
