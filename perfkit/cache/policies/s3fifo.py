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
from typing import ClassVar

__all__ = ["S3Fifo"]

_SMALL_SHARE = 0.1
_GHOST_SHARE = 0.9
_PROMOTE_AT = 2
_MOST_USES = 3


class S3Fifo:
    """Gives new keys a short trial before they may displace proven ones.

    >>> policy = S3Fifo(max_entries=30)
    >>> for key in "abc": policy.admit(key)
    >>> policy.touch("a"); policy.touch("a")
    >>> policy.evict(), policy.evict(), policy.evict()
    ('b', 'c', 'a')
    """

    reclaims_expired: ClassVar[bool] = True

    def __init__(self, max_entries: int) -> None:
        # Ordered dictionaries rather than deques: a deleted key leaves its queue at once, so no tombstones
        # gather when keys are set and deleted without end.
        self._small: OrderedDict[str, None] = OrderedDict()
        self._main: OrderedDict[str, None] = OrderedDict()
        self._ghost: OrderedDict[str, None] = OrderedDict()
        self._uses: dict[str, int] = {}
        self._most_resident = 0
        self._first_trials = _share(max_entries)
        """How many keys may be on trial before anything had to leave; then the share of the residents."""
        self._ever_full = False

    def __len__(self) -> int:
        """Return how many keys are resident."""
        return len(self._uses)

    def admit(self, key: str) -> None:
        """Put a new key in the small queue, or in main if it left only lately."""
        if key in self._ghost:
            del self._ghost[key]
            self._main[key] = None
        elif not self._ever_full and len(self._small) >= self._first_trials:
            self._main[key] = None
        else:
            self._small[key] = None
        self._uses[key] = 0
        self._most_resident = max(self._most_resident, len(self._uses))

    def touch(self, key: str) -> None:
        """Count a use, up to three."""
        uses = self._uses[key]
        if uses < _MOST_USES:
            self._uses[key] = uses + 1

    def evict(self) -> str:
        """Choose from the small queue while it has its share, else from main."""
        self._ever_full = True
        if len(self._small) >= _share(len(self._uses)) or not self._main:
            victim = self._evict_from_small()
            if victim is not None:
                return victim
        return self._evict_from_main()

    def forget(self, key: str, *, expired: bool = False) -> None:
        """Take a key out; remember one that expired while it was in use."""
        if self._uses.pop(key) and expired:
            self._remember(key)
        del (self._small if key in self._small else self._main)[key]

    def _evict_from_small(self) -> str | None:
        """Return the first key that fails its trial; None when all have passed it."""
        while self._small:
            key, _ = self._small.popitem(last=False)
            if self._uses[key] < _PROMOTE_AT:
                del self._uses[key]
                self._remember(key)
                return key
            self._uses[key] = 0
            self._main[key] = None
        return None

    def _evict_from_main(self) -> str:
        key, _ = self._main.popitem(last=False)
        while self._uses[key]:
            self._uses[key] -= 1
            self._main[key] = None
            key, _ = self._main.popitem(last=False)
        del self._uses[key]
        return key

    def _remember(self, key: str) -> None:
        self._ghost[key] = None
        if len(self._ghost) > int(self._most_resident * _GHOST_SHARE):
            self._ghost.popitem(last=False)


def _share(keys: int) -> int:
    return max(1, int(keys * _SMALL_SHARE))
