"""The tiered cache: memory, then Redis, then the origin; each asked only when the one before has nothing.

    ask ──▶ memory ──▶ (one flight a key) ──▶ Redis ──▶ origin
             ▲                                 │          │
             └───────────── fill ◀─────────────┴──────────┘

An answer is born when the origin is *asked* for it (RFC 9111 §4.2.3 counts age the same cautious way), both
TTLs count from then, and memory never keeps it longer than Redis has it fresh. What is stored or deleted
while a flight is under way overtakes it: what the flight brings back is given to those who waited and is
kept nowhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from perfkit.cache.entry import Entry
from perfkit.cache.keys import namespace_prefix
from perfkit.cache.memory import MemoryTier
from perfkit.cache.remote import RemoteTier
from perfkit.cache.settings import CacheSettings
from perfkit.clock import Clock, epoch_s, now_s
from perfkit.events import EntryRemoved, Probe, RemovalCause, log_probe
from perfkit.resilience import Flight, SingleFlight

__all__ = ["CacheResult", "CacheStats", "TieredCache"]

T = TypeVar("T")
Tier = Literal["l1", "l2", "origin", "joined"]


@dataclass(frozen=True, slots=True)
class CacheResult(Generic[T]):
    """An answer and where it came from.

    `joined`: another caller was already looking. `age_seconds` counts from when the origin was asked,
    `l1_age_seconds` from when memory was filled; the latter is 0 unless memory answered.
    """

    value: T
    tier: Tier
    age_seconds: float
    l1_age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What the cache has done since it was made; each request counts once."""

    requests: int
    l1_hits: int
    l2_hits: int
    joined: int
    loads: int
    load_errors: int
    remote_errors: int
    l1_entries: int
    l1_bytes: int
    l1_peak_bytes: int
    l1_evictions: int
    l1_expirations: int

    @property
    def hit_ratio(self) -> float:
        """Share of requests answered without asking the origin."""
        return 1 - self.loads / self.requests if self.requests else 0.0

    @property
    def l1_hit_ratio(self) -> float:
        """Share of requests answered without asking Redis."""
        return 1 - (self.l2_hits + self.loads) / self.requests if self.requests else 0.0


class TieredCache:
    """A cache of two tiers with one flight a key.

    >>> import asyncio
    >>> async def slow_double(n: int) -> int:
    ...     return 2 * n
    >>> async def main() -> list[str]:
    ...     cache = TieredCache()
    ...     asked = [await cache.lookup("double 21", lambda: slow_double(21)) for _ in range(2)]
    ...     return [f"{answer.value} from {answer.tier}" for answer in asked]
    >>> asyncio.run(main())
    ['42 from origin', '42 from l1']
    """

    def __init__(
        self,
        settings: CacheSettings | None = None,
        *,
        remote: RemoteTier | None = None,
        namespace: str = "",
        memory: MemoryTier | None = None,
        clock: Clock = now_s,
        epoch: Clock = epoch_s,
        probe: Probe = log_probe,
    ) -> None:
        self._settings = settings = settings or CacheSettings()
        self._remote = remote
        self._prefix = namespace_prefix(namespace)
        self._clock = clock
        self._epoch = epoch
        self._probe = probe
        self.memory = memory if memory is not None else self._new_memory()
        self._flights: SingleFlight[str, CacheResult[Any]] = SingleFlight()
        self._writes = 0
        self._requests = self._l1_hits = self._l2_hits = 0
        self._joined = self._loads = self._load_errors = 0

    async def get(self, key: str, default: Any = None) -> Any:
        """Return what is stored under a key, or `default`; the origin is not asked."""
        key = self._prefix + key
        entry = self.memory.get(key)
        if entry is not None:
            return entry.value
        writes = self._writes
        found = await self._from_remote(
            key, self._settings.l1_ttl_seconds, still_current=lambda: self._writes == writes
        )
        return default if found is None else found.value

    async def set(
        self,
        key: str,
        value: object,
        *,
        l1_ttl_seconds: float | None = None,
        l2_ttl_seconds: float | None = None,
    ) -> None:
        """Store a value in both tiers; it counts as born now.

        What would not come back from Redis as it is (see `perfkit.cache.codecs`) stays in memory only.
        """
        key = self._prefix + key
        l1_ttl, l2_ttl = self._ttls(l1_ttl_seconds, l2_ttl_seconds)
        self._overtake(key)
        self.memory.set(key, value, ttl_seconds=min(l1_ttl, l2_ttl))
        if self._remote is not None:
            await self._remote.set(key, value, ttl_seconds=l2_ttl, born_epoch_s=self._epoch())
            self._overtake(key)

    async def delete(self, key: str) -> None:
        """Remove a key from both tiers."""
        key = self._prefix + key
        self._overtake(key)
        self.memory.delete(key)
        if self._remote is not None:
            await self._remote.invalidate(key, at_epoch_s=self._epoch())
            self._overtake(key)  # whoever looked meanwhile may have found what was being deleted
            self.memory.delete(key)

    invalidate = delete

    async def get_or_load(
        self,
        key: str,
        load: Callable[[], Awaitable[T]],
        *,
        l1_ttl_seconds: float | None = None,
        l2_ttl_seconds: float | None = None,
    ) -> T:
        """Return what is stored under a key, or what `load` returns, which is then stored.

        Raises:
            Exception: whatever `load` raises, to every caller that waited for it; nothing is stored.
        """
        result = await self.lookup(key, load, l1_ttl_seconds=l1_ttl_seconds, l2_ttl_seconds=l2_ttl_seconds)
        return result.value

    async def lookup(
        self,
        key: str,
        load: Callable[[], Awaitable[T]],
        *,
        l1_ttl_seconds: float | None = None,
        l2_ttl_seconds: float | None = None,
    ) -> CacheResult[T]:
        """Like `get_or_load`, and say which tier answered and how old the answer is."""
        key = self._prefix + key
        self._requests += 1
        entry = self.memory.get(key)
        if entry is not None:
            self._l1_hits += 1
            return self._remembered(entry)
        l1_ttl, l2_ttl = self._ttls(l1_ttl_seconds, l2_ttl_seconds)

        async def work(flight: Flight) -> CacheResult[T]:
            found = await self._from_remote(key, l1_ttl, still_current=lambda: not flight.overtaken)
            return await self._from_origin(key, load, l1_ttl, l2_ttl, flight) if found is None else found

        result: CacheResult[T]
        result, joined = await self._flights.run(key, work)
        if joined:
            self._joined += 1
            return CacheResult(result.value, "joined", result.age_seconds)
        self._l2_hits += result.tier == "l2"
        return result

    def stats(self) -> CacheStats:
        """Return what the cache has done."""
        return CacheStats(
            requests=self._requests,
            l1_hits=self._l1_hits,
            l2_hits=self._l2_hits,
            joined=self._joined,
            loads=self._loads,
            load_errors=self._load_errors,
            remote_errors=self._remote.failures if self._remote is not None else 0,
            l1_entries=len(self.memory),
            l1_bytes=self.memory.bytes,
            l1_peak_bytes=self.memory.peak_bytes,
            l1_evictions=self.memory.evictions,
            l1_expirations=self.memory.expirations,
        )

    async def get_stats(self) -> CacheStats:
        """Return what the cache has done."""
        return self.stats()

    async def aclose(self) -> None:
        """Cancel what is under way; Redis is closed by whoever opened it."""
        await self._flights.aclose()

    def _ttls(self, l1_ttl_seconds: float | None, l2_ttl_seconds: float | None) -> tuple[float, float]:
        settings = self._settings
        return (
            settings.l1_ttl_seconds if l1_ttl_seconds is None else l1_ttl_seconds,
            settings.l2_ttl_seconds if l2_ttl_seconds is None else l2_ttl_seconds,
        )

    def _remembered(self, entry: Entry) -> CacheResult[Any]:
        now = self._clock()
        return CacheResult(entry.value, "l1", now - entry.born_s, now - entry.filled_s)

    async def _from_remote(
        self, key: str, l1_ttl: float, *, still_current: Callable[[], bool]
    ) -> CacheResult[Any] | None:
        stored = await self._remote.get(key) if self._remote is not None else None
        if stored is None:
            return None
        now = self._epoch()
        age, left = now - stored.born_s, stored.fresh_until_s - now
        if still_current():
            ttl = min(l1_ttl, left)
            self.memory.set(key, stored.value, ttl_seconds=ttl, born_s=self._clock() - age)
        return CacheResult(stored.value, "l2", age)

    async def _from_origin(
        self,
        key: str,
        load: Callable[[], Awaitable[T]],
        l1_ttl: float,
        l2_ttl: float,
        flight: Flight,
    ) -> CacheResult[T]:
        born, born_epoch = self._clock(), self._epoch()
        self._loads += 1
        try:
            value = await load()
        except BaseException:
            self._load_errors += 1
            raise
        if not flight.overtaken:
            left = min(l1_ttl, l2_ttl) - (self._clock() - born)
            self.memory.set(key, value, ttl_seconds=max(left, 0.0), born_s=born)
            await self._tell_remote(key, value, l2_ttl, born_epoch, flight)
        return CacheResult(value, "origin", self._clock() - born)

    async def _tell_remote(
        self, key: str, value: object, l2_ttl: float, born_epoch: float, flight: Flight
    ) -> None:
        if self._remote is None:
            return
        await self._remote.set(key, value, ttl_seconds=l2_ttl, born_epoch_s=born_epoch)

    def _overtake(self, key: str) -> None:
        self._writes += 1
        self._flights.forget(key)

    def _new_memory(self) -> MemoryTier:
        settings = self._settings
        return MemoryTier(
            max_entries=settings.l1_max_entries,
            max_bytes=settings.l1_max_bytes,
            policy=settings.l1_policy,
            clock=self._clock,
            on_remove=self._removed,
        )

    def _removed(self, key: str, cause: RemovalCause) -> None:
        if cause == "refused":
            self._probe(EntryRemoved(key, cause))
