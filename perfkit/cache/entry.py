"""A cached value with its times, and the envelope it travels in to Redis.

The envelope's versions
-----------------------
1 (2026-11)  25 bytes, big-endian, then the payload:
             magic "pk" · version u8 · kind (one ASCII letter, see `perfkit.cache.codec`) · compression (one
             ASCII letter) · born f64 · fresh-until f64 (epoch seconds) · CRC-32 u32 of all other bytes

A version, once released, is read for as long as its longest TTL lasts; a golden file holds each
(`tests/golden/entry-v1.bin`). The times are inside because Redis knows only when a key goes: not how old an
answer is, which the memory tier needs in order never to outlive it, and not what time a simulation has.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass

__all__ = ["Entry", "Envelope", "TornEnvelope", "pack", "unpack"]

_HEAD = struct.Struct(">2sBccdd")
_CHECKSUM = struct.Struct(">I")
_MAGIC = b"pk"
_VERSION = 1


@dataclass(slots=True)
class Entry:
    """A value and its times, in seconds of the clock of the tier that returned it.

    `born_s` is when the origin was asked for it (RFC 9111 §4.2.3 counts age from the request), `filled_s`
    when this tier took it in; it may be served while now ≤ `expires_s`. `weight` is what the memory tier
    counts it for, in bytes.
    """

    value: object
    born_s: float
    filled_s: float
    expires_s: float
    weight: int = 0
    stale_until_s: float = 0.0
    refresh_s: float = 0.0
    load_seconds: float = 0.0
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Envelope:
    """What Redis holds of one entry: an encoded value and its times in epoch seconds."""

    kind: bytes
    compression: bytes
    born_s: float
    fresh_until_s: float
    payload: bytes


class TornEnvelope(ValueError):
    """Bytes that are no envelope, or not a whole one; a reader treats them as a miss."""


def pack(envelope: Envelope) -> bytes:
    """Return the bytes of an envelope, in the newest version.

    >>> packed = pack(Envelope(b"B", b"-", 10.0, 20.0, b"hello"))
    >>> len(packed), unpack(packed).payload
    (30, b'hello')
    """
    head = _HEAD.pack(
        _MAGIC, _VERSION, envelope.kind, envelope.compression, envelope.born_s, envelope.fresh_until_s
    )
    return b"".join((head, _CHECKSUM.pack(_checksum(head, envelope.payload)), envelope.payload))


def unpack(packed: object) -> Envelope:
    """Read an envelope of any known version.

    Raises:
        TornEnvelope: the bytes are foreign, cut short, altered, or of a version this code does not know.
    """
    if not isinstance(packed, bytes) or len(packed) < _HEAD.size + _CHECKSUM.size:
        raise TornEnvelope(f"{type(packed).__name__} that is too short for an envelope, or not bytes")
    head = packed[: _HEAD.size]
    magic, version, kind, compression, born_s, fresh_until_s = _HEAD.unpack(head)
    if magic != _MAGIC or version != _VERSION:
        raise TornEnvelope(f"starts with {packed[:3]!r}, not with an envelope this version can read")
    (checksum,) = _CHECKSUM.unpack_from(packed, _HEAD.size)
    payload = packed[_HEAD.size + _CHECKSUM.size :]
    if checksum != _checksum(head, payload):
        raise TornEnvelope(f"{len(packed)} bytes fail their checksum")
    if not (math.isfinite(born_s) and math.isfinite(fresh_until_s)):
        raise TornEnvelope("its times are not finite")
    return Envelope(kind, compression, born_s, fresh_until_s, payload)


def _checksum(head: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(head))
