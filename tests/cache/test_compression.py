"""Compression: only where it helps, never beyond a bound, and with dictionaries that are known by number."""

from __future__ import annotations

import json
import threading

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.cache.codecs import Compression, Dictionary, UnknownDictionary, train_dictionary
from perfkit.cache.envelope import TornEnvelope

MB = 1 << 20


def record(number: int) -> bytes:
    """A small record as services have them."""
    rows = [{"sku": f"sku-{number * 7 + k}", "price": number * 1.5 + k, "quantity": k} for k in range(5)]
    return json.dumps(
        {"order": number, "customer": f"name {number}", "status": "open", "rows": rows}
    ).encode()


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    """One trained on records 0 to 999."""
    return train_dictionary(map(record, range(1_000)), max_bytes=4_096)


@given(st.binary(max_size=300), st.integers(1, 30), st.sampled_from([0, 1, 100, MB]))
@settings(deadline=None)
def test_what_goes_in_comes_out(piece: bytes, times: int, min_bytes: int) -> None:
    """Wherever compression begins."""
    squeeze = Compression(min_bytes=min_bytes, max_bytes=MB)
    letter, payload = squeeze.compress(piece * times)

    assert squeeze.decompress(letter, payload) == piece * times
    assert len(payload) <= len(piece * times)


def test_compression_begins_at_its_bound_and_not_below() -> None:
    """The bound is of the payload as it would be stored bare."""
    squeeze = Compression(min_bytes=100, max_bytes=MB)

    assert squeeze.compress(b"x" * 99) == (b"-", b"x" * 99)
    letter, payload = squeeze.compress(b"x" * 100)
    assert (letter, len(payload) < 30) == (b"z", True)


def test_what_would_grow_is_left_alone() -> None:
    """Noise, and what is compressed already."""
    noise = brotli.compress(b"".join(map(record, range(100))))

    assert Compression(min_bytes=0, max_bytes=MB).compress(noise) == (b"-", noise)


@given(st.binary(max_size=200), st.sampled_from([b"z", b"b", b"-", b"q"]))
@settings(deadline=None)
def test_arbitrary_bytes_are_refused_or_taken_as_they_are(payload: bytes, letter: bytes) -> None:
    """By one of the two exceptions named."""
    squeeze = Compression(min_bytes=0, max_bytes=MB)
    try:
        found = squeeze.decompress(letter, payload)
    except (TornEnvelope, UnknownDictionary):
        return
    assert letter in (b"z", b"b") or found == payload


@pytest.mark.parametrize("letter", [b"z", b"b"])
def test_every_truncation_is_refused(letter: bytes) -> None:
    """Half an answer is none; nor is one with something behind it."""
    whole = record(1) * 3
    payload = brotli.compress(whole) if letter == b"b" else zstandard.compress(whole)
    squeeze = Compression(min_bytes=0, max_bytes=MB)

    assert squeeze.decompress(letter, payload) == whole
    for torn in (*(payload[:length] for length in range(len(payload))), payload + b"x"):
        with pytest.raises(TornEnvelope):
            squeeze.decompress(letter, torn)


@pytest.mark.parametrize("letter", [b"z", b"b"])
@pytest.mark.parametrize("size", [1_001, 30_000_000])
def test_a_bomb_is_refused_before_it_unfolds(letter: bytes, size: int) -> None:
    """Its size is bounded while it is read, not afterwards."""
    import tracemalloc

    payload = brotli.compress(bytes(size)) if letter == b"b" else zstandard.compress(bytes(size))
    squeeze = Compression(min_bytes=0, max_bytes=1_000)
    tracemalloc.start()
    with pytest.raises(TornEnvelope, match="would unfold to more than 1000"):
        squeeze.decompress(letter, payload)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 1_000_000


def test_a_frame_that_does_not_say_how_large_it_is_is_refused() -> None:
    """None is written here, and it could be of any size."""
    payload = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100)

    with pytest.raises(TornEnvelope, match="would unfold to more"):
        Compression(min_bytes=0, max_bytes=MB).decompress(b"z", payload)


def test_a_dictionary_makes_small_records_several_times_smaller(dictionary: Dictionary) -> None:
    """Of records it was not trained on."""
    plain = Compression(min_bytes=0, max_bytes=MB)
    trained = Compression(min_bytes=4_096, max_bytes=MB, dictionaries=[dictionary])
    records = [record(number) for number in range(5_000, 5_100)]
    sizes = [sum(len(each.compress(one)[1]) for one in records) for each in (plain, trained)]

    assert sizes[1] < sizes[0] / 1.8
    assert [trained.decompress(*trained.compress(one)) for one in records] == records


def test_what_needs_an_unknown_dictionary_is_told_from_what_is_torn(dictionary: Dictionary) -> None:
    """A roll-out is no damage."""
    letter, payload = Compression(min_bytes=0, max_bytes=MB, dictionaries=[dictionary]).compress(record(1))

    with pytest.raises(UnknownDictionary, match=str(dictionary.id)):
        Compression(min_bytes=0, max_bytes=MB).decompress(letter, payload)


def test_the_first_dictionary_writes_and_all_are_read(dictionary: Dictionary) -> None:
    """So that a new one can be rolled out before it is written with."""
    newer = train_dictionary(map(record, range(2_000, 4_000)), max_bytes=2_048)
    before, during = (
        Compression(min_bytes=0, max_bytes=MB, dictionaries=known)
        for known in ([dictionary], [newer, dictionary])
    )

    assert dictionary.id != newer.id
    assert during.decompress(*before.compress(record(9))) == record(9)
    assert zstandard.get_frame_parameters(during.compress(record(9))[1]).dict_id == newer.id


def test_a_dictionary_is_its_bytes(dictionary: Dictionary) -> None:
    """Kept in a file and read again it is the same; its repr shows nothing of the users it was trained on."""
    again = Dictionary(dictionary.data)

    assert (again, again.id, hash(again)) == (dictionary, dictionary.id, hash(dictionary))
    assert repr(again) == f"Dictionary(id={dictionary.id}, {len(dictionary.data)} bytes)"
    assert len(dictionary.data) <= 4_096


@pytest.mark.parametrize("data", [b"", b"text that nobody has trained", bytes(1_000)])
def test_what_is_no_dictionary_is_refused(data: bytes) -> None:
    """Raw text has no number by which a reader would know it."""
    with pytest.raises(ValueError, match="are no trained dictionary"):
        Dictionary(data)


@pytest.mark.parametrize("samples", [[], [b"a"], [b"abc"] * 5])
def test_too_few_samples_are_refused_with_what_to_do(samples: list[bytes]) -> None:
    """The library's own message names a number."""
    with pytest.raises(ValueError, match="Take more of them, or a smaller max_bytes"):
        train_dictionary(samples)


def test_threads_do_not_share_a_context(dictionary: Dictionary) -> None:
    """Two in one at a time would crash the process."""
    squeeze = Compression(min_bytes=0, max_bytes=MB, dictionaries=[dictionary])
    wrong: list[int] = []

    def work(start: int) -> None:
        for number in range(start, start + 300):
            whole = record(number) * 20
            if squeeze.decompress(*squeeze.compress(whole)) != whole:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(1_000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
