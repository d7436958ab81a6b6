"""What the caches of all namespaces of one instance share: the tiers, what is under way, and what is heard.

A cache is a view of one namespace; the room in memory, the connection to Redis, the flights and the
messages from other instances are the process's. Every key in here is a full key: namespace and key.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

from perfkit.cache.coherence.protocol import Coherence, Silent
from perfkit.cache.entry import Entry
from perfkit.cache.freshness import jittered_seconds
from perfkit.cache.memory import MemoryTier
from perfkit.cache.settings import CacheSettings
from perfkit.clock import Clock, epoch_s, now_s
from perfkit.events import EntryRemoved, Probe, RemovalCause, log_probe
from perfkit.resilience import SingleFlight

if TYPE_CHECKING:
    from perfkit.cache.remote import RemoteTier, Stored

__all__ = ["Tiers"]

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
        clock: Clock = now_s,
        epoch: Clock = epoch_s,
        probe: Probe = log_probe,
        rng: random.Random | None = None,
    ) -> None:
        self.lock: Any = None
        self.coherence: Coherence = Silent()
        self.tags: Any = None
        self.recovery: Any = None
        self.settings = settings = settings or CacheSettings()
        self.remote = remote
        self.clock = clock
        self.epoch = epoch
        self.probe = probe
        self.rng = rng or random.Random()  # noqa: S311  # spreads refreshes, guards nothing
        self.memory = memory if memory is not None else self._new_memory()
        self.flights: SingleFlight[str, Any] = SingleFlight()
        self.changes = 0
        """Grows with every change; a read that began before the latest is not kept."""
        self.trusted_from_s = -math.inf
        """What memory took in before is not served without asking Redis: something may have been missed."""
        self.remote_read_seconds = 0.0
        """How long a read of Redis takes of late."""

    @property
    def stale_seconds(self) -> float:
        """How long past its end an answer is kept at all."""
        settings = self.settings
        return max(settings.stale_while_revalidate_seconds, settings.stale_if_error_seconds)

    async def read(self, full_key: str) -> Stored | None:
        """Return what Redis holds of a key, fresh or stale, unless it was taken back."""
        if self.remote is None:
            return None
        began = self.clock()
        stored = await self.remote.get(full_key)
        self._read_took(self.clock() - began)
        return stored

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
        told = False
        try:
            told = await self.remote.set(
                full_key,
                value,
                ttl_seconds=l2_ttl,
                born_epoch_s=at,
                stale_seconds=self.stale_seconds,
                tags=tags,
            )
            told = await self.coherence.key_changed(full_key, at) and told
        finally:
            self.overtake(full_key)  # whoever looked meanwhile may have found the older one
            if not told and self.recovery:
                self.recovery.add_key(full_key, at)

    async def invalidate(self, full_key: str) -> bool:
        """Take back what is stored under a key; return whether Redis and the other instances were told."""
        at = self.epoch()
        self.drop(full_key)
        told = False
        try:
            told = self.remote is None or await self.remote.invalidate(full_key, at_epoch_s=at)
            told = await self.coherence.key_changed(full_key, at) and told
        finally:
            self.drop(full_key)  # whoever looked meanwhile may have found what was being taken back
            if not told and self.recovery:
                self.recovery.add_key(full_key, at)
        return told

    async def invalidate_tag(self, full_tag: str) -> bool:
        """Take back all that carries a tag; return whether Redis and the other instances were told."""
        at = self.epoch()
        told = False
        try:
            told = await self.tags.invalidate(full_tag, at)
            told = await self.coherence.tag_changed(full_tag, at) and told
        finally:
            if not told and self.recovery:
                self.recovery.add_tag(full_tag, at)
        return told

    def key_invalidated(self, full_key: str, at_epoch_s: float) -> None:
        """Hear that another instance changed a key."""
        self.drop(full_key)

    def tag_invalidated(self, tag: str, at_epoch_s: float) -> None:
        """Hear that another instance took back a tag."""
        self.tags.heard(tag, at_epoch_s)

    def missed_some(self) -> None:
        """Hear that something may not have been heard."""
        self.changes += 1
        self.trusted_from_s = self.clock()

    def overtake(self, full_key: str) -> None:
        """Let whatever is under way for a key be kept nowhere, because something newer is known."""
        self.changes += 1
        self.flights.forget(full_key)

    def drop(self, full_key: str) -> None:
        """Forget a key here and now."""
        self.overtake(full_key)
        self.memory.delete(full_key)

    def usable(self, full_key: str, now: float) -> Entry | None:
        """Return what memory holds of a key, fresh or stale, unless it was taken back or is not trusted."""
        entry = self.memory.peek(full_key, now)
        if entry is None or entry.filled_s <= self.trusted_from_s:
            return None
        return entry

    def _read_took(self, seconds: float) -> None:
        self.remote_read_seconds += _READ_WEIGHT * (seconds - self.remote_read_seconds)

    async def aclose(self) -> None:
        """Cancel what is under way; Redis is closed by whoever opened it."""
        await self.flights.aclose()

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
