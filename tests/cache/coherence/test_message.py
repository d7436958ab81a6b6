"""A message of the backplane is read as it was written, for as long as an old instance runs.

`tests/golden/coherence-v1.bin` was written once and is never written again; a new version gets a new file.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perfkit.cache.coherence.message import LONGEST_NAME_BYTES, Alien, Message, pack, unpack

V1 = (Path(__file__).parents[2] / "golden" / "coherence-v1.bin").read_bytes()
GOLDEN = Message("key", "users:né 7", 1_767_225_600.25, b"\x00\x01\x02\x03\xfc\xfd\xfe\xff")

messages = st.builds(
    Message,
    st.sampled_from(["key", "tag"]),
    st.text(max_size=300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.binary(min_size=8, max_size=8),
)


def test_the_golden_message_is_read_and_written_byte_for_byte() -> None:
    """Yesterday's instance and today's understand each other."""
    assert unpack(V1) == GOLDEN
    assert pack(GOLDEN) == V1


def test_a_message_is_small() -> None:
    """Its head is 22 bytes, whatever the value is that changed."""
    assert len(V1) == 22 + len(GOLDEN.name.encode())


@given(messages)
@example(Message("tag", "\ud800", 0.0, b"instance"))
def test_every_message_comes_back_as_it_was(message: Message) -> None:
    """Names of any characters, and a lone surrogate."""
    assert unpack(pack(message)) == message


@given(messages, st.data())
def test_a_torn_message_is_refused_wherever_it_is_torn(message: Message, data: st.DataObject) -> None:
    """Cut short anywhere, or with something behind it."""
    packed = pack(message)
    cut = data.draw(st.integers(0, len(packed) - 1))

    for torn in (packed[:cut], packed + b"\0"):
        with pytest.raises(Alien):
            unpack(torn)


@given(st.binary(max_size=2 * LONGEST_NAME_BYTES))
@example(V1[:2] + b"\x02" + V1[3:])
@example(V1[:3] + b"x" + V1[4:])
@example(V1[:12] + b"\x7f\xf0" + bytes(6) + V1[20:])
@example(V1[:-3] + b"\xff" + V1[-2:])
@example(V1 * 1_000)
def test_bytes_of_any_kind_are_refused_in_one_way(data: bytes) -> None:
    """Another version, an unknown kind, an infinite time, no text, far too long: `Alien`, nothing else."""
    with pytest.raises(Alien):
        unpack(data)


def test_a_name_that_is_too_long_becomes_word_that_anything_may_have_changed() -> None:
    """Nothing is cut, because half a name would be another's."""
    message = unpack(pack(Message("key", "k" * (LONGEST_NAME_BYTES + 1), 5.0, b"instance")))

    assert (message.kind, message.name) == ("any", "")
