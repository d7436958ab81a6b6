"""What memory may serve at once, and when somebody has to go and ask.

fresh                         serve
fresh, but due for renewal    serve, and renew in the background
past its end, revalidating    serve, and renew in the background      stale-while-revalidate (RFC 5861)
past its end, origin resting  serve                                   after a failed renewal
past its end, else            ask; after the soft timeout serve it    stale-if-error (RFC 5861)
nothing held                  ask; after the hard timeout give up, while the asking goes on
"""

from __future__ import annotations

from typing import Any, TypeVar

from perfkit.cache.ahead import Ahead
from perfkit.cache.entry import Entry
from perfkit.cache.fetch import CacheResult, Fetch, Reading, Tier, Wanted
from perfkit.cache.freshness import is_due
from perfkit.cache.prefetch import Prefetcher
from perfkit.cache.stats import Counts
from perfkit.cache.tiers import Tiers
from perfkit.errors import LoadTimeout
from perfkit.resilience import OutOfPatience

__all__ = ["Serving"]

T = TypeVar("T")


class Serving:
    """Serves one namespace out of shared tiers, and counts what it served."""

    def __init__(self, tiers: Tiers, namespace: str) -> None:
        self.counts = Counts()
        self.cost_per_load = 0.0
        self._tiers = tiers
        self._namespace = namespace
        self._settings = tiers.settings
        self._get = tiers.memory.get
        if tiers.ahead is None:
            prefetcher = Prefetcher.of(tiers.settings, held=tiers.memory.peek, clock=tiers.clock)
            tiers.ahead = Ahead(tiers, prefetcher) if prefetcher is not None else None
        self.ahead = tiers.ahead
        self._recorder = tiers.recorder
        self._watched = self._recorder is not None or self.ahead is not None
        self._clock = tiers.clock

    def held(self, full_key: str) -> Entry | None:
        """Return what memory can answer without a thought, and count it as a hit.

        None means: ask. Perhaps nothing is held, perhaps it is past its end, or due for renewal.
        """
        now = self._clock()
        entry = self._get(full_key, now)
        if entry is None or now > entry.refresh_s or entry.filled_s <= self._tiers.doubted_until_s:
            return None
        counts = self.counts
        counts.l1_hits += 1
        counts.saved_seconds += entry.load_seconds
        counts.hit_bytes += entry.weight
        if self._watched:
            self._watch(full_key, "l1")
        return entry

    async def ask(self, wanted: Wanted[T]) -> CacheResult[T]:
        """Answer a request that `held` has nothing for."""
        result = await self._asked(wanted)
        if self._watched:
            if self.ahead is not None:
                self.ahead.asked(wanted, self._fetch, loaded=result.tier == "origin")
            self._watch(wanted.full_key, result.tier)
        return result

    async def _asked(self, wanted: Wanted[T]) -> CacheResult[T]:
        tiers, counts, settings = self._tiers, self.counts, self._settings
        counts.asked += 1
        now = self._clock()
        entry = tiers.usable(wanted.full_key, now)
        if entry is not None:
            if now <= entry.expires_s:
                if is_due(settings, now, entry.refresh_s, entry.expires_s, tiers.rng):
                    self._renew(wanted, entry)
                return self._hit(entry, now)
            if now < entry.refresh_s:  # the origin failed lately and rests
                return self._hit(entry, now)
            if now <= entry.expires_s + settings.stale_while_revalidate_seconds:
                self._renew(wanted)
                return self._hit(entry, now)
        result, joined = await self._patiently(wanted)
        if joined:
            counts.joined += 1
            return CacheResult(result.value, "joined", result.age_seconds, stale=result.stale)
        self._weigh(wanted.full_key, result.tier)
        if result.tier == "l2":
            counts.l2_hits += 1
            self._renew_if_due(wanted, result)
        elif result.tier == "l1":
            counts.l1_hits += 1
            counts.asked -= 1
        counts.stale += result.stale
        return result

    async def find(self, full_key: str) -> CacheResult[Any] | None:
        """Return what is stored without asking the origin, and count it."""
        tiers, counts, settings = self._tiers, self.counts, self._settings
        counts.asked += 1
        now = self._clock()
        entry = tiers.usable(full_key, now)
        if entry is not None and now <= entry.expires_s:
            return self._hit(entry, now)
        changes = tiers.changes
        reading: Reading[Any] = Reading(tiers, full_key, settings.l1_ttl_seconds)
        found = await reading.from_remote(lambda: tiers.changes == changes)
        counts.l2_hits += found is not None
        return found

    async def _patiently(self, wanted: Wanted[T]) -> tuple[CacheResult[T], bool]:
        """Wait for an answer, but no longer than is allowed, or than makes sense when a stale one is held."""
        settings, flights = self._settings, self._tiers.flights
        fetch = self._fetch(wanted)
        soft, hard, led = settings.soft_timeout_seconds, settings.hard_timeout_seconds, False
        if soft and self._tiers.stale_seconds and (not hard or soft < hard):
            try:
                return await flights.run(wanted.full_key, fetch, within_seconds=soft)
            except OutOfPatience as over:
                led = not over.joined
                stale = self._stale_for(wanted.full_key, soft)
                if stale is not None:
                    return stale, False
        else:
            soft = 0.0
        try:
            within = hard - soft if hard else None
            result, joined = await flights.run(wanted.full_key, fetch, within_seconds=within)
            return result, joined and not led
        except OutOfPatience:
            self.counts.timeouts += 1
            raise LoadTimeout(
                f"No answer within {hard:g} s (cache.hard_timeout_seconds). It is still being fetched and "
                "will be kept: ask again, or allow more time.",
                dependency="origin",
            ) from None

    def _stale_for(self, full_key: str, seconds: float) -> CacheResult[Any] | None:
        """Return a stale answer in place of one that is long in coming; others get it at once for a while."""
        now = self._clock()
        entry = self._tiers.usable(full_key, now)
        if entry is None:
            return None
        entry.rest(now + seconds)
        self.counts.timeouts += 1
        return self.result(entry)

    def _renew_if_due(self, wanted: Wanted[T], result: CacheResult[T]) -> None:
        """Renew what Redis gave near or past its end; this caller need not wait for it."""
        now, tiers = self._clock(), self._tiers
        entry = tiers.usable(wanted.full_key, now)
        if entry is None:
            return
        if result.stale:
            self._renew(wanted)
        elif now >= entry.refresh_s and is_due(
            self._settings, now, entry.refresh_s, entry.expires_s, tiers.rng
        ):
            self._renew(wanted, entry)

    def _fetch(self, wanted: Wanted[T]) -> Fetch[T]:
        return Fetch(self._tiers, self.counts, wanted, namespace=self._namespace)

    def _renew(self, wanted: Wanted[T], entry: Entry | None = None) -> None:
        fetch = Fetch(
            self._tiers, self.counts, wanted, namespace=self._namespace, behind=True, renewing=entry
        )
        self._tiers.flights.start(wanted.full_key, fetch)

    def _hit(self, entry: Entry, now: float) -> CacheResult[Any]:
        counts = self.counts
        counts.l1_hits += 1
        counts.asked -= 1  # what memory answers is not asked for
        counts.stale += now > entry.expires_s
        counts.saved_seconds += entry.load_seconds
        counts.hit_bytes += entry.weight
        return self.result(entry)

    def _weigh(self, full_key: str, tier: Tier) -> None:
        """Count the bytes of an answer that memory had not, and the time that Redis saved."""
        entry = self._tiers.memory.peek(full_key)
        if entry is None:
            return  # too heavy for memory, or overtaken
        if tier == "origin":
            self.counts.load_bytes += entry.weight
        else:
            self.counts.hit_bytes += entry.weight
            self.counts.saved_seconds += entry.load_seconds

    def _watch(self, full_key: str, tier: Tier) -> None:
        """Let the recorder and the prefetcher know of a request that was answered."""
        if self.ahead is not None:
            self.ahead.follow(full_key)
        if self._recorder is not None:
            entry = self._tiers.memory.peek(full_key)
            loaded = tier == "origin"
            self._recorder.asked(
                full_key,
                tier,
                namespace=self._namespace,
                size=0 if entry is None else entry.weight,
                load_seconds=entry.load_seconds if loaded and entry is not None else 0.0,
                cost=self.cost_per_load if loaded else 0.0,
            )

    def result(self, entry: Entry) -> CacheResult[Any]:
        """Return what memory holds as an answer."""
        now = self._clock()
        return CacheResult(
            entry.value, "l1", now - entry.born_s, now - entry.filled_s, stale=now > entry.expires_s
        )
