"""What a cache counts: each request once, by the tier that answered it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["CacheStats", "Counts"]


class Counts:
    """The running counts of one namespace: plain numbers, because every hit adds to them.

    A hit of memory adds to `l1_hits`, any other request to `asked`; together they are the requests.
    """

    __slots__ = (
        "asked",
        "background",
        "hit_bytes",
        "joined",
        "l1_hits",
        "l2_hits",
        "load_bytes",
        "load_errors",
        "load_seconds",
        "loads",
        "saved_seconds",
        "stale",
        "timeouts",
    )

    def __init__(self) -> None:
        self.asked = self.l1_hits = self.l2_hits = self.joined = self.stale = 0
        self.loads = self.background = self.load_errors = self.timeouts = 0
        self.load_seconds = self.saved_seconds = 0.0
        self.hit_bytes = self.load_bytes = 0

    def stats(self, **others: Any) -> CacheStats:
        """Return the counts as a value, with what the tiers know beside them."""
        counted = {name: getattr(self, name) for name in self.__slots__}
        return CacheStats(requests=self.l1_hits + counted.pop("asked"), **counted, **others)


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What the cache has done since it was made.

    A request is counted once: as a hit of the tier that answered it, as `joined` when another caller was
    already asking, or as none of these when the origin was asked for it. `stale` are those hits among them
    whose answer was past its end. `loads` are all calls to the origin, `background` those nobody waited for.
    """

    requests: int
    l1_hits: int
    l2_hits: int
    joined: int
    stale: int
    loads: int
    background: int
    load_errors: int
    timeouts: int
    remote_errors: int
    load_seconds: float
    saved_seconds: float
    hit_bytes: int
    load_bytes: int
    cost_per_load: float
    l1_entries: int
    l1_bytes: int
    l1_peak_bytes: int
    l1_evictions: int
    l1_expirations: int

    @property
    def hits(self) -> int:
        """Requests answered without a call to the origin of their own."""
        return self.l1_hits + self.l2_hits + self.joined

    @property
    def hit_ratio(self) -> float:
        """Share of requests answered without asking the origin."""
        return self.hits / self.requests if self.requests else 0.0

    @property
    def l1_hit_ratio(self) -> float:
        """Share of requests answered without asking Redis."""
        return (self.l1_hits + self.joined) / self.requests if self.requests else 0.0

    @property
    def byte_hit_ratio(self) -> float:
        """Share of bytes answered without the origin; of answers that memory has room for."""
        whole = self.hit_bytes + self.load_bytes
        return self.hit_bytes / whole if whole else 0.0

    @property
    def time_saved_ratio(self) -> float:
        """Share of the origin's time that was saved: its hits weighed by how long each load had taken."""
        whole = self.saved_seconds + self.load_seconds
        return self.saved_seconds / whole if whole else 0.0

    @property
    def cost(self) -> float:
        """What all calls to the origin came to, in the currency of `cost_per_load`."""
        return self.loads * self.cost_per_load

    @property
    def saved_cost(self) -> float:
        """What the hits would have cost as calls, less what calls nobody waited for did; may be negative."""
        return (self.hits - self.background) * self.cost_per_load
