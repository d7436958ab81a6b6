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
from typing import ClassVar

__all__ = ["Lru"]


class Lru:
    """Least recently used.

    >>> policy = Lru()
    >>> for key in "abc": policy.admit(key)
    >>> policy.touch("a")
    >>> policy.evict(), policy.evict()
    ('b', 'c')
    """

    reclaims_expired: ClassVar[bool] = False

    def __init__(self) -> None:
        self._queue: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        """Return how many keys are resident."""
        return len(self._queue)

    def admit(self, key: str) -> None:
        """Put a new key at the back."""
        self._queue[key] = None

    def touch(self, key: str) -> None:
        """Move a used key to the back."""
        self._queue.move_to_end(key)

    def evict(self) -> str:
        """Return the key at the front, which is then gone."""
        return self._queue.popitem(last=False)[0]

    def forget(self, key: str, *, expired: bool = False) -> None:
        """Take a key out of the queue."""
        del self._queue[key]
