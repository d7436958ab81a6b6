"""What the caches of all namespaces of one instance share: the tiers, what is under way, and what is heard.

A cache is a view of one namespace; the room in memory, the connection to Redis, the flights and the
messages from other instances are the process's. Every key in here is a full key: namespace and key.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from perfkit.cache.adaptive_ttl import AdaptiveTtl
from perfkit.cache.advise import Advisor
from perfkit.cache.codecs import GENERAL, Codecs, Dictionary
from perfkit.cache.coherence import EVERYTHING, Backplane, Coherence, Recovery, Silent, TagTimes, Tracking
from perfkit.cache.entry import Entry
from perfkit.cache.freshness import jittered_seconds
from perfkit.cache.lock import RemoteLock
from perfkit.cache.memory import MemoryTier
from perfkit.cache.record import Recorder
from perfkit.cache.remote import RemoteTier, Stored, Written
from perfkit.cache.settings import CacheSettings
from perfkit.clock import Clock, epoch_s, now_s
from perfkit.errors import Unavailable
from perfkit.events import EntryRemoved, Probe, RemovalCause, log_probe
from perfkit.resilience import SingleFlight

if TYPE_CHECKING:
    from perfkit.cache.ahead import Ahead

__all__ = ["Tiers"]

_TOMBSTONE_SECONDS = 60.0
"""How long an invalidation holds off loads that began before it: longer than a load takes."""

_READ_WEIGHT = 0.1
"""How much the latest read of Redis counts in the running mean of how long one takes."""


class Tiers:
    """Memory, Redis and the flights between them; hears what other instances changed."""

    def __init__(
        self,
        settings: CacheSettings | None = None,
        *,
        remote: RemoteTier | None = None,
        memory: MemoryTier | None = None,
        lock: RemoteLock | None = None,
        coherence: Coherence | None = None,
        tags: TagTimes | None = None,
        recorder: Recorder | None = None,
        advisor: Advisor | None = None,
        clock: Clock = now_s,
        epoch: Clock = epoch_s,
        probe: Probe = log_probe,
        rng: random.Random | None = None,
    ) -> None:
        """Put parts together; `Tiers.over` makes them of a client as the settings say.

        Args:
            settings: Default: the knobs' defaults.
            remote: Redis; without it memory is all there is.
            memory: Default: as the settings say.
            lock: Lets one instance at a time ask the origin for a key; without it all may.
            coherence: Tells and hears of changes; without it nothing is said.
            tags: The times of tags; without it they are known here alone.
            recorder: Hears of every request; closed with the rest.
            advisor: Hears of what the recorder draws, and can say what other settings would bring.
            clock: What times to live count on.
            epoch: The same for what Redis holds.
            probe: Hears what should be known.
            rng: Draws when an answer is renewed early.
        """
        self.settings = settings = settings or CacheSettings()
        self.remote = remote
        self.lock = lock
        self.clock = clock
        self.epoch = epoch
        self.probe = probe
        self.rng = rng = rng or random.Random()  # noqa: S311  # spreads refreshes, guards nothing
        self.memory = memory if memory is not None else self._new_memory()
        self.flights: SingleFlight[str, Any] = SingleFlight()
        self.coherence = coherence or Silent()
        self.tags = tags or TagTimes(_nobody, prefix="", epoch=epoch, clock=clock)
        self.ahead: Ahead | None = None
        """What fetches ahead, for all namespaces; made by the first that serves, where the knobs say so."""
        self.recorder = recorder
        self.advisor = advisor
        self.adaptive_ttl = AdaptiveTtl.of(settings)
        self.recovery = Recovery(
            replay_key=self._say_key, replay_tag=self._say_tag, clock=clock, rng=rng, probe=probe
        )
        self.changes = 0
        """Grows with every change; a read that began before the latest is not kept."""
        self.doubted_until_s = -math.inf
        """What memory took in until then is looked at twice: a tag was taken back, or a message missed."""
        self._trusted_from_s = -math.inf
        self.remote_read_seconds = 0.0
        """How long a read of Redis takes of late."""
        self._hearing = False

    @classmethod
    def over(
        cls,
        client: Any,
        settings: CacheSettings | None = None,
        *,
        prefix: str,
        alone: bool = False,
        record_to: str | None = None,
        record_secret: bytes | None = None,
        codecs: Codecs = GENERAL,
        dictionaries: Iterable[Dictionary] = (),
        clock: Clock = now_s,
        epoch: Clock = epoch_s,
        probe: Probe = log_probe,
        rng: random.Random | None = None,
    ) -> Tiers:
        """Make all parts over one client, as the settings say.

        Args:
            client: A Redis client that raises when Redis is away, or a function that opens one.
            settings: Default: the knobs' defaults.
            prefix: Stands before every key, so that one server can serve many services.
            alone: There is no other instance, so nothing need be said or heard.
            record_to: The file that requests are recorded to, when `record_share` is above 0; None for none.
            record_secret: What recorded keys are hashed with; the same for all instances, or None.
            codecs: How values are written to Redis.
            dictionaries: For compressing them; see `train_dictionary`.
            advisor: Hears of what the recorder draws, and can say what other settings would bring.
            clock: What times to live count on.
            epoch: The same for what Redis holds; the clocks of all instances must roughly agree.
            probe: Hears what should be known.
            rng: Draws when an answer is renewed early, and what waits between attempts.
        """
        settings = settings or CacheSettings()
        remote = RemoteTier(
            client,
            prefix=prefix,
            epoch=epoch,
            compress_min_bytes=settings.l2_compress_min_bytes,
            entry_max_bytes=settings.l2_entry_max_bytes,
            codecs=codecs,
            dictionaries=dictionaries,
            tombstone_seconds=max(
                _TOMBSTONE_SECONDS, settings.lock_lease_seconds, settings.hard_timeout_seconds
            ),
            probe=probe,
        )
        recorder = advisor = None
        if settings.record_share:
            advisor = Advisor.around(settings, share=settings.record_share)
            recorder = Recorder(
                settings.record_share,
                record_to,
                secret=record_secret,
                hears=advisor,
                clock=clock,
                epoch=epoch,
            )
        lock = None
        if settings.lock_lease_seconds and not alone:
            lease = settings.lock_lease_seconds
            lock = RemoteLock(client, prefix=prefix, lease_seconds=lease, clock=clock, rng=rng, probe=probe)
        coherence: Coherence | None = None
        if settings.coherence == "backplane" and not alone:
            coherence = Backplane(client, prefix=prefix, epoch=epoch, clock=clock, rng=rng, probe=probe)
        elif settings.coherence == "tracking" and not alone:
            coherence = Tracking(
                client,
                prefix=prefix,
                born_of=remote.born_of,
                epoch=epoch,
                clock=clock,
                rng=rng,
                probe=probe,
            )
        return cls(
            settings,
            remote=remote,
            lock=lock,
            coherence=coherence,
            tags=TagTimes(client, prefix=prefix, epoch=epoch, clock=clock),
            recorder=recorder,
            advisor=advisor,
            clock=clock,
            epoch=epoch,
            probe=probe,
            rng=rng,
        )

    @property
    def stale_seconds(self) -> float:
        """How long past its end an answer is kept at all."""
        settings = self.settings
        return max(settings.stale_while_revalidate_seconds, settings.stale_if_error_seconds)

    async def read(self, full_key: str) -> Stored | None:
        """Return what Redis holds of a key, fresh or stale, unless it was taken back."""
        if self.remote is None:
            return None
        await self._hear()
        began, failures = self.clock(), self.remote.failures
        stored = await self.remote.get(full_key)
        self._read_took(self.clock() - began)
        if self.remote.failures == failures:
            self.recovery.redis_answered()
        if stored is None:
            return None
        owed = self.recovery.pending(full_key)
        if owed is not None and stored.born_s <= owed:
            return None  # Redis does not know yet that it was taken back
        void = await self.tags.void((*stored.tags, _everything(full_key)), stored.born_s)
        return None if void else stored

    async def put(
        self,
        full_key: str,
        value: object,
        *,
        l1_ttl_seconds: float,
        l2_ttl_seconds: float,
        tags: tuple[str, ...] = (),
    ) -> None:
        """Store a value that is born now, and let other instances forget what they hold of the key."""
        at, jitter = self.epoch(), self.settings.ttl_jitter
        l1_ttl = jittered_seconds(l1_ttl_seconds, full_key, jitter, "l1")
        l2_ttl = jittered_seconds(l2_ttl_seconds, full_key, jitter, "l2")
        self.overtake(full_key)
        self.memory.set(
            full_key,
            value,
            ttl_seconds=min(l1_ttl, l2_ttl),
            stale_seconds=self.stale_seconds,
            born_s=self.clock(),
            tags=tags,
        )
        if self.remote is None:
            return
        await self._hear()
        self.coherence.writing(full_key, at)
        written: Written = "away"
        told = False
        try:
            written = await self.remote.write(
                full_key,
                value,
                ttl_seconds=l2_ttl,
                born_epoch_s=at,
                stale_seconds=self.stale_seconds,
                tags=tags,
            )
            told = await self.coherence.key_changed(full_key, at) and written != "away"
        finally:
            self.overtake(full_key)  # whoever looked meanwhile may have found the older one
            if written == "outrun":
                self.memory.delete(full_key)  # another instance knows something younger
            elif not told:
                self.recovery.add_key(full_key, at)

    async def invalidate(self, full_key: str) -> bool:
        """Take back what is stored under a key; return whether Redis and the other instances were told."""
        at = self.epoch()
        self.drop(full_key)
        told = False
        try:
            told = await self._say_key(full_key, at)
        finally:
            self.drop(full_key)  # whoever looked meanwhile may have found what was being taken back
            if not told:
                self.recovery.add_key(full_key, at)
        return told

    async def invalidate_tag(self, full_tag: str) -> bool:
        """Take back all that carries a tag; return whether Redis and the other instances were told."""
        at = self.epoch()
        self.tag_invalidated(full_tag, at)
        told = False
        try:
            told = await self._say_tag(full_tag, at)
        finally:
            if not told:
                self.recovery.add_tag(full_tag, at)
        return told

    def key_invalidated(self, full_key: str, at_epoch_s: float) -> None:
        """Hear that another instance changed a key."""
        self.drop(full_key)

    def tag_invalidated(self, tag: str, at_epoch_s: float) -> None:
        """Hear that a tag was taken back."""
        self.changes += 1
        self.tags.learn(tag, at_epoch_s)
        self.doubted_until_s = self.clock()

    def missed_some(self) -> None:
        """Hear that something may not have been heard."""
        self.changes += 1
        self.tags.doubt()
        self.doubted_until_s = self._trusted_from_s = self.clock()

    def overtake(self, full_key: str) -> None:
        """Let whatever is under way for a key be kept nowhere, because something newer is known."""
        self.changes += 1
        self.flights.forget(full_key)
        if self.adaptive_ttl is not None:
            self.adaptive_ttl.forget(full_key)  # what is announced says nothing of what changes unannounced

    def drop(self, full_key: str) -> None:
        """Forget a key here and now."""
        self.overtake(full_key)
        self.memory.delete(full_key)

    def usable(self, full_key: str, now: float) -> Entry | None:
        """Return what memory holds of a key, fresh or stale, unless it was taken back or is not trusted."""
        entry = self.memory.peek(full_key, now)
        if entry is None or entry.filled_s > self.doubted_until_s:
            return entry
        if entry.filled_s <= self._trusted_from_s:
            return None
        born_epoch = self.epoch() - (now - entry.born_s)
        return None if self.tags.is_void((*entry.tags, _everything(full_key)), born_epoch) else entry

    def _read_took(self, seconds: float) -> None:
        self.remote_read_seconds += _READ_WEIGHT * (seconds - self.remote_read_seconds)

    async def aclose(self) -> None:
        """End what is under way; Redis is closed by whoever opened it."""
        await self.flights.aclose()
        await self.coherence.aclose()
        await self.recovery.aclose()
        await self.tags.aclose()
        if self.recorder is not None:
            self.recorder.close()

    async def _hear(self) -> None:
        if not self._hearing:
            self._hearing = True
            await self.coherence.start(self)

    async def _say_key(self, full_key: str, at_epoch_s: float) -> bool:
        """Tell Redis, then the others: who asks Redis after hearing must not find the old."""
        if self.remote is None:
            return True
        await self._hear()
        self.coherence.writing(full_key, at_epoch_s)
        told = await self.remote.invalidate(full_key, at_epoch_s=at_epoch_s)
        return await self.coherence.key_changed(full_key, at_epoch_s) and told

    async def _say_tag(self, full_tag: str, at_epoch_s: float) -> bool:
        if self.remote is None:
            return True
        await self._hear()
        told = await self.tags.invalidate(full_tag, at_epoch_s)
        return await self.coherence.tag_changed(full_tag, at_epoch_s) and told

    def _new_memory(self) -> MemoryTier:
        settings = self.settings
        return MemoryTier(
            max_entries=settings.l1_max_entries,
            max_bytes=settings.l1_max_bytes,
            policy=settings.l1_policy,
            clock=self.clock,
            on_remove=self._removed,
        )

    def _removed(self, key: str, cause: RemovalCause) -> None:
        if cause == "refused":
            self.probe(EntryRemoved(key, cause))


def _everything(full_key: str) -> str:
    """Return the tag that every entry of a key's namespace has."""
    return full_key[: full_key.index(":") + 1] + EVERYTHING


async def _nobody() -> Any:
    raise Unavailable("There is no Redis behind this cache.", dependency="redis")
