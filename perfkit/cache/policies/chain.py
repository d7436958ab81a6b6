"""Keys in a row, each linked to its neighbours through its entry.

A queue of a cache must let go of a key in its middle, because keys are deleted and expire. A deque cannot,
so it would gather the dead, and with them their values; an `OrderedDict` can, for 120 bytes a key beside the
table that holds the entries. Here each entry names the keys beside its own: 16 bytes, and since they are
names and not entries, nothing refers back and what leaves is freed at once.
"""

from __future__ import annotations

from perfkit.cache.entry import Entry

__all__ = ["Chain"]


class Chain:
    """A queue of keys whose entries are in a table; a key is in one chain of that table at most.

    >>> entries = {key: Entry(None, 0.0, 0.0) for key in "abc"}
    >>> chain = Chain(entries)
    >>> for key in "abc": chain.append(key, entries[key])
    >>> chain.remove("b", entries["b"])
    >>> chain.first, chain.last, chain.length
    ('a', 'c', 2)

    Who links a key by hand, to save the call, keeps `length` too or does not read it.
    """

    __slots__ = ("_entries", "first", "last", "last_entry", "length")

    def __init__(self, entries: dict[str, Entry]) -> None:
        self._entries = entries
        self.first: str | None = None
        self.last: str | None = None
        self.last_entry: Entry | None = None
        self.length = 0

    def append(self, key: str, entry: Entry) -> None:
        """Put a key behind all others."""
        last = self.last_entry
        if last is None:
            self.first = key
        else:
            last.newer = key
        entry.older = self.last
        entry.newer = None
        self.last = key
        self.last_entry = entry
        self.length += 1

    def replace(self, old: Entry, new: Entry) -> None:
        """Put an entry where that of the same key was."""
        new.older, new.newer = old.older, old.newer
        if self.last_entry is old:
            self.last_entry = new

    def remove(self, key: str, entry: Entry) -> None:
        """Take a key out, wherever it stands; all of the chain is still in the table."""
        older, newer = entry.older, entry.newer
        if key == self.first:  # then `older` may name a key that left
            self.first = newer
            older = None
        elif older is not None:
            self._entries[older].newer = newer
        if newer is not None:
            self._entries[newer].older = older
        else:
            self.last = older
            self.last_entry = None if older is None else self._entries[older]
        self.length -= 1
