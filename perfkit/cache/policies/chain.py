"""Keys in a row, each linked to its neighbours through its entry.

A queue of a cache must let go of a key in its middle, because keys are deleted and expire. A deque cannot, so
it would gather the dead, and with them their values; an `OrderedDict` can, for 120 bytes a key beside the
table that holds the entries. Here each entry names the keys beside its own: 16 bytes, and since they are names
and not entries, nothing refers back and what leaves is freed at once.
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
    """

    __slots__ = ("_entries", "first", "last", "length")

    def __init__(self, entries: dict[str, Entry]) -> None:
        self._entries = entries
        self.first: str | None = None
        self.last: str | None = None
        self.length = 0

    def append(self, key: str, entry: Entry) -> None:
        """Put a key behind all others."""
        last = self.last
        if last is None:
            self.first = key
        else:
            self._entries[last].newer = key
        entry.older = last
        entry.newer = None
        self.last = key
        self.length += 1

    def remove(self, key: str, entry: Entry) -> None:
        """Take a key out, wherever it stands; all of the chain is still in the table."""
        older, newer = entry.older, entry.newer
        if key == self.first:  # then `older` may name a key that left
            self.first = newer
        else:
            self._entries[older].newer = newer  # type: ignore[index]  # only the first has none
        if newer is None:
            self.last = None if self.first is None else older
        else:
            self._entries[newer].older = older
        self.length -= 1
