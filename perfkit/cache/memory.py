"""The memory tier: the entries one instance keeps at hand, bounded in number and in bytes.

One table, and a hit is little more than a look-up in it: the entry carries its own times and counts its own
uses, and the policy reads them when it needs a victim.

Expiry is noticed, never scheduled: a look-up compares the clock with the entry's own time, so nothing wakes
up and no sweep stalls the loop. What that leaves behind is handled by policy. Under `lru` an expired entry
keeps its place until it is refetched or pushed out, which makes the tier equal to the textbook cache that a
sweep models exactly. Under the other policies each `set` also removes a few entries whose time is up, stale
time included, earliest first (`perfkit.cache.expiries`). No operation ever looks at all that is held, `clear`
included.

Not thread-safe: it belongs to one event loop, like everything above it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Protocol

from perfkit.cache.entry import Entry, EntryInFull
from perfkit.cache.expiries import Expiries
from perfkit.cache.policies.base import EvictionPolicy, make_policy
from perfkit.clock import Clock, now_s
from perfkit.errors import SettingsError
from perfkit.events import RemovalCause

__all__ = ["LookUp", "MemoryTier", "default_weight"]

_RECLAIMED_AT_ONCE = 16
"""Expired entries removed by one `set`: more than it adds, so they cannot gather; few, so it stays quick."""

_CLEARED_AT_ONCE = 32
"""Entries of a cleared tier let go of by one `set`, and told of."""

_HEAVIEST_SHARE = 8
"""An entry may weigh an eighth of the tier: a heavier one would push out more than it can give back."""

_new = object.__new__


def default_weight(value: object) -> int:
    """Return about how many bytes a value takes: its length for bytes, else what Python holds for it.

    >>> default_weight(b"12345")
    5
    >>> default_weight(["a" * 1000, "a" * 1000]) > 2000
    True
    """
    kind = type(value)
    if kind is bytes or kind is bytearray:
        return len(value)  # type: ignore[arg-type]  # what it is was asked just now
    if kind is str:
        return sys.getsizeof(value)
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


class LookUp(Protocol):
    """The type of `MemoryTier.get`."""

    def __call__(self, key: str, now: float | None = None) -> Entry | None:
        """Return the entry of `key` while it is fresh, else None; it counts as a hit and a use, or a miss.

        Args:
            key: Any text.
            now: What the clock shows, when the caller has just asked it.
        """
        ...


class MemoryTier:
    """Entries by key, each with a time to live, and a policy for which leaves when there is no more room.

    A value is stored and returned as the object it is: change a copy, not what `get` returned.

    >>> now = 100.0
    >>> tier = MemoryTier(max_entries=2, max_bytes=1_000, policy="lru", clock=lambda: now)
    >>> _ = tier.set("a", b"apple", ttl_seconds=60, stale_seconds=30)
    >>> now = 160.0
    >>> tier.get("a").value, tier.bytes
    (b'apple', 5)
    >>> now = 160.1
    >>> tier.get("a") is None, tier.peek("a").value
    (True, b'apple')
    """

    __slots__ = (
        "_cleared",
        "_clock",
        "_counts",
        "_entries",
        "_expiries",
        "_gone",
        "_on_remove",
        "_policy",
        "_read",
        "_weigh",
        "bytes",
        "evictions",
        "expirations",
        "get",
        "max_bytes",
        "max_entries",
        "max_entry_bytes",
        "peak_bytes",
    )

    def __init__(
        self,
        *,
        max_entries: int,
        max_bytes: int,
        max_entry_bytes: int | None = None,
        policy: str | EvictionPolicy = "s3fifo",
        clock: Clock = now_s,
        weigh: Callable[[object], int] = default_weight,
        on_remove: Callable[[str, RemovalCause], None] | None = None,
    ) -> None:
        """Make an empty tier.

        Args:
            max_entries: Entries, including expired ones that still hold a place.
            max_bytes: The sum of the entries' weights.
            max_entry_bytes: A heavier value never enters; default: an eighth of `max_bytes`.
            policy: `lru`, `sieve`, `s3fifo` or `adaptive`; or one that is empty and no other tier's.
            clock: What time it is; TTLs count on it.
            weigh: A value's bytes, asked once when it is set.
            on_remove: Told of every entry that has left and why, once the tier is whole again.

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
        if max_entry_bytes is None:
            max_entry_bytes = max(1, max_bytes // _HEAVIEST_SHARE)
        self.max_entry_bytes = min(max_entry_bytes, max_bytes)
        self.bytes = self.peak_bytes = 0
        self.evictions = self.expirations = 0
        if isinstance(policy, str):
            policy = make_policy(policy, max_entries, max_bytes=max_bytes, clock=clock)
        self._policy = policy
        self.get: LookUp
        self.get, self._read, self._counts = _look_up(clock, policy.missed)
        self._clock = clock
        self._weigh = weigh
        self._on_remove = on_remove
        self._cleared: list[dict[str, Entry]] = []
        self._gone: list[tuple[str, RemovalCause]] = []
        self._read_from_policy()

    def __len__(self) -> int:
        """Return how many entries hold a place, expired ones included."""
        return len(self._entries)

    @property
    def hits(self) -> int:
        """How many look-ups found a fresh entry."""
        return self._counts()[0]

    @property
    def misses(self) -> int:
        """How many look-ups found none."""
        return self._counts()[1]

    @property
    def policy(self) -> EvictionPolicy:
        """What decides which entry leaves; an adaptive one says what it has learned."""
        return self._policy

    def peek(self, key: str, now: float | None = None) -> Entry | None:
        """Return what is held under `key` and may still be served, fresh or stale; nothing is counted."""
        entry = self._entries.get(key)
        if entry is not None and (self._clock() if now is None else now) <= entry.stale_until_s:
            return entry
        return None

    def set(
        self,
        key: str,
        value: object,
        *,
        ttl_seconds: float,
        stale_seconds: float = 0.0,
        born_s: float | None = None,
        refresh_s: float | None = None,
        load_seconds: float = 0.0,
        tags: tuple[str, ...] = (),
    ) -> Entry | None:
        """Keep a value, and return its entry; None when it is too heavy to be kept.

        Args:
            key: Any text.
            value: Any object; what one heavier than `max_entry_bytes` would replace is removed.
            ttl_seconds: It is fresh up to this time from now; 0 is this instant alone, `math.inf` has no end.
            stale_seconds: How long after that it may still be served stale.
            born_s: When the origin was asked for it, on this tier's clock; default now.
            refresh_s: From when on renewing it is worth a thought, on this tier's clock; default its end.
            load_seconds: What it took to get.
            tags: What it can be invalidated by.

        Raises:
            SettingsError: `ttl_seconds` or `stale_seconds` is negative or not a number.
        """
        now = self._clock()
        expires_s = now + ttl_seconds
        if not (ttl_seconds >= 0 and stale_seconds >= 0):  # also refuses NaN
            raise _not_a_time(ttl_seconds, stale_seconds)
        weight = self._weigh(value)
        entries, policy, expiries = self._entries, self._policy, self._expiries
        if expiries is not None and expiries.earliest <= now:
            self._reclaim(expiries, now)
        if self._cleared:
            self._let_go()
        if weight > self.max_entry_bytes:
            self._refuse(key)
            return None
        if stale_seconds or born_s is not None or refresh_s is not None or load_seconds or tags:
            entry: Entry = EntryInFull(
                value,
                now if born_s is None else born_s,
                now,
                expires_s,
                weight,
                stale_until_s=expires_s + stale_seconds,
                refresh_s=refresh_s,
                load_seconds=load_seconds,
                tags=tags,
            )
        else:
            entry = _new(Entry)  # a constructor would cost as much as all the rest of it
            entry.value = value
            entry.born_s = now
            entry.expires_s = expires_s
            entry.weight = weight
        old = entries.get(key)
        if old is None:
            while len(entries) >= self.max_entries or self.bytes + weight > self.max_bytes:
                leaving, left = policy.evict()
                self.bytes -= left.weight
                self._left(leaving, "expired" if now > left.stale_until_s else "evicted")
            policy.admit(key, entry)
            self.bytes += weight
        else:
            self._replace(key, old, entry, now)
        if self.bytes > self.peak_bytes:
            self.peak_bytes = self.bytes
        if expiries is not None:
            expiries.add(key, entry, old)
        if self._gone:
            self._tell()
        return entry

    def expire(self, key: str) -> bool:
        """End a value's freshness now, and keep it as long as it may be served stale.

        Returns:
            Whether it was fresh.
        """
        entry = self._entries.get(key)
        now = self._clock()
        if entry is None or now > entry.expires_s:
            return False
        if now >= entry.stale_until_s or not isinstance(entry, EntryInFull):  # no stale time
            self._remove(key, entry, "explicit")
            self._tell()
            return True
        entry.expires_s = entry.refresh_s = math.nextafter(now, -math.inf)
        return True

    def delete(self, key: str) -> bool:
        """Remove the entry of `key` and return whether it could still have been served, stale included."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        ended = self._clock() > entry.stale_until_s
        self._remove(key, entry, "expired" if ended else "explicit")
        self._tell()
        return not ended

    def clear(self) -> None:
        """Hold nothing any more, at once; `on_remove` is told, and memory returned, with the next `set`s."""
        if self._entries:
            self._cleared.append(self._policy.emptied())
        self.bytes = 0
        self._read_from_policy()

    def reset_peak(self) -> None:
        """Let `peak_bytes` count from what is held now."""
        self.peak_bytes = self.bytes

    def _read_from_policy(self) -> None:
        policy = self._policy
        self._entries = policy.entries
        self._read(policy.entries, policy.touch)
        self._expiries = Expiries(policy.entries) if policy.reclaims_expired else None

    def _replace(self, key: str, old: Entry, entry: Entry, now: float) -> None:
        """Refetch in place: the key keeps its standing with the policy, and this was a use."""
        self._policy.replace(key, old, entry)
        self.bytes += entry.weight - old.weight
        self._left(key, "expired" if now > old.stale_until_s else "replaced")
        while self.bytes > self.max_bytes:
            leaving, left = self._policy.evict()
            if left is entry:
                self._policy.admit(leaving, left)
                continue
            self.bytes -= left.weight
            self._left(leaving, "expired" if now > left.stale_until_s else "evicted")

    def _refuse(self, key: str) -> None:
        old = self._entries.get(key)
        if old is not None:  # the old value must not be served for the new one
            self._remove(key, old, "replaced")
        self._left(key, "refused")
        self._tell()

    def _remove(self, key: str, entry: Entry, cause: RemovalCause) -> None:
        self._policy.forget(key, expired=cause == "expired")
        self.bytes -= entry.weight
        self._left(key, cause)

    def _reclaim(self, expiries: Expiries, now: float) -> None:
        for _ in range(_RECLAIMED_AT_ONCE):
            key = expiries.due(now)
            if key is None:
                return
            self._remove(key, self._entries[key], "expired")

    def _let_go(self) -> None:
        entries = self._cleared[-1]
        for _ in range(min(_CLEARED_AT_ONCE, len(entries))):
            self._left(entries.popitem()[0], "explicit")
        if not entries:
            self._cleared.pop()

    def _left(self, key: str, cause: RemovalCause) -> None:
        if cause == "evicted":
            self.evictions += 1
        elif cause == "expired":
            self.expirations += 1
        if self._on_remove is not None:
            self._gone.append((key, cause))

    def _tell(self) -> None:
        """Say what has left, now that the tier is whole again: who hears it may call the tier."""
        gone, self._gone = self._gone, []
        if self._on_remove is not None:
            for key, cause in gone:
                self._on_remove(key, cause)


def _look_up(
    clock: Clock, missed: Callable[[str], None] | None
) -> tuple[LookUp, Callable[[dict[str, Entry], Callable[[str], None]], None], Callable[[], tuple[int, int]]]:
    """Return `MemoryTier.get`, what tells it where to read, and what says how often it found something.

    A function that keeps what it needs in variables of its own, since a method that gets them from an object
    takes a fifth longer, and nothing in perfkit is done more often.
    """
    find: Callable[[str], Entry | None]
    hits = misses = 0
    touch: Callable[[str], None]

    def get(key: str, now: float | None = None) -> Entry | None:
        nonlocal hits, misses
        entry = find(key)
        if entry is not None and (clock() if now is None else now) <= entry.expires_s:
            hits += 1
            uses = entry.uses
            if uses < 3:
                if uses != -1:
                    entry.uses = uses + 1
            elif uses > 3:
                touch(key)
            return entry
        misses += 1
        if missed is not None:
            missed(key)
        return None

    def read(table: dict[str, Entry], note_use: Callable[[str], None]) -> None:
        nonlocal find, touch
        find, touch = table.get, note_use

    return get, read, lambda: (hits, misses)


def _not_a_time(ttl_seconds: float, stale_seconds: float) -> SettingsError:
    name, value = ("stale_seconds", stale_seconds) if ttl_seconds >= 0 else ("ttl_seconds", ttl_seconds)
    return SettingsError(
        f"{name}={value} is refused: an entry cannot end before it is stored. Write 0 or more.",
        path=name,
        value=value,
        allowed=">= 0",
    )


def _inside(item: object) -> list[object]:
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)
    return [vars(item)] if hasattr(item, "__dict__") and not isinstance(item, type) else []
