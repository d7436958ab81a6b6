"""The envelope in which an entry travels to Redis: its times, its tags, what its payload is, a checksum.

The envelope's versions, all big-endian
---------------------------------------
1 (2026-11)  magic "pk" · version u8 · kind (one ASCII letter, see `perfkit.cache.codecs`) · compression (one
             ASCII letter) · born f64 · fresh-until f64 · CRC-32 u32 of all other bytes · payload
             25 bytes and the payload; kept until it is no longer fresh
2 (2026-11)  magic "pk" · version u8 · kind · compression · born f64 · fresh-until f64 · keep-until f64 ·
             load f32 (seconds the origin took) · length of schema u8 · length of tags u16 · CRC-32 u32 of all
             other bytes · schema · tags (each length u16 and UTF-8) · payload
             40 bytes, the schema, the tags and the payload; kind "X" is a tombstone, which has no payload

Times are epoch seconds. They are inside because Redis knows only when a key goes: not how old an answer is,
which the memory tier needs in order never to outlive it, and not what time a simulation has. The first five
bytes and `born` stand where they stood in version 1, so that a script on the server compares two entries by
age without knowing their versions.

A version, once released, is read for as long as its longest TTL lasts; a golden file holds each
(`tests/golden/entry-v1.bin`, `entry-v2.bin`). A version that is not known is refused: to its reader a miss.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass

__all__ = ["AGE_AT", "TOMBSTONE", "Envelope", "TornEnvelope", "pack", "unpack"]

TOMBSTONE = b"X"
"""The kind of an entry without a value: it says that what was born before it must not come back."""

AGE_AT = slice(5, 13)
"""Where `born` stands in every version: bytes that, of times after 1970, compare as the times do."""

_MAGIC = b"pk"
_VERSION = 2
_BEGINNING = struct.Struct(">2sB")
_HEAD_1 = struct.Struct(">2sBccdd")
_HEAD_2 = struct.Struct(">2sBccdddfBH")
_CHECKSUM = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
_SHORTEST = _HEAD_1.size + _CHECKSUM.size
_LONGEST_SCHEMA, _LONGEST_TAGS = 0xFF, 0xFFFF


@dataclass(frozen=True, slots=True)
class Envelope:
    """What Redis holds of one entry: an encoded value, its times in epoch seconds, and what it depends on.

    `keep_until_s` is at or after `fresh_until_s`: until then the value may be served stale. `schema` tells
    one layout of a typed value from another; it is empty where any reader knows what the payload means.
    """

    kind: bytes
    compression: bytes
    born_s: float
    fresh_until_s: float
    payload: bytes
    keep_until_s: float
    load_seconds: float = 0.0
    tags: tuple[str, ...] = ()
    schema: bytes = b""


class TornEnvelope(ValueError):
    """Bytes that are no envelope, or not a whole one; a reader treats them as a miss."""


def pack(envelope: Envelope) -> bytes:
    """Return the bytes of an envelope, in the newest version.

    Raises:
        ValueError: the tags take more than 65,535 bytes, or a time is none.

    >>> packed = pack(Envelope(b"B", b"-", 10.0, 20.0, b"hello", keep_until_s=30.0, tags=("user 7",)))
    >>> len(packed), unpack(packed).payload, unpack(packed).tags
    (53, b'hello', ('user 7',))
    """
    tags = b"".join(map(_packed_tag, envelope.tags))
    if len(tags) > _LONGEST_TAGS or len(envelope.schema) > _LONGEST_SCHEMA:
        raise ValueError(
            f"{len(envelope.tags)} tags take {len(tags)} bytes, and an entry has room for {_LONGEST_TAGS}. "
            "Tag it with fewer, or with shorter ones."
        )
    times = (envelope.born_s, envelope.fresh_until_s, envelope.keep_until_s)
    _check_times(*times, envelope.load_seconds)
    head = _HEAD_2.pack(
        *(_MAGIC, _VERSION, envelope.kind, envelope.compression, *times, envelope.load_seconds),
        *(len(envelope.schema), len(tags)),
    )
    rest = b"".join((envelope.schema, tags, envelope.payload))
    return b"".join((head, _CHECKSUM.pack(_checksum(head, rest)), rest))


def unpack(packed: object) -> Envelope:
    """Read an envelope of any known version.

    Raises:
        TornEnvelope: the bytes are foreign, cut short, altered, or of a version this code does not know.
    """
    if not isinstance(packed, bytes) or len(packed) < _SHORTEST:
        raise TornEnvelope(f"{type(packed).__name__} that is too short for an envelope, or not bytes")
    magic, version = _BEGINNING.unpack_from(packed)
    read = _READERS.get(version)
    if magic != _MAGIC or read is None:
        raise TornEnvelope(f"starts with {packed[:3]!r}, not with an envelope this version can read")
    return read(packed)


def _read_1(packed: bytes) -> Envelope:
    _magic, _version, kind, compression, born_s, fresh_until_s = _HEAD_1.unpack_from(packed)
    payload = _checked(packed, _HEAD_1.size)
    _check_times(born_s, fresh_until_s)
    return Envelope(kind, compression, born_s, fresh_until_s, payload, fresh_until_s)


def _read_2(packed: bytes) -> Envelope:
    if len(packed) < _HEAD_2.size + _CHECKSUM.size:
        raise TornEnvelope(f"{len(packed)} bytes are too short for an envelope of version 2")
    head = _HEAD_2.unpack_from(packed)
    _magic, _version, kind, compression, born_s, fresh_until_s, keep_until_s, load_seconds = head[:8]
    rest = _checked(packed, _HEAD_2.size)
    _check_times(born_s, fresh_until_s, keep_until_s, load_seconds)
    schema_ends, tags_length = head[8:]
    tags_end = schema_ends + tags_length
    if tags_end > len(rest):
        raise TornEnvelope(f"{len(rest)} bytes cannot hold a schema and tags of {tags_end}")
    return Envelope(
        *(kind, compression, born_s, fresh_until_s, rest[tags_end:], keep_until_s, load_seconds),
        tags=_tags(rest[schema_ends:tags_end]) if tags_length else (),
        schema=rest[:schema_ends],
    )


_READERS = {1: _read_1, 2: _read_2}


def _checked(packed: bytes, head_size: int) -> bytes:
    """Return what follows the checksum, once it holds."""
    (checksum,) = _CHECKSUM.unpack_from(packed, head_size)
    rest = packed[head_size + _CHECKSUM.size :]
    if checksum != _checksum(packed[:head_size], rest):
        raise TornEnvelope(f"{len(packed)} bytes fail their checksum")
    return rest


def _checksum(head: bytes, rest: bytes) -> int:
    return zlib.crc32(rest, zlib.crc32(head))


def _check_times(*times_s: float) -> None:
    """NaN compares false with every present, and would so be fresh for ever."""
    if not all(map(math.isfinite, times_s)):
        raise TornEnvelope(f"its times are not finite: {times_s}")


def _packed_tag(tag: str) -> bytes:
    text = tag.encode("utf-8", "surrogatepass")
    if len(text) > _LONGEST_TAGS:
        raise ValueError(f"a tag of {len(text)} bytes is longer than {_LONGEST_TAGS}. Use a shorter one.")
    return _LENGTH.pack(len(text)) + text


def _tags(packed: bytes) -> tuple[str, ...]:
    tags, at = [], 0
    try:
        while at < len(packed):
            (length,) = _LENGTH.unpack_from(packed, at)
            at += _LENGTH.size + length
            if at > len(packed):
                raise TornEnvelope("a tag ends after the tags")
            tags.append(packed[at - length : at].decode("utf-8", "surrogatepass"))
    except (struct.error, UnicodeDecodeError) as error:
        raise TornEnvelope(f"its tags cannot be read: {error}") from error
    return tuple(tags)
