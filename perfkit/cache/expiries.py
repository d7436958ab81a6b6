"""When what a tier holds may be thrown away, found without ever looking at all of it.

How it works
------------
Keys lie in buckets by the time at which they will surely have ended; a heap knows the earliest. A bucket is a
second wide for lives up to two minutes and a 64th to a 128th of a life beyond that, so that a tier whose
entries live for a day has some hundred buckets and not 86,400: a timing wheel [1] without its empty slots.

A bucket is a list that is only added to, 8 bytes a key. What left the tier before its time, or was set anew
with another time, stays named in its old bucket; whoever comes for it finds that it is no longer there or has
longer to live, and passes on. When most of what lies in the buckets is such refuse, it is looked through a
little at a time, and the good is kept.

Sets that follow each other are of like lives, so the bucket of the last is tried first.

[1] G. Varghese, T. Lauck: Hashed and hierarchical timing wheels. SOSP 1987.
"""

from __future__ import annotations

import heapq
import math

from perfkit.cache.entry import Entry

__all__ = ["Expiries"]

_FOREVER_S = 1e12
"""What lives past this is never looked for."""
_SHORT_LIFE_S = 128.0
_REFUSE_ALLOWED = 512
_LOOKED_AT_ONCE = 16
"""Names one call of `due` may find to be refuse before it gives up."""
_SORTED_AT_ONCE = 2_000
"""Names looked through at once at most: well below a millisecond."""


class Expiries:
    """Keys of a table by when their entries end.

    >>> entries = {"a": Entry("apple", 0.0, 10.0), "b": Entry("pear", 0.0, 90.0)}
    >>> expiries = Expiries(entries)
    >>> for key, entry in entries.items(): expiries.add(key, entry)
    >>> expiries.due(10.5), expiries.due(11.0)
    (None, 'a')

    Args:
        entries: The table, which others change.
        of_stale: Whether an entry ends with its stale time, and not with its freshness.
    """

    __slots__ = (
        "_append",
        "_buckets",
        "_end",
        "_ends",
        "_entries",
        "_from_s",
        "_kept",
        "_longest_s",
        "_named",
        "_next",
        "_of_stale",
        "_present",
        "_shortest_s",
        "_sorted",
        "_unsorted",
        "earliest",
    )

    def __init__(self, entries: dict[str, Entry], *, of_stale: bool = False) -> None:
        self.earliest: float = math.inf
        """Before this time nothing is due."""
        self._entries = entries
        self._of_stale = of_stale
        self._buckets: dict[int, list[str]] = {}
        self._ends: list[int] = []
        self._named = 0
        """Names in all buckets but the present one."""
        self._next = 0
        self._unsorted: list[str] = []
        """What is being looked through; what is kept of it goes back to the bucket that ends at `_sorted`."""
        self._sorted = 0
        self._kept: set[str] = set()
        self._present: list[str] = []
        self._end = 0
        self._leave_present()

    def add(self, key: str, entry: Entry, old: Entry | None = None) -> None:
        """Name a key whose entry is new, in place of an `old` one or of none."""
        until_s = entry.stale_until_s if self._of_stale else entry.expires_s
        if not (
            self._from_s <= until_s < self._end
            and self._shortest_s <= until_s - entry.filled_s < self._longest_s
        ):
            if until_s >= _FOREVER_S:
                return
            self._turn_to(entry)
        if old is None or self._bucket(old)[0] != self._end:  # else its name lies there already
            self._append(key)

    def due(self, now: float) -> str | None:
        """Return a key whose entry has ended, or None; it is not named any more then, and must not stay."""
        ends = self._ends
        for _ in range(_LOOKED_AT_ONCE):
            if not ends or ends[0] > now:
                return None
            end = ends[0]
            bucket = self._buckets[end]
            if not bucket and end == self._sorted:
                bucket = self._unsorted
            if not bucket:
                if end == self._end:
                    self._leave_present()
                del self._buckets[heapq.heappop(ends)]
                self.earliest = ends[0] if ends else math.inf
                continue
            key = bucket.pop()
            if bucket is not self._present:
                self._named -= 1
            entry = self._entries.get(key)
            if entry is not None and (entry.stale_until_s if self._of_stale else entry.expires_s) < end:
                return key
        return None

    def _turn_to(self, entry: Entry) -> None:
        """Make the bucket of an entry the present one."""
        added = self._leave_present()
        if self._named > 2 * len(self._entries) + _REFUSE_ALLOWED:
            self._sort_some(min(2 * added, _SORTED_AT_ONCE))
        end, width, shortest_s = self._bucket(entry)
        bucket = self._buckets.get(end)
        if bucket is None:
            bucket = self._buckets[end] = []
            heapq.heappush(self._ends, end)
            self.earliest = self._ends[0]
        self._named -= len(bucket)
        self._present, self._append = bucket, bucket.append
        self._from_s, self._end = end - width, end
        self._shortest_s, self._longest_s = shortest_s, max(_SHORT_LIFE_S, 2 * shortest_s)

    def _leave_present(self) -> int:
        left = len(self._present) if self._end else 0
        self._named += left
        self._present = []
        self._append = self._present.append
        self._from_s = self._end = 0
        self._shortest_s = self._longest_s = 0.0
        return left

    def _sort_some(self, names: int) -> None:
        for _ in range(names):
            if not self._unsorted:
                self._kept.clear()
                self._next = (self._next + 1) % len(self._ends)
                self._sorted = self._ends[self._next]
                self._unsorted, self._buckets[self._sorted] = self._buckets[self._sorted], []
                continue
            key = self._unsorted.pop()
            entry = self._entries.get(key)
            if entry is not None and key not in self._kept and self._bucket(entry)[0] == self._sorted:
                self._kept.add(key)
                self._buckets[self._sorted].append(key)
            else:
                self._named -= 1

    def _bucket(self, entry: Entry) -> tuple[int, int, float]:
        """Return when the bucket of an entry ends, how wide it is, and the shortest life with that width."""
        until_s = entry.stale_until_s if self._of_stale else entry.expires_s
        life_s = until_s - entry.filled_s
        if life_s < _SHORT_LIFE_S:
            return int(until_s) + 1, 1, -math.inf
        if until_s >= _FOREVER_S:
            return int(_FOREVER_S), 0, math.inf
        doublings = int(life_s).bit_length()
        width = 1 << (doublings - 7)
        return (int(until_s) // width + 1) * width, width, float(1 << (doublings - 1))
