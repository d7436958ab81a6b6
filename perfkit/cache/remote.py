"""The remote tier: what all instances share, in Redis.

It fails soft. Redis being away makes the cache slower, not the service broken: a failed look-up is a miss,
a failed write is forgotten, each is counted in `failures` and told to the probe, and none is raised. Three
things pass through: cancellation, which is the caller's; `RealServerRequired` and `SettingsError`, which
are mistakes of configuration that would otherwise look like an empty cache for ever.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from redis.exceptions import RedisError

from perfkit.cache.codec import NotEncodable, decode, encode
from perfkit.cache.entry import Envelope, TornEnvelope, pack, unpack
from perfkit.clock import Clock, epoch_s
from perfkit.errors import RealServerRequired, Unavailable
from perfkit.events import Probe, RemoteFailed, log_probe

__all__ = ["RemoteClient", "RemoteTier"]

_LONGEST_S = 30 * 86_400.0
_AWAY = (RedisError, OSError, TimeoutError, Unavailable)


@dataclass(frozen=True, slots=True)
class Stored:
    value: object
    born_s: float
    fresh_until_s: float
    keep_until_s: float
    load_seconds: float = 0.0
    tags: tuple[str, ...] = ()


class RemoteClient(Protocol):
    """The three commands the tier needs; `redis.asyncio.Redis` has them. Answers must be bytes, not text."""

    def get(self, name: bytes) -> Awaitable[object]:
        """Return the value of a key, or None."""
        ...

    def set(self, name: bytes, value: bytes, *, px: int) -> Awaitable[object]:
        """Store a value for `px` milliseconds."""
        ...

    def delete(self, *names: bytes) -> Awaitable[int]:
        """Remove keys and return how many there were."""
        ...


Opener: TypeAlias = Callable[[], Awaitable[RemoteClient]]
"""Opens a client when the first command is due."""


class RemoteTier:
    """Entries in Redis, each in an envelope with its own times.

    >>> import asyncio, fakeredis
    >>> async def there_and_back() -> object:
    ...     async with fakeredis.FakeAsyncRedis() as redis:
    ...         tier = RemoteTier(redis, prefix="perfkit:")
    ...         await tier.set("k", {"a": 1}, ttl_seconds=60, born_epoch_s=epoch_s())
    ...         entry = await tier.get("k")
    ...     return entry and entry.value
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
        probe: Probe = log_probe,
    ) -> None:
        """Make a tier over a client, which stays the caller's to close.

        Args:
            client: A Redis client, or a function that opens one when it is first needed.
            prefix: Stands before every key, so that one server can serve many.
            epoch: Epoch seconds; all instances' clocks must roughly agree.
            compress_min_bytes: Payloads at least this large are compressed; 0 compresses all.
            probe: Hears of every failure.
        """
        self._client = client
        self._prefix = prefix
        self._epoch = epoch
        self._compress_min_bytes = compress_min_bytes
        self._probe = probe
        self._opening = asyncio.Lock()
        self.failures = 0

    async def get(self, key: str) -> Stored | None:
        """Return the entry of `key` with times in epoch seconds; None when absent, stale, torn or away.

        An entry past its own fresh-until is a miss whatever the server's clock says.
        """
        try:
            packed = await (await self._open()).get(self._name(key))
        except RealServerRequired:
            raise
        except _AWAY as error:
            self._failed("get", error)
            return None
        if packed is None:
            return None
        try:
            return self._entry(unpack(packed))
        except TornEnvelope as error:
            self._failed("get", error)
            return None

    async def set(
        self,
        key: str,
        value: object,
        *,
        ttl_seconds: float,
        born_epoch_s: float,
        stale_seconds: float = 0.0,
        load_seconds: float = 0.0,
        tags: tuple[str, ...] = (),
    ) -> bool:
        """Store a value that is fresh until `born_epoch_s + ttl_seconds`; return whether it was stored.

        A value that would not come back as it is (see `perfkit.cache.codec`) is not stored, and what stood
        under its key is removed: it is no longer true. No entry lives longer than thirty days.
        """
        ttl = min(ttl_seconds, _LONGEST_S)
        try:
            kind, compression, payload = encode(value, compress_min_bytes=self._compress_min_bytes)
            packed = pack(Envelope(kind, compression, born_epoch_s, born_epoch_s + ttl, payload))
            client = await self._open()
            stored = await client.set(self._name(key), packed, px=max(1, math.ceil(ttl * 1_000)))
        except RealServerRequired:
            raise
        except NotEncodable as error:
            self._failed("set", error)
            await self.delete(key)
            return False
        except (*_AWAY, ValueError) as error:  # a time to live that is no number has no milliseconds
            self._failed("set", error)
            return False
        return bool(stored)

    async def invalidate(self, key: str, *, at_epoch_s: float) -> bool:
        await self.delete(key)
        return True

    async def delete(self, key: str) -> bool:
        """Remove the entry of `key`; return whether there was one. False also when Redis is away."""
        try:
            return bool(await (await self._open()).delete(self._name(key)))
        except RealServerRequired:
            raise
        except _AWAY as error:
            self._failed("delete", error)
            return False

    async def _open(self) -> RemoteClient:
        if callable(self._client):
            async with self._opening:
                if callable(self._client):
                    self._client = await self._client()
        return self._client

    def _name(self, key: str) -> bytes:
        # Redis keys are bytes; a lone surrogate, which strict UTF-8 refuses, must not break a look-up.
        return (self._prefix + key).encode("utf-8", "surrogatepass")

    def _entry(self, envelope: Envelope) -> Stored | None:
        now = self._epoch()
        if now > envelope.fresh_until_s:
            return None
        value = decode(envelope.kind, envelope.compression, envelope.payload)
        return Stored(value, envelope.born_s, envelope.fresh_until_s, envelope.fresh_until_s)

    def _failed(self, operation: Literal["get", "set", "delete"], error: Exception) -> None:
        self.failures += 1
        self._probe(RemoteFailed(operation, f"{type(error).__name__}: {error}"))
