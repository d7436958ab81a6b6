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

from typing import ClassVar

__all__ = ["Sieve"]


class _Node:
    __slots__ = ("key", "newer", "older", "used")

    def __init__(self, key: str, older: _Node | None) -> None:
        self.key = key
        self.older = older
        self.newer: _Node | None = None
        self.used = False


class Sieve:
    """Sifts out keys that were not used since the hand last passed.

    >>> policy = Sieve()
    >>> for key in "abc": policy.admit(key)
    >>> policy.touch("a")
    >>> policy.evict(), policy.evict(), policy.evict()
    ('b', 'c', 'a')
    """

    reclaims_expired: ClassVar[bool] = True

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._head: _Node | None = None
        self._tail: _Node | None = None
        self._hand: _Node | None = None

    def __len__(self) -> int:
        """Return how many keys are resident."""
        return len(self._nodes)

    def admit(self, key: str) -> None:
        """Put a new key at the head, unused."""
        node = self._nodes[key] = _Node(key, older=self._head)
        if self._head is None:
            self._tail = node
        else:
            self._head.newer = node
        self._head = node

    def touch(self, key: str) -> None:
        """Set the key's bit."""
        self._nodes[key].used = True

    def evict(self) -> str:
        """Move the hand to the first unused key, which then leaves."""
        node = self._hand or self._tail
        while node is not None and node.used:
            node.used = False
            node = node.newer or self._tail
        if node is None:
            raise IndexError("evict from an empty policy")
        self._hand = node
        self.forget(node.key)
        return node.key

    def forget(self, key: str, *, expired: bool = False) -> None:
        """Unlink a key; a hand that pointed at it moves on to the next newer."""
        node = self._nodes.pop(key)
        if self._hand is node:
            self._hand = node.newer
        if node.newer is None:
            self._head = node.older
        else:
            node.newer.older = node.older
        if node.older is None:
            self._tail = node.newer
        else:
            node.older.newer = node.newer
