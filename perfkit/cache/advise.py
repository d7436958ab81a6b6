"""Advice from live traffic: what other sizes and times to live would make of the requests that really come.

For a handful of sizes and times to live, the hit ratio of an LRU cache is followed request by request,
over a sample of the keys (SHARDS [1], the same sample the recorder draws):

- A drawn request's *stack distance*, the number of different keys asked for since its key was last, is
  counted with a Fenwick tree [2] over the order of last uses. Divided by the share drawn, it tells for each
  size whether the key would still be there.
- Each key carries, for each size and time to live, when it was last filled there. It is a miss where the key
  would have been pushed out, or the fill is older than the time to live; then it is filled anew.

So size and time to live are modelled jointly and exactly for the sample, as `perfkit.lab.model` does; the
sampling is the only error. SHARDS-adj takes the largest part away: whether the hottest keys happen to be
drawn makes the sample too large or too small by requests that are hits at any size, so misses are counted
and divided by what the sample should have been. What remains is read off eight disjoint parts of the sample,
as a 95 % interval (Student's t), and a change is suggested only where its gain is beyond its own interval:
with few keys and a small share that is often nothing.

Bounded (SHARDS' second form): when more keys are tracked than there is room for, those with the highest
hashes are dropped and the share falls, and what was counted is scaled to it. Keys no longer worth a time to
live are forgotten, and old counts fade by halves, so that advice is about lately.

What it does not know: the shipped policies are better than LRU more often than not, and other instances'
requests; it advises one instance on one instance's traffic. A sweep of the recorded file knows more.

[1] C. Waldspurger, N. Park, A. Garthwaite, I. Ahmad: Efficient MRC construction with SHARDS. FAST 2015.
[2] P. Fenwick: A new data structure for cumulative frequency tables. Software: Practice & Experience, 1994.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from perfkit.cache.settings import CacheSettings

__all__ = ["Advice", "Advisor", "Suggestion", "advice_on"]

_SPACE = 1 << 32
_MOST_KEYS = 4_096
_PARTS = 8
_STUDENT = 2.365
"""The 97.5 % point of Student's t with seven degrees of freedom."""
_FADE_ABOVE = 400_000
"""When so many drawn requests are counted, all counts are halved."""

_ENOUGH_REQUESTS = 2_000
_ENOUGH_KEYS = 50
_SMALLEST_SIZE = 8
"""A size whose sampled counterpart is smaller than this many entries is not judged: too coarse."""

_WORTH = 0.01
"""A change must be worth a hundredth of all requests to be suggested,"""
_FREE = 0.002
"""and a saving may cost so much of them."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One knob to change, and what that is modelled to bring."""

    knob: str
    from_value: float
    to_value: float
    metric: str
    """`l1_hit_ratio` for what spares Redis, `hit_ratio` for what spares the origin."""
    modelled_now: float
    modelled_then: float
    error: float
    """The half-width of the difference's 95 % interval, as far as drawing keys goes."""
    sampled_requests: int
    text: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What to change, or that nothing is worth changing, or that it is too early to tell."""

    enough: bool
    current: dict[str, float]
    """The knobs' values, and the modelled hit ratios at them."""
    suggestions: tuple[Suggestion, ...]
    basis: str
    """In words: how the numbers were obtained, and from how much."""

    def __str__(self) -> str:
        said = [suggestion.text for suggestion in self.suggestions]
        if self.enough and not said:
            said = ["Nothing modelled is worth changing."]
        return "\n".join([*said, self.basis])


class Advisor:
    """Follows the requests a `Recorder` draws, for `advice_on` to look at.

    >>> advisor = Advisor(share=1.0, sizes=(1, 2), ttls_s=(60.0,))
    >>> for second, key in enumerate([7, 8, 7, 7, 8]):
    ...     advisor.heard(key, float(second), second + 1)
    >>> round(advisor.hit_ratio(1, 60.0), 3), round(advisor.hit_ratio(2, 60.0), 3)
    (0.2, 0.6)
    """

    __slots__ = (
        "_cells", "_counted", "_fills", "_first_total", "_limits", "_longest_s", "_misses", "_most_keys",
        "_new", "_order", "_position", "_sizes", "_slots", "_top", "_total", "_tree", "_ttls", "share",
    )  # fmt: skip

    def __init__(
        self, *, share: float, sizes: Sequence[float], ttls_s: Sequence[float], most_keys: int = _MOST_KEYS
    ) -> None:
        """Begin with nothing.

        Args:
            share: Which share of the keys will be heard of (`Recorder.share`).
            sizes: Entries; `math.inf` for a tier that never evicts.
            ttls_s: Seconds.
            most_keys: So many keys are tracked at most, about 150 bytes each and 16 more for each size and
                time to live.
        """
        self.share = share
        self._sizes, self._ttls = tuple(sizes), tuple(ttls_s)
        self._cells = len(self._sizes) * len(self._ttls)
        self._misses = [[0.0] * self._cells for _ in range(_PARTS)]
        self._new = [0.0] * _PARTS
        """Misses in every cell: keys that were not known."""
        self._counted = 0.0
        self._total = 0.0
        self._first_total: int | None = None
        self._longest_s = max(self._ttls)
        self._most_keys = most_keys
        self._limits = _limits(self._sizes, share)
        self._fills: dict[int, list[float]] = {}
        self._order: dict[int, float] = {}  # by last use: hash -> when
        self._position: dict[int, int] = {}
        self._slots = 1 << (4 * most_keys - 1).bit_length()
        self._tree = [0] * (self._slots + 1)
        self._top = 0

    @classmethod
    def around(cls, settings: CacheSettings, *, share: float) -> Advisor:
        """Make one that knows the settings, a half, double and fourfold sizes and like times to live."""
        sizes = [max(round(settings.l1_max_entries * by), 1) for by in (0.25, 0.5, 1, 2, 4)]
        ttls = {ttl * by for ttl in (settings.l1_ttl_seconds, settings.l2_ttl_seconds) for by in (0.25, 1, 4)}
        return cls(share=share, sizes=(*sizes, math.inf), ttls_s=sorted(ttls))

    @property
    def sampled(self) -> int:
        """How many drawn requests the counts rest on."""
        return round(self._counted)

    @property
    def keys(self) -> int:
        """How many keys are tracked."""
        return len(self._fills)

    def heard(self, hashed: int, now: float, requests: int) -> None:
        """Hear of a drawn request: its key's hash, when it came, how many requests there had been in all."""
        if hashed >= self.share * _SPACE:
            return  # drawn by the recorder, and dropped here since
        if self._first_total is None:
            self._first_total = requests - 1
        self._total += requests - self._first_total
        self._first_total = requests
        self._counted += 1
        fills = self._fills.get(hashed)
        if fills is None:
            self._fills[hashed] = [now] * self._cells
            self._new[hashed % _PARTS] += 1
            self._use(hashed, now)
            if len(self._fills) > self._most_keys:
                self._make_room(now)
            return
        distance = self._distance(hashed)
        misses, ttls = self._misses[hashed % _PARTS], self._ttls
        cell = 0
        for limit in self._limits:
            there = distance <= limit
            for ttl in ttls:
                if not there or now - fills[cell] > ttl:
                    misses[cell] += 1
                    fills[cell] = now
                cell += 1
        self._use(hashed, now)
        if self._counted > _FADE_ABOVE:
            self._scale(0.5)
            self._total /= 2

    def hit_ratio(self, size: float, ttl_s: float) -> float:
        """Return the modelled hit ratio of one of the sizes and times to live.

        Raises:
            ValueError: it is none of those followed.
        """
        expected = self._total * self.share
        if not expected:
            return 0.0
        return max(1 - sum(self._parts(size, ttl_s)) / expected, 0.0)

    def error(self, size: float, ttl_s: float, *, than: tuple[float, float] | None = None) -> float:
        """Return the half-width of a hit ratio's 95 % interval, or of its difference to another's.

        Raises:
            ValueError: a size or time to live is none of those followed.
        """
        expected = self._total * self.share
        if not expected or self.share >= 1:
            return 0.0 if expected else 1.0
        parts = self._parts(size, ttl_s)
        if than is not None:
            parts = [one - other for one, other in zip(parts, self._parts(*than), strict=True)]
        mean = sum(parts) / _PARTS
        variance = sum((part - mean) ** 2 for part in parts) / (_PARTS - 1) * _PARTS
        return _STUDENT * math.sqrt(variance * (1 - self.share)) / expected

    def _parts(self, size: float, ttl_s: float) -> list[float]:
        """The misses of each part of the sample."""
        cell = self._sizes.index(size) * len(self._ttls) + self._ttls.index(ttl_s)
        return [part[cell] + new for part, new in zip(self._misses, self._new, strict=True)]

    def _distance(self, hashed: int) -> int:
        """How many different keys were asked for since this one was, itself included."""
        tree, at, before = self._tree, self._position[hashed], 0
        while at:
            before += tree[at]
            at &= at - 1
        return len(self._position) - before + 1

    def _use(self, hashed: int, now: float) -> None:
        order = self._order
        if order.pop(hashed, None) is not None:
            self._add(self._position[hashed], -1)
        order[hashed] = now
        if self._top == self._slots:
            self._tidy(now)  # numbers every key anew, this one last
            return
        self._top += 1
        self._position[hashed] = self._top
        self._add(self._top, 1)

    def _add(self, at: int, by: int) -> None:
        tree = self._tree
        while at <= self._slots:
            tree[at] += by
            at += at & -at

    def _tidy(self, now: float) -> None:
        """Forget keys whose next request is a miss whatever is modelled, and number the others anew."""
        for hashed, last in list(self._order.items()):
            if now - last <= self._longest_s:
                break  # in order of last use: all others are younger
            self._drop(hashed)
        self._number()

    def _make_room(self, now: float) -> None:
        """Draw fewer keys: those with the highest hashes go, and what was counted becomes less."""
        for hashed, last in list(self._order.items()):
            if now - last <= self._longest_s:
                break
            self._drop(hashed)
        if len(self._fills) > 0.9 * self._most_keys:
            ranked = sorted(self._fills)
            bound = ranked[int(0.75 * self._most_keys)]
            for hashed in ranked[int(0.75 * self._most_keys) :]:
                self._drop(hashed)
            share = bound / _SPACE
            self._scale(share / self.share)
            self.share = share
            self._limits = _limits(self._sizes, share)
        self._number()

    def _drop(self, hashed: int) -> None:
        del self._fills[hashed]
        del self._order[hashed]
        self._position.pop(hashed, None)

    def _number(self) -> None:
        self._position = {hashed: at for at, hashed in enumerate(self._order, 1)}
        self._top = len(self._position)
        self._tree = tree = [0] * (self._slots + 1)
        for at in range(1, self._slots + 1):  # built in one pass, each node into its parent
            tree[at] += at <= self._top
            parent = at + (at & -at)
            if parent <= self._slots:
                tree[parent] += tree[at]

    def _scale(self, by: float) -> None:
        self._misses = [[count * by for count in part] for part in self._misses]
        self._new = [count * by for count in self._new]
        self._counted *= by


def _limits(sizes: Sequence[float], share: float) -> tuple[float, ...]:
    """The distances within a sample that each size reaches; the key itself is always in it."""
    return tuple((size - 1) * share + 1 for size in sizes)


def advice_on(advisor: Advisor, settings: CacheSettings) -> Advice:
    """Judge the settings by what the advisor has seen; it must follow sizes and times `around` them."""
    l1, l1_ttl, l2_ttl = settings.l1_max_entries, settings.l1_ttl_seconds, settings.l2_ttl_seconds
    if advisor.sampled < _ENOUGH_REQUESTS or advisor.keys < _ENOUGH_KEYS:
        basis = (
            f"Not enough requests yet: {advisor.sampled:,} of {_ENOUGH_REQUESTS:,} for {advisor.keys} of "
            f"{_ENOUGH_KEYS} keys, at a share of {advisor.share:.3g} of keys. Wait, or raise record_share."
        )
        return Advice(
            False, {"l1_max_entries": l1, "l1_ttl_seconds": l1_ttl, "l2_ttl_seconds": l2_ttl}, (), basis
        )
    now_l1, now_all = advisor.hit_ratio(l1, l1_ttl), advisor.hit_ratio(math.inf, l2_ttl)
    current = {
        "l1_max_entries": float(l1),
        "l1_ttl_seconds": l1_ttl,
        "l2_ttl_seconds": l2_ttl,
        "l1_hit_ratio": now_l1,
        "hit_ratio": now_all,
    }
    found = [
        _size(advisor, l1, l1_ttl, now_l1),
        _ttl(
            advisor, "l1_ttl_seconds", l1_ttl, float(l1), "l1_hit_ratio", "in memory", min(l2_ttl, 86_400.0)
        ),
        _ttl(advisor, "l2_ttl_seconds", l2_ttl, math.inf, "hit_ratio", "in all", 2_592_000.0),
    ]
    basis = (
        f"Modelled as LRU on this instance's requests, from {advisor.sampled:,} of them for {advisor.keys:,} "
        f"keys ({advisor.share:.3g} of all keys), lately. Sweep the recording before adopting."
    )
    return Advice(True, current, tuple(one for one in found if one is not None), basis)


def _size(advisor: Advisor, size: int, ttl: float, now: float) -> Suggestion | None:
    """Suggest the largest size of which each doubling is worth it, else the smallest that costs nothing."""
    if size * advisor.share < _SMALLEST_SIZE:
        return None
    best: float = size
    for larger in (size * 2, size * 4):
        gain = advisor.hit_ratio(larger, ttl) - advisor.hit_ratio(best, ttl)
        if gain < _WORTH or gain <= advisor.error(larger, ttl, than=(best, ttl)):
            break
        best = larger
    if best > size:
        return _suggestion(
            advisor, "l1_max_entries", (size, ttl), (best, ttl), "l1_hit_ratio", now, "more hits in memory"
        )
    for smaller in (max(round(size * 0.5), 1), max(round(size * 0.25), 1)):
        if smaller * advisor.share < _SMALLEST_SIZE or not _is_free(advisor, (size, ttl), (smaller, ttl)):
            break
        best = smaller
    if best == size:
        return None
    why = "memory saved, hardly a hit lost"
    return _suggestion(advisor, "l1_max_entries", (size, ttl), (best, ttl), "l1_hit_ratio", now, why)


def _ttl(
    advisor: Advisor, knob: str, ttl: float, size: float, metric: str, where: str, at_most: float
) -> Suggestion | None:
    """Suggest four times the time to live if that is worth it, else a quarter if that costs nothing."""
    if size * advisor.share < _SMALLEST_SIZE:
        return None
    here, longer, shorter = (size, ttl), (size, ttl * 4), (size, ttl * 0.25)
    now = advisor.hit_ratio(*here)
    gain = advisor.hit_ratio(*longer) - now
    if longer[1] <= at_most and gain >= _WORTH and gain > advisor.error(*longer, than=here):
        why = f"more hits {where}, for answers up to 4 times as old"
        return _suggestion(advisor, knob, here, longer, metric, now, why)
    if _is_free(advisor, here, shorter):
        why = f"fresher answers, hardly a hit {where} lost"
        return _suggestion(advisor, knob, here, shorter, metric, now, why)
    return None


def _is_free(advisor: Advisor, here: tuple[float, float], there: tuple[float, float]) -> bool:
    loss = advisor.hit_ratio(*here) - advisor.hit_ratio(*there)
    return loss + advisor.error(*there, than=here) <= _FREE


def _suggestion(
    advisor: Advisor,
    knob: str,
    here: tuple[float, float],
    there: tuple[float, float],
    metric: str,
    now: float,
    why: str,
) -> Suggestion:
    """Put a change of size or of time to live into words."""
    old, new = next((one, other) for one, other in zip(here, there, strict=True) if one != other)
    then, error = advisor.hit_ratio(*there), advisor.error(*there, than=here)
    text = (
        f"{knob}: {old:g} → {new:g}: {why}; {metric} modelled {now:.1%} → {then:.1%} (± {error:.1%}, "
        f"{advisor.sampled:,} sampled requests)."
    )
    return Suggestion(knob, old, new, metric, now, then, error, advisor.sampled, text)
