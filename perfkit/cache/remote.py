"""The remote tier: what all instances share, in Redis.

It fails soft. Redis being away makes the cache slower, not the service broken: a failed look-up is a miss,
a failed write is forgotten, each is counted in `failures` and told to the probe, and none is raised. Three
things pass through: cancellation, which is the caller's; `RealServerRequired` and `SettingsError`, which
are mistakes of configuration that would otherwise look like an empty cache for ever.

Of two values the younger wins, and an invalidation wins over what was loaded before it; see
`perfkit.cache.younger`.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from redis.exceptions import RedisError

from perfkit.cache.codecs import (
    GENERAL,
    Codecs,
    Compression,
    Dictionary,
    NotEncodable,
    SchemaDrift,
    UnknownDictionary,
)
from perfkit.cache.envelope import AGE_AT, TOMBSTONE, Envelope, TornEnvelope, pack, unpack
from perfkit.cache.younger import Scripting, YoungerWins
from perfkit.clock import Clock, epoch_s
from perfkit.errors import RealServerRequired, Unavailable
from perfkit.events import Probe, RemoteFailed, log_probe

__all__ = ["Opener", "RemoteClient", "RemoteCounts", "RemoteTier", "Stored", "Written"]

_LONGEST_S = 30 * 86_400.0
_LONGEST_LOAD_S = 86_400.0
_AWAY = (RedisError, OSError, TimeoutError, Unavailable)


class RemoteClient(Scripting, Protocol):
    """The commands the tier needs; `redis.asyncio.Redis` has them. Answers must be bytes, not text."""

    def get(self, name: bytes) -> Awaitable[object]:
        """Return the value of a key, or None."""
        ...

    def getrange(self, key: bytes, start: int, end: int) -> Awaitable[object]:
        """Return a part of a value, from and to an offset."""
        ...

    def mget(self, names: Sequence[bytes]) -> Awaitable[Sequence[object]]:
        """Return the values of keys, None where there is none."""
        ...


Opener: TypeAlias = Callable[[], Awaitable[RemoteClient]]
"""Opens a client when the first command is due."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer that Redis has: the value, its times in epoch seconds, and what it depends on.

    Born when the origin was asked; past `fresh_until_s` and until `keep_until_s` it may be served stale.
    """

    value: object
    born_s: float
    fresh_until_s: float
    keep_until_s: float
    load_seconds: float
    tags: tuple[str, ...]


@dataclass(slots=True)
class RemoteCounts:
    """What a remote tier has done. A look-up is a hit or a miss, whatever the reason.

    `failures` is what went wrong: Redis being away, `torn` and `refused` together.
    """

    hits: int = 0
    misses: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    failures: int = 0
    torn: int = 0
    """Values that no version known here has written, or that were damaged or too large."""
    refused: int = 0
    """Values that were not stored: too large, or not to be brought back as they are."""
    drifted: int = 0
    """Typed values of another layout; misses, no failures."""
    unknown_dictionary: int = 0
    """Values compressed with a dictionary that is not here; misses, no failures."""
    outrun: int = 0
    """Values that were not stored because what stood there was younger."""


class RemoteTier:
    """Entries in Redis, each in an envelope with its own times.

    >>> import asyncio, fakeredis
    >>> async def there_and_back() -> object:
    ...     async with fakeredis.FakeAsyncRedis() as redis:
    ...         tier = RemoteTier(redis, prefix="perfkit:")
    ...         await tier.set("k", {"a": 1}, ttl_seconds=60, born_epoch_s=epoch_s())
    ...         stored = await tier.get("k")
    ...     return stored and stored.value
    >>> asyncio.run(there_and_back())
    {'a': 1}
    """

    def __init__(
        self,
        client: RemoteClient | Opener,
        *,
        prefix: str,
        epoch: Clock = epoch_s,
        compress_min_bytes: int = 4_096,
        entry_max_bytes: int = 8 * 1024**2,
        codecs: Codecs = GENERAL,
        dictionaries: Iterable[Dictionary] = (),
        tombstone_seconds: float = 60.0,
        probe: Probe = log_probe,
    ) -> None:
        """Make a tier over a client, which stays the caller's to close.

        Args:
            client: A Redis client, or a function that opens one when it is first needed.
            prefix: Stands before every key, so that one server can serve many.
            epoch: Epoch seconds; all instances' clocks must roughly agree.
            compress_min_bytes: Payloads at least this large are compressed; 0 compresses all.
            entry_max_bytes: What is larger, as bytes before compression, is neither stored nor read.
            codecs: How values are written, and whose values are read.
            dictionaries: For compression: the first is used, all are understood.
            tombstone_seconds: How long an invalidation holds off what was loaded before it. No load that
                takes longer is held off, so it should be longer than the slowest load.
            probe: Hears of every failure.
        """
        self._client = client
        self._prefix = prefix
        self._epoch = epoch
        self._codecs = codecs
        self._compression = Compression(
            min_bytes=compress_min_bytes, max_bytes=entry_max_bytes, dictionaries=dictionaries
        )
        self._entry_max_bytes = entry_max_bytes
        self._tombstone_seconds = tombstone_seconds
        self._probe = probe
        self._opening = asyncio.Lock()
        self._younger = YoungerWins()
        self.counts = RemoteCounts()

    @property
    def failures(self) -> int:
        """How often Redis was away, or a value could not be read or stored."""
        return self.counts.failures

    async def get(self, key: str) -> Stored | None:
        """Return what is stored under `key`, fresh or stale; None when there is nothing to be served.

        Absent, invalidated, damaged, of another layout, past its own keep-until whatever the server's clock
        says, or Redis away: all are misses, and what is amiss is counted.
        """
        try:
            packed = await (await self._open()).get(self._name(key))
        except RealServerRequired:
            raise
        except _AWAY as error:
            self._failed("get", error)
            packed = None
        return self._read(packed)

    async def get_many(self, keys: Iterable[str]) -> dict[str, Stored]:
        """Return what is stored under `keys`, asked for at once; a key without an answer is left out."""
        keys = list(dict.fromkeys(keys))
        if not keys:
            return {}
        names = [self._name(key) for key in keys]
        try:
            client = await self._open()
            # A client of perfkit's own splits what is many or, in a cluster, lies on several nodes.
            packed = await getattr(client, "batch_get", client.mget)(names)
        except RealServerRequired:
            raise
        except _AWAY as error:
            self._failed("get", error)
            packed = [None] * len(keys)
        found = zip(keys, map(self._read, packed), strict=True)
        return {key: stored for key, stored in found if stored is not None}

    async def set(
        self,
        key: str,
        value: object,
        *,
        ttl_seconds: float,
        born_epoch_s: float,
        stale_seconds: float = 0.0,
        load_seconds: float = 0.0,
        tags: Iterable[str] = (),
    ) -> bool:
        """Store a value as `write` does; return whether it was stored."""
        written = await self.write(
            key,
            value,
            ttl_seconds=ttl_seconds,
            born_epoch_s=born_epoch_s,
            stale_seconds=stale_seconds,
            load_seconds=load_seconds,
            tags=tags,
        )
        return written == "stored"

    async def write(
        self,
        key: str,
        value: object,
        *,
        ttl_seconds: float,
        born_epoch_s: float,
        stale_seconds: float = 0.0,
        load_seconds: float = 0.0,
        tags: Iterable[str] = (),
    ) -> Written:
        """Store a value that is fresh until `born_epoch_s + ttl_seconds`; return what became of it.

        `outrun`: what stands there was born later, a newer value or an invalidation. `refused`: it is too
        large or would not come back as it is; what stood under its key is then gone too, for it is no longer
        true. `away`: Redis could not be told. No entry lives longer than thirty days.

        Args:
            key: Of the entry.
            value: What the origin answered.
            ttl_seconds: How long it is fresh.
            born_epoch_s: When the origin was asked.
            stale_seconds: How much longer it is kept, to be served stale.
            load_seconds: How long the origin took; kept for those who refresh it.
            tags: What it can be invalidated by; kept for those who read it.
        """
        try:
            fresh_until_s = born_epoch_s + min(ttl_seconds, _LONGEST_S)
            keep_until_s = min(fresh_until_s + max(stale_seconds, 0.0), born_epoch_s + _LONGEST_S)
            life_s = keep_until_s - self._epoch()
            load_seconds = max(0.0, min(load_seconds, _LONGEST_LOAD_S))
            kind, schema, compression, payload = self._encoded(value)
            packed = pack(
                Envelope(
                    *(kind, compression, born_epoch_s, fresh_until_s, payload, keep_until_s, load_seconds),
                    *(tuple(tags), schema),
                )
            )
        except (NotEncodable, ValueError) as error:  # a time that is no number is one too
            self.counts.refused += 1
            self._failed("set", error)
            buried = await self._bury(key, born_epoch_s, "set", always=False)
            return "refused" if buried else "away"
        stored = await self._write("set", key, packed, life_s, always=False)
        if stored is None:
            return "away"
        if not stored:
            self.counts.outrun += 1
            return "outrun"
        self.counts.bytes_written += len(packed)
        return "stored"

    async def born_of(self, key: str) -> float | None:
        """Return when what stands under `key` was born, reading no more; None for nothing, or away."""
        try:
            client = await self._open()
            born = await client.getrange(self._name(key), AGE_AT.start, AGE_AT.stop - 1)
        except RealServerRequired:
            raise
        except _AWAY as error:
            self._failed("get", error)
            return None
        if not isinstance(born, bytes) or len(born) != AGE_AT.stop - AGE_AT.start:
            return None
        (born_s,) = struct.unpack(">d", born)
        return float(born_s)

    async def invalidate(self, key: str, *, at_epoch_s: float) -> bool:
        """Let nothing that was born before `at_epoch_s` be found again; False when Redis is away.

        What stands there goes, whenever it was born, and for `tombstone_seconds` a load that began before is
        not stored.
        """
        return await self._bury(key, at_epoch_s, "delete", always=True)

    async def _bury(self, key: str, at_epoch_s: float, operation: _Operation, *, always: bool) -> bool:
        if not math.isfinite(at_epoch_s):
            at_epoch_s = self._epoch()
        end_s = at_epoch_s + self._tombstone_seconds
        grave = Envelope(TOMBSTONE, b"-", at_epoch_s, end_s, b"", end_s)
        life_s = self._tombstone_seconds
        return await self._write(operation, key, pack(grave), life_s, always=always) is not None

    async def _write(
        self, operation: _Operation, key: str, packed: bytes, life_s: float, *, always: bool
    ) -> bool | None:
        """Return whether an envelope was stored, None when Redis is away."""
        younger = self._younger
        scripted = younger.scripted
        life_ms = max(1, math.ceil(life_s * 1_000))
        try:
            client = await self._open()
            stored = await younger.write(
                client, self._name(key), packed, life_ms=life_ms, now_s=self._epoch(), always=always
            )
        except RealServerRequired:
            raise
        except _AWAY as error:
            self._failed(operation, error)
            return None
        if scripted and not younger.scripted:
            self._probe(
                RemoteFailed(
                    operation,
                    "this server runs no scripts, so of two writes the last wins and not the younger, and a "
                    "load may bring back what was invalidated meanwhile. Allow EVALSHA and EVAL.",
                )
            )
        return stored

    def _encoded(self, value: object) -> tuple[bytes, bytes, bytes, bytes]:
        """Return the kind, the schema, the compression and the payload of a value."""
        kind, schema, payload = self._codecs.encode(value)
        if len(payload) > self._entry_max_bytes:
            raise NotEncodable(
                f"{len(payload)} bytes are more than an entry may have ({self._entry_max_bytes}): Redis "
                "would keep everybody waiting while it sends them. Raise l2_entry_max_bytes, or cache "
                "parts of it."
            )
        compression = b"-"
        if self._codecs.compressible(kind):
            compression, payload = self._compression.compress(payload)
        return kind, schema, compression, payload

    def _read(self, packed: object) -> Stored | None:
        """Return what bytes from Redis hold, and count it."""
        counts = self.counts
        stored = None
        try:
            if packed is not None:
                counts.bytes_read += len(packed) if isinstance(packed, bytes) else 0
                stored = self._opened(packed)
        except SchemaDrift:
            counts.drifted += 1
        except UnknownDictionary:
            counts.unknown_dictionary += 1
        except TornEnvelope as error:
            counts.torn += 1
            self._failed("get", error)
        if stored is None:
            counts.misses += 1
        else:
            counts.hits += 1
        return stored

    def _opened(self, packed: object) -> Stored | None:
        envelope = unpack(packed)
        if envelope.kind == TOMBSTONE or self._epoch() > envelope.keep_until_s:
            return None
        if len(envelope.payload) > self._entry_max_bytes:
            raise TornEnvelope(f"{len(envelope.payload)} bytes are more than {self._entry_max_bytes}")
        payload = self._compression.decompress(envelope.compression, envelope.payload)
        return Stored(
            self._codecs.decode(envelope.kind, envelope.schema, payload),
            envelope.born_s,
            envelope.fresh_until_s,
            envelope.keep_until_s,
            envelope.load_seconds,
            envelope.tags,
        )

    async def _open(self) -> RemoteClient:
        if callable(self._client):
            async with self._opening:
                if callable(self._client):
                    self._client = await self._client()
        return self._client

    def _name(self, key: str) -> bytes:
        # Redis keys are bytes; a lone surrogate, which strict UTF-8 refuses, must not break a look-up.
        return (self._prefix + key).encode("utf-8", "surrogatepass")

    def _failed(self, operation: _Operation, error: Exception) -> None:
        self.counts.failures += 1
        self._probe(RemoteFailed(operation, f"{type(error).__name__}: {error}"))


_Operation: TypeAlias = Literal["get", "set", "delete"]
Written: TypeAlias = Literal["stored", "outrun", "refused", "away"]
"""What became of a value that was to be stored."""
