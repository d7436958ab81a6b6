"""The tiered cache: memory, then Redis, then the origin; each asked only when the one before has nothing.

    ask ──▶ memory ──▶ (one flight a key) ──▶ Redis ──▶ origin
             ▲                                 │          │
             └───────────── fill ◀─────────────┴──────────┘

An answer is born when the origin is *asked* for it (RFC 9111 §4.2.3 counts age the same cautious way), both
TTLs count from then, and memory never keeps it longer than Redis has it fresh. What is stored or taken back
while a flight is under way overtakes it: what the flight brings back is given to those who waited and is
kept nowhere.

This file holds the verbs. `perfkit.cache.serving` decides what memory may serve, `perfkit.cache.fetch` is the
way past memory, `perfkit.cache.tiers` what all namespaces share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from perfkit.cache.advise import Advice, advice_on
from perfkit.cache.coherence.names import EVERYTHING
from perfkit.cache.fetch import CacheResult, Wanted
from perfkit.cache.keys import namespace_prefix
from perfkit.cache.many import LoadedTogether
from perfkit.cache.memory import MemoryTier
from perfkit.cache.remote import RemoteTier
from perfkit.cache.serving import Serving
from perfkit.cache.settings import CacheSettings
from perfkit.cache.stats import CacheStats
from perfkit.cache.tiers import Tiers
from perfkit.clock import Clock, epoch_s, now_s
from perfkit.errors import SettingsError
from perfkit.events import Probe, log_probe

__all__ = ["CacheResult", "CacheStats", "TieredCache"]

T = TypeVar("T")

_ABSENT = object()


class TieredCache:
    """A cache of two tiers with one flight a key: the view of one namespace.

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
        tiers: Tiers | None = None,
        cost_per_load: float = 0.0,
        clock: Clock = now_s,
        epoch: Clock = epoch_s,
        probe: Probe = log_probe,
    ) -> None:
        """Make a cache over tiers of its own, or a view of shared ones.

        Args:
            settings: Default: the knobs' defaults.
            remote: Redis; without it memory is all there is.
            namespace: Keeps these entries apart from all others'.
            memory: Default: as the settings say.
            tiers: Shared ones; then the settings are theirs, and neither remote, memory nor clock is given.
            cost_per_load: What a call to the origin costs, in any currency; for `CacheStats.saved_cost`.
            clock: What times to live count on.
            epoch: The same for what Redis holds.
            probe: Hears what should be known.
        """
        if tiers is None:
            tiers = Tiers(settings, remote=remote, memory=memory, clock=clock, epoch=epoch, probe=probe)
        self.tiers = tiers
        self.namespace = namespace
        self.memory = tiers.memory
        self.serving = Serving(tiers, namespace)
        self._prefix = namespace_prefix(namespace)
        self.serving.cost_per_load = cost_per_load

    def namespaced(self, namespace: str, *, cost_per_load: float = 0.0) -> TieredCache:
        """Return a view of another namespace: the same tiers, entries and counts of its own."""
        return TieredCache(tiers=self.tiers, namespace=namespace, cost_per_load=cost_per_load)

    async def get(self, key: str, default: Any = None) -> Any:
        """Return what is stored under a key, or `default`; the origin is not asked."""
        full_key = self._prefix + key
        entry = self.serving.held(full_key)
        if entry is not None:
            return entry.value
        found = await self.serving.find(full_key)
        return default if found is None else found.value

    async def set(
        self,
        key: str,
        value: object,
        *,
        l1_ttl_seconds: float | None = None,
        l2_ttl_seconds: float | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        """Store a value in both tiers; it counts as born now, and other instances forget what they hold.

        What would not come back from Redis as it is (see `perfkit.cache.codecs`) stays in memory only.
        """
        l1_ttl, l2_ttl = self._ttls(l1_ttl_seconds, l2_ttl_seconds)
        await self.tiers.put(
            self._prefix + key,
            value,
            l1_ttl_seconds=l1_ttl,
            l2_ttl_seconds=l2_ttl,
            tags=self._full_tags(tags),
        )

    async def get_or_load(
        self,
        key: str,
        load: Callable[[], Awaitable[T]],
        *,
        l1_ttl_seconds: float | None = None,
        l2_ttl_seconds: float | None = None,
        tags: Iterable[str] = (),
    ) -> T:
        """Return what is stored under a key, or what `load` returns, which is then stored.

        Raises:
            LoadTimeout: `hard_timeout_seconds` are over; the answer is still fetched, and kept.
            Exception: whatever `load` raises, to every caller that waited for it; nothing is stored.
        """
        result = await self.lookup(
            key, load, l1_ttl_seconds=l1_ttl_seconds, l2_ttl_seconds=l2_ttl_seconds, tags=tags
        )
        return result.value

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return what is stored under keys, in one round trip; what is not there is left out."""
        asked = tuple(dict.fromkeys(keys))
        found = await asyncio.gather(*(self.get(key, _ABSENT) for key in asked))
        return {key: value for key, value in zip(asked, found, strict=True) if value is not _ABSENT}

    async def get_or_load_many(
        self,
        keys: Iterable[str],
        load_many: Callable[[Sequence[str]], Awaitable[Mapping[str, T]]],
        *,
        l1_ttl_seconds: float | None = None,
        l2_ttl_seconds: float | None = None,
        tags: Iterable[str] = (),
    ) -> dict[str, T]:
        """Return the values of keys; those that are stored nowhere come from one call of `load_many`.

        Raises:
            KeyError: `load_many` returned no value for a key it was given.
            Exception: whatever `load_many` raises.
        """
        asked, tags = tuple(dict.fromkeys(keys)), tuple(tags)
        together = LoadedTogether(load_many)
        values = await asyncio.gather(
            *(
                self.get_or_load(
                    key,
                    partial(together.load, key),
                    l1_ttl_seconds=l1_ttl_seconds,
                    l2_ttl_seconds=l2_ttl_seconds,
                    tags=tags,
                )
                for key in asked
            )
        )
        return dict(zip(asked, values, strict=True))

    async def lookup(
        self,
        key: str,
        load: Callable[[], Awaitable[T]],
        *,
        l1_ttl_seconds: float | None = None,
        l2_ttl_seconds: float | None = None,
        tags: Iterable[str] = (),
    ) -> CacheResult[T]:
        """Like `get_or_load`, and say which tier answered, how old the answer is and whether it is stale."""
        full_key = self._prefix + key
        entry = self.serving.held(full_key)
        if entry is not None:
            return self.serving.result(entry)
        wanted = self.wanted(
            full_key, load, l1_ttl_seconds=l1_ttl_seconds, l2_ttl_seconds=l2_ttl_seconds, tags=tags
        )
        return await self.serving.ask(wanted)

    async def refresh(
        self,
        key: str,
        load: Callable[[], Awaitable[T]],
        *,
        l1_ttl_seconds: float | None = None,
        l2_ttl_seconds: float | None = None,
        tags: Iterable[str] = (),
    ) -> T:
        """Ask the origin whatever is stored, store what it returns, and tell the other instances.

        Raises:
            Exception: whatever `load` raises; what is stored then stays.
        """
        value = await load()
        await self.set(key, value, l1_ttl_seconds=l1_ttl_seconds, l2_ttl_seconds=l2_ttl_seconds, tags=tags)
        return value

    async def peek(self, key: str) -> CacheResult[Any] | None:
        """Return what is stored under a key and not past its end; nothing is counted, kept or renewed."""
        full_key, now = self._prefix + key, self.tiers.clock()
        entry = self.tiers.usable(full_key, now)
        if entry is not None and now <= entry.expires_s:
            return self.serving.result(entry)
        stored = await self.tiers.read(full_key)
        age = 0.0 if stored is None else self.tiers.epoch() - stored.born_s
        if stored is None or self.tiers.epoch() > stored.fresh_until_s:
            return None
        return CacheResult(stored.value, "l2", age)

    async def invalidate(self, key: str) -> bool:
        """Take back what is stored under a key, in both tiers and on all instances.

        Returns:
            Whether Redis and the other instances were told. If not, it is told as soon as they can be
            reached again; until then this instance serves nothing of what was taken back, and another may
            serve it for `l1_ttl_seconds` at most, or as long as Redis cannot be reached from here.
        """
        return await self.tiers.invalidate(self._prefix + key)

    async def invalidate_tag(self, tag: str) -> bool:
        """Take back everything that was stored with a tag, however much that is, in one step.

        Returns:
            Whether Redis and the other instances were told; see `invalidate`.
        """
        return await self.tiers.invalidate_tag(self._prefix + _checked(tag))

    async def clear(self) -> bool:
        """Take back all of this namespace; see `invalidate_tag`."""
        return await self.tiers.invalidate_tag(self._prefix + EVERYTHING)

    def advise(self) -> Advice:
        """Say what other sizes and times to live of memory would bring, from the traffic of late.

        It listens to the share of keys that `record_share` names, over all namespaces.

        Raises:
            SettingsError: `record_share` is 0, so nothing was heard.
        """
        if self.tiers.advisor is None:
            raise SettingsError(
                "cache.record_share is 0, so there is no traffic to judge by. Set it, to 0.05 say: a "
                "share of keys whose requests are listened to.",
                path="cache.record_share",
                value=0,
                allowed="> 0, <= 1",
            )
        return advice_on(self.tiers.advisor, self.tiers.settings)

    def stats(self) -> CacheStats:
        """Return what the cache has done."""
        tiers, memory = self.tiers, self.memory
        return self.serving.counts.stats(
            remote_errors=tiers.remote.failures if tiers.remote is not None else 0,
            cost_per_load=self.serving.cost_per_load,
            l1_entries=len(memory),
            l1_bytes=memory.bytes,
            l1_peak_bytes=memory.peak_bytes,
            l1_evictions=memory.evictions,
            l1_expirations=memory.expirations,
        )

    async def get_stats(self) -> CacheStats:
        """Return what the cache has done."""
        return self.stats()

    async def aclose(self) -> None:
        """Cancel what is under way, in all namespaces; Redis is closed by whoever opened it."""
        await self.tiers.aclose()

    def full_key(self, key: str) -> str:
        """Return the key with its namespace: what both tiers know it by."""
        return self._prefix + key

    def wanted(
        self,
        full_key: str,
        load: Callable[[], Awaitable[T]],
        *,
        l1_ttl_seconds: float | None = None,
        l2_ttl_seconds: float | None = None,
        tags: Iterable[str] = (),
        repeatable: bool = True,
    ) -> Wanted[T]:
        """Return a request as `serving` takes it: the times to live that are not given are the settings'."""
        l1_ttl, l2_ttl = self._ttls(l1_ttl_seconds, l2_ttl_seconds)
        return Wanted(full_key, load, l1_ttl, l2_ttl, self._full_tags(tags), repeatable)

    def _ttls(self, l1_ttl_seconds: float | None, l2_ttl_seconds: float | None) -> tuple[float, float]:
        settings = self.tiers.settings
        return (
            settings.l1_ttl_seconds if l1_ttl_seconds is None else l1_ttl_seconds,
            settings.l2_ttl_seconds if l2_ttl_seconds is None else l2_ttl_seconds,
        )

    def _full_tags(self, tags: Iterable[str]) -> tuple[str, ...]:
        return tuple(self._prefix + _checked(tag) for tag in tags) if tags else ()


def _checked(tag: str) -> str:
    if tag == EVERYTHING:
        raise ValueError(f"{tag!r} is the tag of a whole namespace, which clear() takes back. Use another.")
    return tag
