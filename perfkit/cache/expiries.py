"""When what a tier holds may be thrown away, found without ever looking at all of it.

How it works
------------
Keys lie in buckets by the time at which they will surely have ended; a heap knows the earliest. A bucket is a
second wide for lives up to two minutes and a 64th to a 128th of a life beyond that, so that a tier whose
entries live for a day has some hundred buckets and not 86,400: a timing wheel [1] without its empty slots.

A bucket is a list that is only added to, 8 bytes a key. What left the tier before its time, or was set anew
with another time, stays named in its old bucket; whoever comes for it finds that it is no longer there or has
longer to live, and passes on. When most of what lies in the buckets is such refuse, each `add` also looks
through a few names and keeps the good ones.

[1] G. Varghese, T. Lauck: Hashed and hierarchical timing wheels. SOSP 1987.
"""

from __future__ import annotations

import heapq

from perfkit.cache.entry import Entry

__all__ = ["Expiries"]

_FOREVER_S = 1e12
"""What lives past this is never looked for."""
_SHORT_LIFE_S = 128.0
_SORTED_AT_ONCE = 8
"""Names looked through by one `add`: more than the one it brings, so refuse does not gather."""
_REFUSE_ALLOWED = 512
_LOOKED_AT_ONCE = 16
"""Names one call of `due` may find to be refuse before it gives up."""


class Expiries:
    """Keys of a table by when their entries end.

    >>> entries = {"a": Entry("apple", 0.0, 10.0), "b": Entry("pear", 0.0, 90.0)}
    >>> expiries = Expiries(entries)
    >>> for key, entry in entries.items(): expiries.add(key, entry)
    >>> expiries.due(10.5), expiries.due(11.0)
    (None, 'a')
    """

    __slots__ = ("_buckets", "_ends", "_entries", "_kept", "_named", "_next", "_sorted", "_unsorted")

    def __init__(self, entries: dict[str, Entry]) -> None:
        self._entries = entries
        self._buckets: dict[int, list[str]] = {}
        self._ends: list[int] = []
        self._named = 0
        self._next = 0
        self._unsorted: list[str] = []
        """What is being looked through; what is kept of it goes back to the bucket that ends at `_sorted`."""
        self._sorted = 0
        self._kept: set[str] = set()

    def add(self, key: str, entry: Entry, old: Entry | None = None) -> None:
        """Name a key whose entry is new, in place of an `old` one or of none."""
        end = _end(entry)
        if old is not None and _end(old) == end:
            return  # its name lies there already
        bucket = self._buckets.get(end)
        if bucket is not None:
            bucket.append(key)
        elif end < _FOREVER_S:
            self._buckets[end] = [key]
            heapq.heappush(self._ends, end)
        else:
            return
        self._named += 1
        if self._named > 2 * len(self._entries) + _REFUSE_ALLOWED:
            self._sort_some()

    def due(self, now: float) -> str | None:
        """Return a key whose entry has ended, or None; the key must then be removed from the table."""
        ends = self._ends
        for _ in range(_LOOKED_AT_ONCE):
            if not ends or ends[0] > now:
                return None
            end = ends[0]
            bucket = self._buckets[end]
            if not bucket and end == self._sorted:
                bucket = self._unsorted
            if not bucket:
                del self._buckets[heapq.heappop(ends)]
                continue
            key = bucket.pop()
            self._named -= 1
            entry = self._entries.get(key)
            if entry is not None and entry.stale_until_s < end:
                return key
        return None

    def _sort_some(self) -> None:
        for _ in range(_SORTED_AT_ONCE):
            if not self._unsorted:
                self._kept.clear()
                self._next = (self._next + 1) % len(self._ends)
                self._sorted = self._ends[self._next]
                self._unsorted, self._buckets[self._sorted] = self._buckets[self._sorted], []
                continue
            key = self._unsorted.pop()
            entry = self._entries.get(key)
            if entry is not None and _end(entry) == self._sorted and key not in self._kept:
                self._kept.add(key)
                self._buckets[self._sorted].append(key)
            else:
                self._named -= 1


def _end(entry: Entry) -> int:
    """Return the end of the bucket in which an entry belongs."""
    until_s = entry.stale_until_s
    if until_s >= _FOREVER_S:
        return int(_FOREVER_S)
    life_s = until_s - entry.filled_s
    if life_s < _SHORT_LIFE_S:
        return int(until_s) + 1
    width = 1 << (int(life_s).bit_length() - 7)
    return (int(until_s) // width + 1) * width
