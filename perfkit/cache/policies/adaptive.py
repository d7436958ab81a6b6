"""Adaptive eviction: candidates are tried in miniature on the live requests, and the best one is in force.

How it works
------------
No policy wins on every workload: S3-FIFO does on most, with a small queue whose best share differs; LRU does
where favourites drift. Which one would have served more of *these* requests can be found out at little cost.
A hash chooses a sample of the keys, and each candidate runs a tier of its own on the requests for those,
scaled down by the same rate: its hit ratio estimates that of the whole tier [1]. The miniatures are
`MemoryTier`s and keep times to live, weights and bytes as the real one does.

Now and then the miniatures are compared, older requests counting less and less. A candidate takes over when
it leads by more than the estimates' own noise. What is resident stays: a different small queue or proof only
changes what the next eviction looks at, and under LRU what came before it moves into its queue as it is used.

What it costs: a hit on a key that is not sampled is the same as without. A sampled request asks each
miniature.

Regret
------
`snapshot` tells each candidate's estimated hit ratio, and the regret: the best one's minus that of the one in
force. It stays below the lead that is asked for, or a switch is due.

[1] C. Waldspurger, T. Saemundsson, I. Ahmad, N. Park: Cache modeling and optimization using miniature
    simulations. USENIX ATC 2017.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.cache.entry import Entry
from perfkit.cache.policies.base import IN_MAIN, SAMPLED, TOLD, EvictionPolicy
from perfkit.cache.policies.lru import Lru
from perfkit.cache.policies.s3fifo import S3Fifo
from perfkit.clock import Clock

if TYPE_CHECKING:
    from perfkit.cache.memory import MemoryTier

__all__ = ["CANDIDATES", "Adaptive", "AdaptiveSnapshot", "Candidate"]

_LEAST_IN_MINIATURE = 128
"""Entries a miniature holds, if the tier has so many; fewer say little."""
_RATES = (2, 4, 8, 16, 32, 64)
_COMPARED_EVERY = 256
"""Sampled requests between two comparisons."""
_FADES_BY = 0.985
"""What earlier requests count at a comparison, against what they counted at the one before."""
_LEAD = 0.003
"""By how much a candidate's hit ratio must exceed that of the one in force to replace it."""
_DOUBT = 0.2
"""And by this over the root of the requests it rests on: few requests say little."""
_MISSES_AWAITED = 1_024


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy that may be in force; without a `small_share` it is LRU."""

    name: str
    small_share: float = 0.0
    promote_at: int = 2


CANDIDATES = (
    Candidate("s3fifo 0.1/2", 0.1, 2),
    Candidate("s3fifo 0.1/1", 0.1, 1),
    Candidate("s3fifo 0.25/2", 0.25, 2),
    Candidate("s3fifo 0.25/1", 0.25, 1),
    Candidate("s3fifo 0.5/2", 0.5, 2),
    Candidate("s3fifo 0.5/1", 0.5, 1),
    Candidate("lru"),
)


@dataclass(frozen=True, slots=True)
class AdaptiveSnapshot:
    """What an adaptive policy has learned.

    `hit_ratios` are estimates of what each candidate makes of late requests, `regret` is the best one's minus
    that of the one `in_force`; `sampled_requests` is what they rest on.
    """

    in_force: str
    hit_ratios: Mapping[str, float]
    regret: float
    switches: int
    sampled_requests: int


class Adaptive(S3Fifo):
    """S3-FIFO whose shares, and LRU in its place, follow from what would serve the present requests best.

    >>> from perfkit.cache import MemoryTier
    >>> tier = MemoryTier(max_entries=1_000, max_bytes=1 << 20, policy="adaptive")
    >>> tier.policy.snapshot().in_force
    's3fifo 0.1/2'
    """

    def __init__(self, max_entries: int, max_bytes: int, clock: Clock) -> None:
        super().__init__(max_entries)
        rate = max(r for r in _RATES if r <= max(2, max_entries // _LEAST_IN_MINIATURE))
        self._sampled_below = (1 << 32) // rate
        self._clock = clock
        self._now = 0.0
        self._miniatures = [self._miniature(c, max_entries, max_bytes, rate) for c in CANDIDATES]
        self._scores = [0.0] * len(CANDIDATES)
        self._hits_before = [0] * len(CANDIDATES)
        self._weight = 0.0
        self._since = 0
        self._sampled = 0
        self._in_force = 0
        self._recency = False
        self._switches = 0
        self._missing: dict[str, None] = {}
        """Sampled keys that were missed, and may now be set for that."""
        self.missed = self._missed

    def snapshot(self) -> AdaptiveSnapshot:
        """Return what was learned so far."""
        counted = self._weight or 1.0
        ratios = {c.name: score / counted for c, score in zip(CANDIDATES, self._scores, strict=True)}
        return AdaptiveSnapshot(
            CANDIDATES[self._in_force].name,
            ratios,
            (max(self._scores) - self._scores[self._in_force]) / counted,
            self._switches,
            self._sampled,
        )

    def admit(self, key: str, entry: Entry) -> None:
        """Put a new key where the candidate in force has it."""
        if self._recency:
            self.entries[key] = entry
            entry.uses = TOLD | IN_MAIN
            self._main.append(key, entry)
        else:
            super().admit(key, entry)
        if self._is_sampled(key):
            entry.uses = TOLD | SAMPLED | entry.uses & IN_MAIN
            self._filled(key, entry)

    def replace(self, key: str, old: Entry, new: Entry) -> None:
        """Put the new entry where the old one was, and count a use."""
        super().replace(key, old, new)
        if new.uses > 3:
            if new.uses & SAMPLED:
                self._filled(key, new)
            self._used(key, new)

    def touch(self, key: str) -> None:
        """Note a use, and ask the miniatures if the key is sampled."""
        entry = self.entries[key]
        if entry.uses & SAMPLED:
            self._now = now = self._clock()
            ttl = max(0.0, entry.expires_s - entry.filled_s)
            for miniature in self._miniatures:
                if miniature.get(key, now) is None:
                    miniature.set(key, entry.weight, ttl_seconds=ttl)
            self._count()
        self._used(key, entry)

    def evict(self) -> tuple[str, Entry]:
        """Choose as the candidate in force does."""
        return self._evict_least_recent() if self._recency else super().evict()

    def _used(self, key: str, entry: Entry) -> None:
        if not self._recency:
            super().touch(key)
        else:
            (self._main if entry.uses & IN_MAIN else self._small).remove(key, entry)
            entry.uses |= IN_MAIN
            self._main.append(key, entry)

    def _evict_least_recent(self) -> tuple[str, Entry]:
        """Take the first; what came before LRU was in force and was used since goes behind the others."""
        self._ever_full = True
        while True:
            chain = self._main if self._small.first is None else self._small
            key = chain.first
            if key is None:
                raise IndexError("evict from an empty policy")
            entry = self.entries[key]
            chain.remove(key, entry)
            if entry.uses > 3 or not entry.uses & 3:
                del self.entries[key]
                return key, entry
            entry.uses = TOLD | IN_MAIN
            self._main.append(key, entry)

    def _missed(self, key: str) -> None:
        if not self._is_sampled(key):
            return
        self._now = now = self._clock()
        for miniature in self._miniatures:
            miniature.get(key, now)
        self._missing[key] = None
        if len(self._missing) > _MISSES_AWAITED:
            del self._missing[next(iter(self._missing))]
        self._count()

    def _filled(self, key: str, entry: Entry) -> None:
        """Set in the miniatures what was set: what answers a miss, only in those that missed it too."""
        was_missed = key in self._missing
        if was_missed:
            del self._missing[key]
        self._now = now = self._clock()
        ttl = max(0.0, entry.expires_s - entry.filled_s)
        for miniature in self._miniatures:
            held = miniature.peek(key, now) if was_missed else None
            if held is None:
                miniature.set(key, entry.weight, ttl_seconds=ttl)

    def _count(self) -> None:
        self._sampled += 1
        self._since += 1
        if self._since >= _COMPARED_EVERY:
            self._compare()

    def _compare(self) -> None:
        for index, miniature in enumerate(self._miniatures):
            hits, self._hits_before[index] = miniature.hits - self._hits_before[index], miniature.hits
            self._scores[index] = self._scores[index] * _FADES_BY + hits
        self._weight = self._weight * _FADES_BY + self._since
        self._since = 0
        best = max(range(len(CANDIDATES)), key=self._scores.__getitem__)
        lead = (self._scores[best] - self._scores[self._in_force]) / self._weight
        if lead > max(_LEAD, _DOUBT / math.sqrt(self._weight)):
            self._put_in_force(best)

    def _put_in_force(self, index: int) -> None:
        self._in_force = index
        self._switches += 1
        candidate = CANDIDATES[index]
        self._recency = not candidate.small_share
        if not self._recency:
            self.small_share, self.promote_at = candidate.small_share, candidate.promote_at

    def _is_sampled(self, key: str) -> bool:
        # Multiplied, because a checksum alone spreads numbered keys too evenly to be a random sample.
        return (zlib.crc32(key.encode()) * 0x9E3779B1 & 0xFFFFFFFF) < self._sampled_below

    def _miniature(self, candidate: Candidate, max_entries: int, max_bytes: int, rate: int) -> MemoryTier:
        from perfkit.cache.memory import MemoryTier  # which imports this folder

        entries, size = max(1, max_entries // rate), max(1, max_bytes // rate)
        policy: EvictionPolicy = Lru(reclaims_expired=True)
        if candidate.small_share:
            policy = S3Fifo(entries, small_share=candidate.small_share, promote_at=candidate.promote_at)
        return MemoryTier(
            max_entries=entries,
            max_bytes=size,
            max_entry_bytes=size,
            policy=policy,
            clock=lambda: self._now,
            weigh=_its_own_weight,
        )


def _its_own_weight(value: object) -> int:
    """A miniature stores an entry's weight in place of its value."""
    assert isinstance(value, int)  # noqa: S101  # for the type checker
    return value
