"""LRU: the key that was used longest ago leaves.

How it works
------------
One queue in order of last use. A use moves a key to the back; the victim is at the front. It bets that what
was used lately will be used again, and loses that bet to scans: a run of keys used once pushes everything
else out.

Why it is kept
--------------
It has the inclusion property [1]: what a small LRU cache holds, a larger one holds too. So the hit ratios
of every size follow from one pass over a trace, and a sweep of sizes and TTLs can be modelled exactly
instead of replayed. For that, an expired key must keep its place until it is refetched or pushed out, hence
`reclaims_expired = False`.

[1] R. L. Mattson, J. Gecsei, D. R. Slutz, I. L. Traiger: Evaluation techniques for storage hierarchies.
    IBM Systems Journal 9(2), 1970.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from perfkit.cache.entry import Entry
from perfkit.cache.policies.base import TOLD

__all__ = ["Lru"]


class Lru:
    """Least recently used.

    >>> policy = Lru()
    >>> for key in "abc": policy.admit(key, Entry(None, 0, 9))
    >>> policy.touch("a")
    >>> policy.evict()[0], policy.evict()[0]
    ('b', 'c')

    Args:
        reclaims_expired: Whether expired keys leave first, which models no longer can follow.
    """

    missed: Callable[[str], None] | None = None

    def __init__(self, *, reclaims_expired: bool = False) -> None:
        self.reclaims_expired = reclaims_expired
        self._start_empty()

    def _start_empty(self) -> None:
        self._queue: OrderedDict[str, Entry] = OrderedDict()
        self.entries: dict[str, Entry] = self._queue
        # The table's own method, so that a use is no call of a Python function.
        self.touch = self._queue.move_to_end

    def admit(self, key: str, entry: Entry) -> None:
        """Put a new key at the back."""
        entry.uses = TOLD
        self._queue[key] = entry

    def replace(self, key: str, old: Entry, new: Entry) -> None:
        """Move the key to the back with its new entry."""
        new.uses = TOLD
        self._queue[key] = new
        self._queue.move_to_end(key)

    def evict(self) -> tuple[str, Entry]:
        """Return the key at the front, which is then gone."""
        return self._queue.popitem(last=False)

    def forget(self, key: str, *, expired: bool = False) -> None:
        """Take a key out of the queue."""
        del self._queue[key]

    def emptied(self) -> dict[str, Entry]:
        """Return all entries and start anew without them."""
        entries = self.entries
        self._start_empty()
        return entries
