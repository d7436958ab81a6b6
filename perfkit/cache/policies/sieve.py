"""SIEVE: one queue, one bit a key, and a hand that does not go back.

How it works
------------
Keys stand in a queue in the order they came, newest at the head, and a use only sets a bit. To find a
victim, a hand moves from the tail towards the head: a key with its bit set has it cleared and stays where
it is; the first key without a bit leaves. The next search goes on from there.

    head  n ← m ← l* ← k ← j*  tail        * used since the hand last passed
                       ↑ hand

Because survivors are not moved, as CLOCK would, new keys and old ones separate: the hand sifts the young
end, where one-hit keys are met soon after they came, and old popular keys stay behind it [1]. A hit writes
one bit, which makes it the cheapest policy to run; it has no defence against scans beyond that.

[1] Y. Zhang, J. Yang, Y. Yue, Y. Vigfusson, K. V. Rashmi: SIEVE is simpler than LRU: an efficient turn-key
    eviction algorithm for web caches. NSDI 2024.
"""

from __future__ import annotations

from collections.abc import Callable

from perfkit.cache.entry import Entry
from perfkit.cache.policies.chain import Chain

__all__ = ["Sieve"]

_MOST_EXAMINED = 4_096
"""Keys one search looks at: it takes milliseconds to pass over more, and all that are left were used."""


class Sieve:
    """Sifts out keys that were not used since the hand last passed.

    >>> policy = Sieve()
    >>> for key in "abc": policy.admit(key, Entry(None, 0, 9))
    >>> policy.entries["a"].uses = 1
    >>> policy.evict()[0], policy.evict()[0], policy.evict()[0]
    ('b', 'c', 'a')
    """

    reclaims_expired = True
    missed: Callable[[str], None] | None = None

    def __init__(self) -> None:
        self._start_empty()

    def _start_empty(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._queue = Chain(self.entries)
        self._hand: str | None = None

    def admit(self, key: str, entry: Entry) -> None:
        """Put a new key at the head, unused."""
        entry.uses = 0
        self.entries[key] = entry
        self._queue.append(key, entry)

    def replace(self, key: str, old: Entry, new: Entry) -> None:
        """Put the new entry where the old one was, and set its bit."""
        self._queue.replace(old, new)
        new.uses = 1
        self.entries[key] = new

    def touch(self, key: str) -> None:
        """Set the key's bit."""
        self.entries[key].uses = 1

    def evict(self) -> tuple[str, Entry]:
        """Move the hand to the first unused key, which then leaves."""
        queue, entries = self._queue, self.entries
        key = self._hand or queue.first
        if key is None:
            raise IndexError("evict from an empty policy")
        entry = entries[key]
        for _ in range(_MOST_EXAMINED):
            if not entry.uses:
                break
            entry.uses = 0
            key = entry.newer or queue.first
            assert key is not None  # noqa: S101  # for the type checker: the queue is not empty
            entry = entries[key]
        self._hand = key
        self.forget(key)
        return key, entry

    def forget(self, key: str, *, expired: bool = False) -> None:
        """Unlink a key; a hand that pointed at it moves on to the next newer."""
        entry = self.entries[key]
        if self._hand == key:
            self._hand = entry.newer
        self._queue.remove(key, entry)
        del self.entries[key]

    def emptied(self) -> dict[str, Entry]:
        """Return all entries and start anew without them."""
        entries = self.entries
        self._start_empty()
        return entries
