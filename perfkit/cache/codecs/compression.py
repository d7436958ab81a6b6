"""Compression of payloads: Zstandard (RFC 8878), alone or with a dictionary trained on values like them.

A small record holds little to compress by itself: its field names occur once. A dictionary holds what records
of one kind have in common, and both sides have it beforehand. Its number is in each frame's head, so a reader
knows which it needs; a reader without it has a miss.

Contexts are kept, one a thread: making one takes longer than compressing a kilobyte with it. Nothing is
decompressed beyond a bound that is known beforehand, since a kilobyte may unfold to a gigabyte.

`z` is Zstandard, `-` is no compression, `b` is Brotli (RFC 7932), which version 1 wrote and which is read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

import brotli  # type: ignore[import-untyped]  # the wheel ships no type information
import zstandard

from perfkit.cache.envelope import TornEnvelope

__all__ = ["Compression", "Dictionary", "UnknownDictionary", "train_dictionary"]

_LEVEL = 3
_WITH_DICTIONARY_FROM_BYTES = 64
_PIECE_BYTES = 65_536


class UnknownDictionary(ValueError):
    """A payload was compressed with a dictionary this process does not have; a reader treats it as a miss."""


class Dictionary:
    """What values of one kind have in common; `data` is what to keep in a file.

    >>> records = [b'{"name":"user %d","mail":"u%d@example.com"}' % (n, n) for n in range(500)]
    >>> trained = train_dictionary(records)
    >>> Dictionary(trained.data) == trained
    True
    """

    def __init__(self, data: bytes) -> None:
        """Take a dictionary that `train_dictionary` made.

        Raises:
            ValueError: the bytes are no such dictionary.
        """
        zstd = zstandard.ZstdCompressionDict(data)
        if not zstd.dict_id():
            raise ValueError(
                f"{len(data)} bytes are no trained dictionary: what is written with them would not say what "
                "it needs. Make one with train_dictionary(samples)."
            )
        zstd.precompute_compress(level=_LEVEL)
        self.data: Final = data
        self.id: Final = zstd.dict_id()
        self._zstd = zstd

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dictionary) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        """Show its number and size; its content was users' data."""
        return f"Dictionary(id={self.id}, {len(self.data)} bytes)"

    @property
    def zstd(self) -> zstandard.ZstdCompressionDict:
        """The library's own form of it."""
        return self._zstd


def train_dictionary(samples: Iterable[bytes], max_bytes: int = 16_384) -> Dictionary:
    """Make a dictionary of samples: payloads as they are stored, before compression.

    A few hundred that are typical are enough. It contains pieces of them, so keep it as safe as they are.

    Args:
        samples: For a `ModelCache`, as in `(user.model_dump_json().encode() for user in users)`.
        max_bytes: How large it may be; about a hundredth of the samples together is usual.

    Raises:
        ValueError: the samples are too few, too small or too much alike to learn from.
    """
    given: list[bytes | bytearray | memoryview] = list(samples)
    try:
        trained = zstandard.train_dictionary(max_bytes, given, level=_LEVEL)
    except (zstandard.ZstdError, ValueError) as error:
        raise ValueError(
            f"{len(given)} samples of {sum(map(len, given))} bytes in all make no dictionary of up to "
            f"{max_bytes} bytes ({error}). Take more of them, or a smaller max_bytes."
        ) from error
    return Dictionary(trained.as_bytes())


class Compression:
    """What one tier compresses with, and reads.

    >>> squeeze = Compression(min_bytes=100, max_bytes=1_000_000)
    >>> letter, small = squeeze.compress(b"perfkit " * 100)
    >>> letter, len(small) < 100, squeeze.decompress(letter, small) == b"perfkit " * 100
    (b'z', True, True)
    """

    def __init__(self, *, min_bytes: int, max_bytes: int, dictionaries: Iterable[Dictionary] = ()) -> None:
        """Say what is compressed.

        Args:
            min_bytes: Payloads at least this large are compressed, if that makes them smaller. With a
                dictionary they are from 64 bytes on, if this is not less.
            max_bytes: Nothing that would be larger is decompressed.
            dictionaries: The first compresses; all are understood.
        """
        known = tuple(dictionaries)
        self._first = known[0] if known else None
        self._by_id = {dictionary.id: dictionary for dictionary in known}
        self._min_bytes = min(min_bytes, _WITH_DICTIONARY_FROM_BYTES) if known else min_bytes
        self._max_bytes = max_bytes
        self._contexts = _Contexts()

    def compress(self, payload: bytes) -> tuple[bytes, bytes]:
        """Return the compression's letter and the payload, compressed where that is worth it."""
        if len(payload) < self._min_bytes:
            return b"-", payload
        smaller = self._contexts.compressor(self._first).compress(payload)
        return (b"z", smaller) if len(smaller) < len(payload) else (b"-", payload)

    def decompress(self, letter: bytes, payload: bytes) -> bytes:
        """Return what `compress` was given.

        Raises:
            UnknownDictionary: it takes a dictionary that is not here.
            TornEnvelope: it is no whole frame, holds more than `max_bytes`, or the letter is not known.
        """
        if letter == b"-":
            return payload
        try:
            if letter == b"z":
                return self._unfolded(payload)
            if letter == b"b":
                return _without_brotli(payload, self._max_bytes)
        except (zstandard.ZstdError, brotli.error) as error:
            raise TornEnvelope(f"{len(payload)} bytes cannot be decompressed: {error}") from error
        raise TornEnvelope(f"compression {letter!r} is not known")

    def _unfolded(self, payload: bytes) -> bytes:
        head = zstandard.get_frame_parameters(payload)
        if head.content_size > self._max_bytes:  # a frame that does not say has the largest number there is
            raise TornEnvelope(f"{len(payload)} bytes would unfold to more than {self._max_bytes}")
        dictionary = self._by_id.get(head.dict_id) if head.dict_id else None
        if head.dict_id and dictionary is None:
            raise UnknownDictionary(f"the dictionary {head.dict_id} is not known here")
        return self._contexts.decompressor(dictionary).decompress(payload, allow_extra_data=False)


class _Contexts(threading.local):
    """One thread's contexts: two threads must not use one at once."""

    def __init__(self) -> None:
        self._compressors: dict[int, zstandard.ZstdCompressor] = {}
        self._decompressors: dict[int, zstandard.ZstdDecompressor] = {}

    def compressor(self, dictionary: Dictionary | None) -> zstandard.ZstdCompressor:
        key = dictionary.id if dictionary else 0
        found = self._compressors.get(key)
        if found is None:
            zstd = dictionary.zstd if dictionary else None
            found = self._compressors[key] = zstandard.ZstdCompressor(level=_LEVEL, dict_data=zstd)
        return found

    def decompressor(self, dictionary: Dictionary | None) -> zstandard.ZstdDecompressor:
        key = dictionary.id if dictionary else 0
        found = self._decompressors.get(key)
        if found is None:
            zstd = dictionary.zstd if dictionary else None
            found = self._decompressors[key] = zstandard.ZstdDecompressor(dict_data=zstd)
        return found


def _without_brotli(payload: bytes, max_bytes: int) -> bytes:
    """Take it out a piece at a time, so that it is noticed in time when too much comes out."""
    reader = brotli.Decompressor()
    pieces: list[bytes] = []
    size = 0
    given = payload
    while not reader.is_finished():
        piece = reader.process(given, output_buffer_limit=_PIECE_BYTES)
        given = b""
        if not piece and not reader.is_finished():
            raise TornEnvelope(f"{len(payload)} bytes are not all that was compressed")
        size += len(piece)
        if size > max_bytes:
            raise TornEnvelope(f"{len(payload)} bytes would unfold to more than {max_bytes}")
        pieces.append(piece)
    return b"".join(pieces)
