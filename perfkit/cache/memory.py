"""The memory tier: the entries one instance keeps at hand, bounded in number and in bytes.

Expiry is noticed, never scheduled: a look-up compares the clock with the entry's own time, so nothing wakes
up and no sweep stalls the loop. What that leaves behind is handled by policy. Under `lru` an expired entry
keeps its place until it is refetched or pushed out, which makes the tier equal to the textbook cache that a
sweep models exactly. Under the other policies each `set` also removes a few entries that expired, earliest
first, out of buckets one second wide.

Not thread-safe: it belongs to one event loop, like everything above it.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable

from perfkit.cache.entry import Entry
from perfkit.cache.policies.base import make_policy
from perfkit.clock import Clock, now_s
from perfkit.errors import SettingsError
from perfkit.events import RemovalCause

__all__ = ["MemoryTier", "default_weight"]

_RECLAIMED_AT_ONCE = 16
"""Expired entries removed by one `set`: more than it adds, so they cannot gather; few, so it stays quick."""

_FOREVER_S = 1e12
"""Entries without an end share the bucket of this second."""


def default_weight(value: object) -> int:
    """Return about how many bytes a value takes: its length for bytes, else what Python holds for it.

    >>> default_weight(b"12345")
    5
    >>> default_weight(["a" * 1000, "a" * 1000]) > 2000
    True
    """
    if isinstance(value, bytes | bytearray):
        return len(value)
    total = 0
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        total += sys.getsizeof(item)
        if isinstance(item, str | bytes | int | float) or item is None:
            continue
        if id(item) not in seen:
            seen.add(id(item))
            waiting.extend(_inside(item))
    return total


class MemoryTier:
    """Entries by key, each with a time to live, and a policy for which leaves when there is no more room.

    A value is stored and returned as the object it is: change a copy, not what `get` returned.

    >>> now = 100.0
    >>> tier = MemoryTier(max_entries=2, max_bytes=1_000, policy="lru", clock=lambda: now)
    >>> tier.set("a", b"apple", ttl_seconds=60)
    >>> now = 160.0
    >>> tier.get("a").value, tier.bytes
    (b'apple', 5)
    >>> now = 160.1
    >>> tier.get("a") is None
    True
    """

    def __init__(
        self,
        *,
        max_entries: int,
        max_bytes: int,
        policy: str = "s3fifo",
        clock: Clock = now_s,
        weigh: Callable[[object], int] = default_weight,
        on_remove: Callable[[str, RemovalCause], None] | None = None,
    ) -> None:
        """Make an empty tier.

        Args:
            max_entries: Entries, including expired ones that still hold a place.
            max_bytes: The sum of the entries' weights; a heavier value never enters.
            policy: `lru`, `sieve` or `s3fifo`.
            clock: What time it is; TTLs count on it.
            weigh: A value's bytes, asked once when it is set.
            on_remove: Told of every entry that leaves and why; it must not call the tier.

        Raises:
            SettingsError: there is no such policy, or a bound is below 1.
        """
        if max_bytes < 1:
            raise SettingsError(
                f"max_bytes={max_bytes} is refused: nothing would fit. Write 1 or more.",
                path="max_bytes",
                value=max_bytes,
                allowed=">= 1",
            )
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.bytes = self.peak_bytes = 0
        self.hits = self.misses = self.evictions = self.expirations = 0
        self._entries: dict[str, Entry] = {}
        self._policy = make_policy(policy, max_entries)
        self._expiries = _ExpiryBuckets() if self._policy.reclaims_expired else None
        self._clock = clock
        self._weigh = weigh
        self._on_remove = on_remove

    def __len__(self) -> int:
        """Return how many entries hold a place, expired ones included."""
        return len(self._entries)

    def peek(self, key: str, now: float | None = None) -> Entry | None:
        entry = self._entries.get(key)
        now = self._clock() if now is None else now
        return None if entry is None or now > entry.stale_until_s else entry

    def get(self, key: str, now: float | None = None) -> Entry | None:
        """Return the entry of `key`, or None when it is absent or expired."""
        entry = self._entries.get(key)
        if entry is None or (self._clock() if now is None else now) > entry.expires_s:
            self.misses += 1
            return None
        self.hits += 1
        self._policy.touch(key)
        return entry

    def set(
        self,
        key: str,
        value: object,
        *,
        ttl_seconds: float,
        born_s: float | None = None,
        stale_seconds: float = 0.0,
        refresh_s: float | None = None,
        load_seconds: float = 0.0,
        tags: tuple[str, ...] = (),
    ) -> None:
        """Keep a value while now ≤ the present + `ttl_seconds`, or until there is no room for it.

        Args:
            key: Any text.
            value: Any object; one heavier than `max_bytes` is refused, and what it would replace is removed.
            ttl_seconds: 0 keeps it for this instant alone; `math.inf` has no end.
            born_s: When the origin was asked for it, on this tier's clock; default now.

        Raises:
            SettingsError: `ttl_seconds` is negative or not a number.
        """
        if not ttl_seconds >= 0:  # also refuses NaN
            raise SettingsError(
                f"ttl_seconds={ttl_seconds} is refused: an entry cannot expire before it is stored. "
                "Write 0 or more.",
                path="ttl_seconds",
                value=ttl_seconds,
                allowed=">= 0",
            )
        now = self._clock()
        weight = self._weigh(value)
        entry = Entry(
            value,
            now if born_s is None else born_s,
            now,
            now + ttl_seconds,
            weight,
            now + ttl_seconds + stale_seconds,
            now + ttl_seconds if refresh_s is None else refresh_s,
            load_seconds,
            tags,
        )
        if self._expiries is not None:
            self._reclaim(self._expiries, now)
        if weight > self.max_bytes:
            self._refuse(key)
        elif key in self._entries:
            self._replace(key, entry, now)
        else:
            self._admit(key, entry, now)

    def delete(self, key: str) -> bool:
        """Remove the entry of `key` and return whether it could still have been served."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        expired = self._clock() > entry.expires_s
        self._policy.forget(key)
        self._take_out(key, "expired" if expired else "explicit")
        return not expired

    def clear(self) -> None:
        """Remove every entry."""
        for key in list(self._entries):
            self.delete(key)

    def reset_peak(self) -> None:
        """Let `peak_bytes` count from what is held now."""
        self.peak_bytes = self.bytes

    def _admit(self, key: str, entry: Entry, now: float) -> None:
        while len(self._entries) >= self.max_entries or self.bytes + entry.weight > self.max_bytes:
            self._evict(now)
        self._policy.admit(key)
        self._put_in(key, entry)

    def _replace(self, key: str, entry: Entry, now: float) -> None:
        """Refetch in place: the key keeps its standing with the policy, and this was a use."""
        self._take_out(key, "expired" if now > self._entries[key].expires_s else "replaced")
        self._policy.touch(key)
        while self.bytes + entry.weight > self.max_bytes:
            self._evict(now, sparing=key)
        self._put_in(key, entry)

    def _refuse(self, key: str) -> None:
        if key in self._entries:  # the old value must not be served for the new one
            self._policy.forget(key)
            self._take_out(key, "replaced")
        self._tell(key, "refused")

    def _evict(self, now: float, *, sparing: str | None = None) -> None:
        victim = self._policy.evict()
        if victim == sparing:
            self._policy.admit(victim)
            return
        expired = now > self._entries[victim].expires_s
        self._take_out(victim, "expired" if expired else "evicted")

    def _reclaim(self, expiries: _ExpiryBuckets, now: float) -> None:
        for _ in range(_RECLAIMED_AT_ONCE):
            key = expiries.due(now)
            if key is None:
                return
            self._policy.forget(key, expired=True)
            self._take_out(key, "expired")

    def _put_in(self, key: str, entry: Entry) -> None:
        self._entries[key] = entry
        self.bytes += entry.weight
        self.peak_bytes = max(self.peak_bytes, self.bytes)
        if self._expiries is not None:
            self._expiries.add(key, entry.stale_until_s)

    def _take_out(self, key: str, cause: RemovalCause) -> None:
        entry = self._entries.pop(key)
        self.bytes -= entry.weight
        self.expirations += cause == "expired"
        self.evictions += cause == "evicted"
        if self._expiries is not None:
            self._expiries.remove(key, entry.stale_until_s)
        self._tell(key, cause)

    def _tell(self, key: str, cause: RemovalCause) -> None:
        if self._on_remove is not None:
            self._on_remove(key, cause)


class _ExpiryBuckets:
    """Keys by the second in which they expire; the earliest second is always at hand."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[str, None]] = {}
        self._seconds: list[int] = []

    def add(self, key: str, expires_s: float) -> None:
        second = int(min(expires_s, _FOREVER_S))
        bucket = self._buckets.get(second)
        if bucket is None:
            bucket = self._buckets[second] = {}
            heapq.heappush(self._seconds, second)
        bucket[key] = None

    def remove(self, key: str, expires_s: float) -> None:
        # An empty bucket stays until its second has passed, so that no second is twice in the heap.
        self._buckets[int(min(expires_s, _FOREVER_S))].pop(key)

    def due(self, now: float) -> str | None:
        """Return a key whose second has wholly passed, without removing it."""
        while self._seconds and self._seconds[0] + 1 <= now:
            bucket = self._buckets[self._seconds[0]]
            if bucket:
                return next(reversed(bucket))
            del self._buckets[heapq.heappop(self._seconds)]
        return None


def _inside(item: object) -> list[object]:
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)
    return [vars(item)] if hasattr(item, "__dict__") and not isinstance(item, type) else []
