"""S3-FIFO: three first-in-first-out queues, the first of which is a short trial.

How it works
------------
Most keys of real workloads are used once and should not cost a popular key its place. So a new key enters a
*small* queue, a tenth of the tier. At its end, a key that was used at least twice meanwhile goes to the
*main* queue; any other leaves, and only its name is kept in a *ghost* queue. A key that is asked for while
its name is there was let go too early and enters main directly. In main, a key that was used gets another
round, with its count (at most three) lowered by one [1].

    new ──> small ──used twice──> main ──> round again while used
              └──────────────────> ghost ──asked again──> main

Until something first had to leave, what the small queue has no room for enters main directly, as in
libCacheSim: a tier that has just started would otherwise try all its keys at once and forget most of them.

Expiry
------
The paper knows no TTL. If expired keys merely lie in the queues until their turn, S3-FIFO falls behind LRU
where TTLs are short: dead keys hold room, and a popular key that expired must prove itself again. So the
tier takes expired keys out first, and a key that had been used before it expired is remembered in the ghost
queue: refetched, it is back in main. On the Twitter trace of the benchmarks that is never behind LRU, at
TTLs from 10 s to 10 min.

The small queue's share is taken of the keys resident at the time, and the ghost queue's of the most that
ever were, not of the largest number allowed: so the proportions hold when bytes are the limit that binds.

[1] J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V. Rashmi: FIFO queues are all you need for cache eviction.
    SOSP 2023.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from perfkit.cache.entry import Entry
from perfkit.cache.policies.base import IN_MAIN, SAMPLED, TOLD
from perfkit.cache.policies.chain import Chain

__all__ = ["S3Fifo"]

_GHOST_SHARE = 0.9
_PROVEN = -4
"""`Entry.uses` of a key in main that was not used since it was looked at; in small that is 0."""
_MOST_EXAMINED = 4_096
"""Keys one search in a queue looks at: to pass over more takes milliseconds, and all of those were used."""


class S3Fifo:
    """Gives new keys a short trial before they may displace proven ones.

    >>> policy = S3Fifo(max_entries=30)
    >>> for key in "abc": policy.admit(key, Entry(None, 0, 9))
    >>> policy.entries["a"].uses = 2
    >>> policy.evict()[0], policy.evict()[0], policy.evict()[0]
    ('b', 'c', 'a')

    Args:
        max_entries: The tier's bound.
        small_share: Which share of the keys is on trial.
        promote_at: How many uses prove a key.
    """

    reclaims_expired = True
    missed: Callable[[str], None] | None = None

    def __init__(self, max_entries: int, *, small_share: float = 0.1, promote_at: int = 2) -> None:
        self.small_share = small_share
        self.promote_at = promote_at
        self._max_entries = max_entries
        self._start_empty()

    def _start_empty(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._small = Chain(self.entries)
        self._main = Chain(self.entries)
        self._ghost: OrderedDict[str, None] = OrderedDict()
        self._most_resident = self._ghosts = 0
        self._ever_full = False
        """Before anything had to leave, the share of all that may come are tried; then of the residents."""

    def admit(self, key: str, entry: Entry) -> None:
        """Put a new key in the small queue, or in main if it left only lately."""
        ghost = self._ghost
        if key in ghost:
            del ghost[key]
            self._admit_to_main(key, entry)
        elif not self._ever_full and len(self.entries) - self._main.length >= max(
            1, int(self._max_entries * self.small_share)
        ):
            self._admit_to_main(key, entry)
        else:
            entry.uses = 0
            self.entries[key] = entry
            small = self._small  # from here on `Chain.append`, without a call: this is done at each miss
            last = small.last_entry
            if last is None:
                small.first = key
            else:
                last.newer = key
            entry.older = small.last
            entry.newer = None
            small.last = key
            small.last_entry = entry

    def _admit_to_main(self, key: str, entry: Entry) -> None:
        entry.uses = _PROVEN
        self.entries[key] = entry
        self._main.append(key, entry)

    def replace(self, key: str, old: Entry, new: Entry) -> None:
        """Put the new entry where the old one was, and count a use."""
        (self._main if old.uses & IN_MAIN else self._small).replace(old, new)
        new.uses = old.uses if old.uses & 3 == 3 else old.uses + 1
        self.entries[key] = new

    def touch(self, key: str) -> None:
        """Count a use, up to three."""
        entry = self.entries[key]
        if entry.uses > 3:
            entry.uses += 4 if entry.uses & 12 != 12 else 0
        elif entry.uses & 3 != 3:
            entry.uses += 1

    def evict(self) -> tuple[str, Entry]:
        """Choose from the small queue while it has its share, else from main."""
        entries, small, main = self.entries, self._small, self._main
        resident = len(entries)
        if resident > self._most_resident:
            self._most_resident = resident
            self._ghosts = int(resident * _GHOST_SHARE)
            self._ever_full = True
        # The keys on trial are what main leaves of the residents: main changes less often, so it is counted.
        if resident - main.length > resident * self.small_share - 1 or main.first is None:
            examined = 0
            while (key := small.first) is not None and examined < _MOST_EXAMINED:
                entry = entries[key]
                newer = small.first = entry.newer  # `Chain.remove` of the first, without a call
                if newer is None:
                    small.last = small.last_entry = None
                uses = entry.uses
                if (uses if uses <= 3 else uses >> 2 & 3) < self.promote_at:
                    del entries[key]
                    ghost = self._ghost
                    ghost[key] = None
                    if len(ghost) > self._ghosts:
                        ghost.popitem(last=False)
                    return key, entry
                entry.uses = _PROVEN if uses <= 3 else TOLD | IN_MAIN | uses & SAMPLED
                main.append(key, entry)
                examined += 1
        return self._evict_from_main()

    def forget(self, key: str, *, expired: bool = False) -> None:
        """Take a key out; remember one that expired while it was in use."""
        entry = self.entries[key]
        if expired and _counted(entry.uses):
            self._ghost[key] = None
            most = max(self._most_resident, len(self.entries))
            if len(self._ghost) > int(most * _GHOST_SHARE):
                self._ghost.popitem(last=False)
        (self._main if entry.uses & IN_MAIN else self._small).remove(key, entry)
        del self.entries[key]

    def emptied(self) -> dict[str, Entry]:
        """Return all entries and start anew without them."""
        entries = self.entries
        self._start_empty()
        return entries

    def _evict_from_main(self) -> tuple[str, Entry]:
        main = self._main
        for examined in range(_MOST_EXAMINED + 1):
            key = main.first
            if key is None:
                break
            entry = self.entries[key]
            main.remove(key, entry)
            uses = entry.uses
            if (uses == _PROVEN if uses <= 3 else not uses & 12) or examined == _MOST_EXAMINED:
                del self.entries[key]
                return key, entry
            entry.uses = uses - 1 if uses <= 3 else uses - 4
            main.append(key, entry)
        raise IndexError("evict from an empty policy")


def _counted(uses: int) -> int:
    """Return the count of uses that stands in `Entry.uses`."""
    return uses & 3 if uses <= 3 else uses >> 2 & 3
