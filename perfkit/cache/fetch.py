"""The way past memory: Redis, then the origin, and what is done when neither answers.

    Redis ──fresh──────────────────────────────────▶ keep in memory, return
      └─nothing, or due ─▶ lock ─got it─▶ origin ──▶ keep in both tiers, return
                             │              └─fails─▶ an answer past its end, or the failure
                             └─another has it: wait for what it brings to Redis

One flight walks this way for all who ask for a key meanwhile. What was overtaken by a change is returned to
those who waited and kept nowhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, cast

from perfkit.cache.adaptive_ttl import AdaptiveTtl, digest_of
from perfkit.cache.codecs import GENERAL, NotEncodable
from perfkit.cache.entry import Entry
from perfkit.cache.freshness import early_from_s, is_due, jittered_seconds
from perfkit.cache.lock import RemoteLock
from perfkit.cache.remote import Stored
from perfkit.cache.stats import Counts
from perfkit.cache.tiers import Tiers
from perfkit.events import RenewalFailed
from perfkit.resilience import Flight

__all__ = ["CacheResult", "Fetch", "Reading", "Tier", "Wanted"]

T = TypeVar("T")

_SAME_BIRTH_S = 1e-3
"""One birth told by two clocks differs by rounding: what is younger by less than this is the same answer."""
Tier = Literal["l1", "l2", "origin", "joined"]


@dataclass(frozen=True, slots=True)
class CacheResult(Generic[T]):
    """An answer and where it came from.

    `joined`: another caller was already looking. `age_seconds` counts from when the origin was asked,
    `l1_age_seconds` from when memory was filled; the latter is 0 unless memory answered. `stale` says that
    the answer is past its end and was served all the same (RFC 5861).
    """

    value: T
    tier: Tier
    age_seconds: float
    l1_age_seconds: float = 0.0
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Wanted(Generic[T]):
    """What is asked for: a key, how the origin is asked, and what the answer is to be kept with.

    `repeatable` says that the load leans on nothing of the request it came with, so it may be done ahead.
    """

    full_key: str
    load: Callable[[], Awaitable[T]]
    l1_ttl_seconds: float
    l2_ttl_seconds: float
    tags: tuple[str, ...] = ()
    repeatable: bool = True


class Reading(Generic[T]):
    """The first part of the way: what Redis has is kept in memory and returned."""

    def __init__(self, tiers: Tiers, full_key: str, l1_ttl_seconds: float) -> None:
        self._tiers = tiers
        self._full_key = full_key
        self._l1_ttl_seconds = l1_ttl_seconds

    async def from_remote(self, still_current: Callable[[], bool]) -> CacheResult[T] | None:
        """Return what Redis has if it will do, and keep it if it is still current when it has come."""
        tiers = self._tiers
        stored = await tiers.read(self._full_key)
        if stored is None:
            return None
        now_epoch = tiers.epoch()
        left, age = stored.fresh_until_s - now_epoch, now_epoch - stored.born_s
        if not self._will_do(stored, left):
            return None
        if still_current():
            own = jittered_seconds(self._l1_ttl_seconds, self._full_key, tiers.settings.ttl_jitter, "l1")
            self._remember(stored.value, own, left, age + left, age, stored.load_seconds, stored.tags)
        return CacheResult(cast("T", stored.value), "l2", age, stale=left < 0)

    def _will_do(self, stored: Stored, left: float) -> bool:
        """Tell whether an answer with so much of its life left may be returned."""
        return left + self._tiers.settings.stale_while_revalidate_seconds >= 0

    def _remember(
        self,
        value: object,
        own: float,
        left: float,
        life: float,
        age: float,
        load_seconds: float,
        tags: tuple[str, ...],
    ) -> None:
        """Keep an answer in memory for `own` seconds, but never for longer than is `left` of its `life`."""
        tiers = self._tiers
        now = tiers.clock()
        held = tiers.memory.peek(self._full_key, now)
        if held is not None and held.born_s > now - age + _SAME_BIRTH_S:
            return  # what was set while this was under way is younger
        ttl = max(min(own, left), 0.0)
        expires = now + ttl
        if own < left:  # Redis will have it: renewing takes a read
            early = early_from_s(tiers.settings, expires - own, expires, tiers.remote_read_seconds)
        else:
            early = early_from_s(tiers.settings, expires - life, expires, load_seconds)
        tiers.memory.set(
            self._full_key,
            value,
            ttl_seconds=ttl,
            stale_seconds=max(tiers.stale_seconds + min(left, 0.0), 0.0),
            born_s=now - age,
            refresh_s=early,
            load_seconds=load_seconds,
            tags=tags,
        )


class Fetch(Reading[T]):
    """The whole way, once for all who wait."""

    def __init__(
        self,
        tiers: Tiers,
        counts: Counts,
        wanted: Wanted[T],
        *,
        namespace: str,
        behind: bool = False,
        renewing: Entry | None = None,
    ) -> None:
        """Prepare a walk.

        Args:
            tiers: Where to look.
            counts: The namespace's.
            wanted: What is asked for.
            namespace: For events, which name no key.
            behind: Whether this is behind the backs of callers who were served already: a stale answer in
                Redis will not do then.
            renewing: The answer at hand that is to be renewed before its end; None when there is none.
        """
        super().__init__(tiers, wanted.full_key, wanted.l1_ttl_seconds)
        self._counts = counts
        self._wanted = wanted
        self._namespace = namespace
        self._behind = behind
        self._renewing = renewing
        self._old: Stored | None = None

    async def __call__(self, flight: Flight) -> CacheResult[T]:
        """Walk, once for all who wait.

        Raises:
            Exception: what the load raised, when no older answer may stand in for it.
        """
        found = await self.from_remote(lambda: not flight.overtaken)
        if found is not None:
            return found
        lock = self._tiers.lock
        if lock is None:
            return await self._from_origin(flight)
        return await self._alone(lock, flight)

    async def _alone(self, lock: RemoteLock, flight: Flight) -> CacheResult[T]:
        """Ask the origin as the one instance that does, or take what that one brings.

        Redis is read once more under the lock: another instance may have brought the answer just before.
        Whoever waited in vain, because the lease ran out or Redis is away, asks the origin all the same.
        """
        key = self._wanted.full_key
        token = await lock.acquire(key)
        if token is None:
            arrived = await lock.wait(key, has_arrived=lambda: self.from_remote(lambda: not flight.overtaken))
            return await self._from_origin(flight) if arrived is None else arrived
        try:
            found = await self.from_remote(lambda: not flight.overtaken)
            return await self._from_origin(flight) if found is None else found
        finally:
            await lock.release(key, token)

    def _will_do(self, stored: Stored, left: float) -> bool:
        allowed = left >= 0 if self._behind else super()._will_do(stored, left)
        if allowed and not self._asks_again(stored, left):
            return True
        self._old = stored
        return False

    def _asks_again(self, stored: Stored, left: float) -> bool:
        """Tell whether a renewal that finds this in Redis still has to ask the origin."""
        tiers, renewing = self._tiers, self._renewing
        if renewing is None:
            return False
        if left <= renewing.expires_s - tiers.clock():
            return True  # it ends no later than what is at hand: nobody has renewed it yet
        life = stored.fresh_until_s - stored.born_s
        early = early_from_s(tiers.settings, 0.0, life, stored.load_seconds)
        return is_due(tiers.settings, life - left, early, life, tiers.rng)

    async def _from_origin(self, flight: Flight) -> CacheResult[T]:
        tiers, counts = self._tiers, self._counts
        born, born_epoch = tiers.clock(), tiers.epoch()
        counts.loads += 1
        counts.background += not flight.waiters
        try:
            value = await self._wanted.load()
        except BaseException as failure:
            counts.load_errors += 1
            older = await self._older(failure) if isinstance(failure, Exception) else None
            if older is None:
                raise
            return older
        took = tiers.clock() - born
        counts.load_seconds += took
        if not flight.overtaken:
            await self._keep(value, born_epoch, took)
        return CacheResult(value, "origin", tiers.clock() - born)

    async def _keep(self, value: T, born_epoch: float, took: float) -> None:
        """Keep a new answer in both tiers, in memory first: Redis may be slow.

        Both times to live count from when the origin was asked, and so have passed in part already.
        """
        tiers, wanted, settings = self._tiers, self._wanted, self._tiers.settings
        key, jitter = wanted.full_key, settings.ttl_jitter
        ttl = wanted.l2_ttl_seconds
        if tiers.adaptive_ttl is not None:
            ttl = self._learned(tiers.adaptive_ttl, value, born_epoch)
        if value is None:
            ttl = min(ttl, settings.negative_ttl_seconds)
        ttl = jittered_seconds(ttl, key, jitter, "l2")
        own = jittered_seconds(wanted.l1_ttl_seconds, key, jitter, "l1") - took
        self._remember(value, max(own, 0.0), max(ttl - took, 0.0), ttl, took, took, wanted.tags)
        if tiers.remote is not None:
            tiers.coherence.writing(key, born_epoch)
            written = await tiers.remote.write(
                key,
                value,
                ttl_seconds=ttl,
                born_epoch_s=born_epoch,
                stale_seconds=tiers.stale_seconds,
                load_seconds=took,
                tags=wanted.tags,
            )
            if written == "outrun":
                tiers.memory.delete(key)  # another instance knows something younger

    def _learned(self, adaptive: AdaptiveTtl, value: T, born_epoch: float) -> float:
        """Compare the answer with the one before, and return how long it may live by what was learnt."""
        try:
            payload = GENERAL.encode(value)[2]
        except NotEncodable:
            return self._wanted.l2_ttl_seconds
        adaptive.refreshed(self._namespace, self._wanted.full_key, digest_of(payload), born_epoch)
        return adaptive.ttl_seconds(self._namespace, self._wanted.l2_ttl_seconds)

    async def _older(self, failure: Exception) -> CacheResult[T] | None:
        """Return an answer that may stand in for a new one, and let the origin rest for a while."""
        tiers, settings, key = self._tiers, self._tiers.settings, self._wanted.full_key
        now, bound = tiers.clock(), settings.stale_if_error_seconds
        if self._behind:
            bound = max(bound, settings.stale_while_revalidate_seconds)
        entry, tier = tiers.usable(key, now), "l1"
        if entry is not None and await self._was_taken_back(entry):
            tiers.memory.delete(key)
            return None
        if entry is None and self._old is not None:
            age = tiers.epoch() - self._old.born_s
            left = self._old.fresh_until_s - tiers.epoch()
            self._remember(
                self._old.value, 0.0, left, age + left, age, self._old.load_seconds, self._old.tags
            )
            entry, tier = tiers.usable(key, now), "l2"
            if left + bound < 0:
                return None
        if entry is None or now > entry.expires_s + bound:
            return None
        entry.rest(now + settings.retry_after_error_seconds)
        tiers.probe(RenewalFailed(self._namespace, f"{type(failure).__name__}: {failure}"))
        stale = now > entry.expires_s or tier == "l2"
        return CacheResult(cast("T", entry.value), cast("Tier", tier), now - entry.born_s, stale=stale)

    async def _was_taken_back(self, entry: Entry) -> bool:
        """Tell whether Redis knows of something younger than what is held, an invalidation for instance.

        Where no messages are heard (`coherence: off`) nobody else would say so.
        """
        tiers = self._tiers
        if tiers.remote is None:
            return False
        born_epoch_s = await tiers.remote.born_of(self._wanted.full_key)
        held_epoch_s = tiers.epoch() - (tiers.clock() - entry.born_s)
        return born_epoch_s is not None and born_epoch_s > held_epoch_s + _SAME_BIRTH_S
