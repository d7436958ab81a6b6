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
from typing import TYPE_CHECKING

__all__ = ["Entry", "EntryInFull", "Envelope", "TornEnvelope", "pack", "unpack"]

_HEAD = struct.Struct(">2sBccdd")
_CHECKSUM = struct.Struct(">I")
_MAGIC = b"pk"
_VERSION = 1


class Entry:
    """A value and its times, in seconds of the clock of the tier that returned it.

    `born_s` is when the origin was asked for it (RFC 9111 §4.2.3 counts age from the request), `filled_s`
    when this tier took it in. It is fresh while now ≤ `expires_s` and may be served stale while now ≤
    `stale_until_s`; from `refresh_s` on it is worth a thought whether to renew it early. `load_seconds` is
    what it took to get, `tags` are what it can be invalidated by, `weight` is its bytes. `uses`, `older` and
    `newer` belong to the eviction policy.

    An entry stays as it was when it leaves the tier: who holds one may go on reading it.

    Most entries need two different times only. So this class has places for those, and what it says of the
    others is read from the same two; an `EntryInFull` has a place for each. A tier makes whichever is enough.
    """

    __slots__ = ("born_s", "expires_s", "newer", "older", "uses", "value", "weight")

    value: object
    born_s: float
    expires_s: float
    weight: int
    uses: int
    older: str | None
    newer: str | None
    if TYPE_CHECKING:
        filled_s: float
        stale_until_s: float
        refresh_s: float
        load_seconds: float
        tags: tuple[str, ...]

    def __init__(self, value: object, born_s: float, expires_s: float, weight: int = 0) -> None:
        self.value = value
        self.born_s = born_s
        self.expires_s = expires_s
        self.weight = weight
        self.uses = 0

    def __repr__(self) -> str:
        """Show the times and not the value, which may be private."""
        times = ", ".join(
            f"{name}={getattr(self, name)}" for name in ("born_s", "expires_s", "stale_until_s")
        )
        return f"{type(self).__name__}({times}, weight={self.weight})"


# The very slots under further names: they read as fast as any, and take no room.
for _name, _value in {
    "filled_s": Entry.__dict__["born_s"],
    "stale_until_s": Entry.__dict__["expires_s"],
    "refresh_s": Entry.__dict__["expires_s"],
    "load_seconds": 0.0,
    "tags": (),
}.items():
    setattr(Entry, _name, _value)


class EntryInFull(Entry):
    """An entry whose times all differ."""

    __slots__ = ("filled_s", "load_seconds", "refresh_s", "stale_until_s", "tags")

    def __init__(
        self,
        value: object,
        born_s: float,
        filled_s: float,
        expires_s: float,
        weight: int = 0,
        *,
        stale_until_s: float | None = None,
        refresh_s: float | None = None,
        load_seconds: float = 0.0,
        tags: tuple[str, ...] = (),
    ) -> None:
        super().__init__(value, born_s, expires_s, weight)
        self.filled_s = filled_s
        self.stale_until_s = expires_s if stale_until_s is None else stale_until_s
        self.refresh_s = expires_s if refresh_s is None else refresh_s
        self.load_seconds = load_seconds
        self.tags = tags


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
