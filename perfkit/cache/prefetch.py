"""Prefetching: fetching what will probably be asked for next, while that is measured to be worth it.

What follows what is learnt as a table of successors: for each key the few that came next most often, with
counts that fade (a first-order Markov chain, as Padmanabhan and Mogul [1] used for web pages). Where requests
of many callers interleave, "next" means nothing between two strangers, so each *source* has a chain of its
own; the default source is the running task, which in a server is one request being answered.

A fetch is useful if its key is asked for while the answer is there and was not there anyway. Three things
keep the others few:

- **The threshold**: only successors that followed with at least a given probability.
- **The budget**: a fetch takes a credit, and only a useful one gives it back. Each call that somebody waited
  for earns a part of a credit (`budget`); so fetches *in vain* never exceed that part of such calls, while
  useful ones go on for as long as they are useful.
- **The gate**: of recent predictions, which share came true? It is measured even while the gate is closed,
  because a prediction can be noted and checked without being fetched. So the gate starts closed, opens once
  predictions have proved themselves, and traffic that cannot be predicted costs no fetch at all. While it is
  open, fetches are judged by what became of them; it closes when too few are used, and judges predictions
  again. While it is closed for good reason, only one stretch of requests in eight is looked at.

[1] V. Padmanabhan, J. Mogul: *Using predictive prefetching to improve World Wide Web latency*. ACM SIGCOMM
    Computer Communication Review 26(3), 1996.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from perfkit.cache.settings import CacheSettings
from perfkit.clock import Clock, now_s
from perfkit.errors import SettingsError

__all__ = ["NOBODY", "PrefetchStats", "Prefetcher", "prefetch_source"]

prefetch_source: ContextVar[Hashable] = ContextVar("prefetch_source", default=None)
"""Whose requests follow each other: set it to a session's or user's id, where that is known."""

NOBODY: Final = "\0nobody"
"""The source of requests that follow no habit, such as a warmer's: nothing is learnt from them."""

_SUCCESSORS = 4
_FADE_ABOVE = 32
_DOUBT = 1
"""Times a key is taken to have been followed by something else before anything is known."""

_AT_ONCE = 2
_MOST_SOURCES = 2_048
_MOST_PENDING = 4_096
_MOST_CREDITS = 50.0

_JUDGED = 32
"""So many predictions are judged before the gate may open."""
_RECENT = 64
"""Fetches are judged by an average that forgets about this many outcomes ago,"""
_FORECASTS_RECENT = 256
"""and forecasts, which cost nothing, by a longer one."""
_STRETCH = 1_024
_ONE_STRETCH_IN = 8
_RECONSIDERED_AFTER = 8_192
"""After so many requests with the gate closed, only some stretches are looked at."""


@dataclass(frozen=True, slots=True)
class PrefetchStats:
    """What was fetched beforehand and what became of it."""

    issued: int
    used: int
    wasted: int
    gated: int
    """Predictions that were noted but not fetched, because the gate was closed."""
    over_budget: int
    """Predictions that were not fetched, because no credit was left."""
    is_open: bool
    useful_share: float
    """Of recent predictions, those that came true."""
    keys: int


class Prefetcher:
    """Learns which key follows which, and names the keys to be fetched now.

    >>> prefetcher = Prefetcher(min_probability=0.5, budget=0.2)
    >>> for _ in range(100):
    ...     for key in ("list", "first", "second"):
    ...         prefetcher.loaded()
    ...         fetch = prefetcher.asked(key, source="ada")
    >>> prefetcher.asked("list", source="ada")
    ('first',)
    """

    __slots__ = (
        "_budget", "_clock", "_closed_for", "_credits", "_forecasts", "_held", "_judged", "_last",
        "_lifetime_s", "_made", "_max_keys", "_min_probability", "_min_useful", "_older", "_pending", "_seen",
        "_share", "_table", "_true", "gated", "is_open", "issued", "over_budget", "used", "wasted",
    )  # fmt: skip

    def __init__(
        self,
        *,
        min_probability: float,
        budget: float,
        min_useful: float = 0.4,
        lifetime_seconds: float = 60.0,
        held: Callable[[str], object] | None = None,
        max_keys: int = 10_000,
        clock: Clock = now_s,
    ) -> None:
        """Know nothing, with the gate closed.

        Args:
            min_probability: How often a key must have followed to be fetched.
            budget: Fetches in vain that are allowed for each call somebody waited for.
            min_useful: The gate is open while so many of the fetches are used; it opens a tenth above.
            lifetime_seconds: How long an answer is taken to be there, until `fetched` says better.
            held: Tells whether a key's answer is at hand; such a key is not fetched.
            max_keys: Successors are kept for so many keys, about 400 bytes each.
            clock: What lifetimes count on.

        Raises:
            SettingsError: a probability is not above 0 and at most 1, or the budget not above 0.
        """
        for path, value in (("prefetch_min_probability", min_probability), ("min_useful", min_useful)):
            if not 0 < value <= 1:
                raise SettingsError(
                    f"{path}={value:g} is refused: it is a share. Write above 0, at most 1.",
                    path=path,
                    value=value,
                    allowed="> 0, <= 1",
                )
        if not budget > 0:
            raise SettingsError(
                f"prefetch_budget={budget:g} is refused: nothing would ever be fetched. Write above 0.",
                path="prefetch_budget",
                value=budget,
                allowed="> 0",
            )
        self._min_probability = min_probability
        self._budget = budget
        self._min_useful = min_useful
        self._lifetime_s = lifetime_seconds
        self._held = held
        self._max_keys = max(max_keys // 2, 1)
        self._clock = clock
        self._table: dict[str, dict[str, float]] = {}
        self._older: dict[str, dict[str, float]] = {}
        self._last: dict[Hashable, str] = {}
        self._pending: dict[str, float] = {}
        self._forecasts: dict[str, float] = {}
        self._credits = 0.0
        self._share = self._made = self._true = 0.0
        self._judged = self._closed_for = self._seen = 0
        self.is_open = False
        self.issued = self.used = self.wasted = self.gated = self.over_budget = 0

    @classmethod
    def of(
        cls, settings: CacheSettings, *, held: Callable[[str], object] | None = None, clock: Clock = now_s
    ) -> Prefetcher | None:
        """Make one as the knobs say; None where `prefetch` is off."""
        if not settings.prefetch:
            return None
        return cls(
            min_probability=settings.prefetch_min_probability,
            budget=settings.prefetch_budget,
            min_useful=min(0.4, settings.prefetch_min_probability),
            lifetime_seconds=settings.l1_ttl_seconds,
            held=held,
            clock=clock,
        )

    def asked(self, key: str, source: Hashable = None) -> tuple[str, ...]:
        """Learn that a key was asked for, hit or miss, and return the keys to fetch now, seldom any.

        Each returned key has taken a credit: tell what became of it with `fetched`, `failed` or `returned`.

        Args:
            key: A full key.
            source: Whose chain of requests this belongs to; default `prefetch_source`, else the running task.
        """
        if not self.is_open and self._is_out_of_sight():
            return ()
        if self._pending or self._forecasts:
            self._settle(key)
        if source is None:
            source = prefetch_source.get() or _running_task()
        if source == NOBODY:
            return ()
        last = self._last
        before = last.pop(source, None)
        last[source] = key
        if len(last) > _MOST_SOURCES:
            del last[next(iter(last))]
        if before == key:
            return ()
        if before is not None:
            self._learn(before, key)
        successors = self._table.get(key) or self._older.get(key)
        return self._fetch_now(successors) if successors is not None else ()

    def loaded(self) -> None:
        """Hear that somebody waited for the origin: that earns a part of a fetch."""
        self._credits = min(self._credits + self._budget, _MOST_CREDITS)

    def fetched(self, key: str, ttl_seconds: float) -> None:
        """Hear that a key was fetched, and how long its answer lives."""
        if key in self._pending:
            self._pending[key] = self._clock() + ttl_seconds

    def failed(self, key: str) -> None:
        """Hear that a key could not be fetched: a call was made in vain."""
        if self._pending.pop(key, None) is not None:
            self._is_wasted()

    def returned(self, key: str) -> None:
        """Hear that a key was not fetched after all, because it was there or nobody knew how."""
        if self._pending.pop(key, None) is not None:
            self.issued -= 1
            self._credits += 1

    def stats(self) -> PrefetchStats:
        """Return what was done so far."""
        return PrefetchStats(
            self.issued,
            self.used,
            self.wasted,
            self.gated,
            self.over_budget,
            self.is_open,
            self._share,
            len(self._table) + len(self._older),
        )

    def _is_out_of_sight(self) -> bool:
        """Whether this request is in a stretch that is not looked at."""
        self._seen += 1
        if self._closed_for < _RECONSIDERED_AFTER:
            self._closed_for += 1
            return False
        if self._seen // _STRETCH % _ONE_STRETCH_IN:
            if self._last:  # what comes after the gap follows nothing, and proves nothing
                self._last.clear()
                self._forecasts.clear()
            return True
        return False

    def _learn(self, before: str, key: str) -> None:
        table = self._table
        successors = table.get(before)
        if successors is None:
            successors = self._older.pop(before, None)
            if successors is None:
                successors = {}
            if len(table) >= self._max_keys:  # what nobody asked for in a generation is forgotten
                self._older, self._table = table, {}
            self._table[before] = successors
        successors[_ALL] = successors.get(_ALL, 0.0) + 1
        count = successors.get(key)
        if count is not None:
            successors[key] = count + 1
        elif len(successors) <= _SUCCESSORS:
            successors[key] = 1.0
        else:
            least = min((one for one in successors if one is not _ALL), key=successors.__getitem__)
            if successors[least] <= 1:
                del successors[least]
                successors[key] = 1.0
            else:  # it must come more than once before it displaces one that did
                successors[least] -= 1
        if successors[_ALL] >= _FADE_ABOVE:
            for one in list(successors):
                successors[one] /= 2
                if one is not _ALL and successors[one] < 1:
                    del successors[one]

    def _fetch_now(self, successors: dict[str, float]) -> tuple[str, ...]:
        needed = self._min_probability * (successors.get(_ALL, 0.0) + _DOUBT)
        now = 0.0
        found: tuple[str, ...] = ()
        for one, count in successors.items():
            if count < needed or one is _ALL or one in self._pending or one in self._forecasts:
                continue
            if self._held is not None and self._held(one):
                continue
            now = now or self._clock()
            if not self.is_open:
                self.gated += 1
                if len(self._forecasts) < _MOST_PENDING:
                    self._forecasts[one] = now + self._lifetime_s
                    self._made += 1
            elif self._credits < 1 or len(self._pending) >= _MOST_PENDING:
                self.over_budget += 1
            elif len(found) < _AT_ONCE:
                self._credits -= 1
                self.issued += 1
                self._pending[one] = now + self._lifetime_s
                found = (*found, one)
        return found

    def _settle(self, key: str) -> None:
        """Judge what was predicted: this key, and what is over."""
        pending, forecasts = self._pending, self._forecasts
        now = self._clock()
        ends = pending.pop(key, None)
        if ends is not None:
            if now <= ends:
                self.used += 1
                self._credits = min(self._credits + 1 + self._budget, _MOST_CREDITS)
                self._judge(1)
            else:
                self._is_wasted()
        ends = forecasts.pop(key, None)
        if ends is not None and now <= ends:
            self._came_true()
        while pending and next(iter(pending.values())) < now:
            del pending[next(iter(pending))]
            self._is_wasted()
        while forecasts and next(iter(forecasts.values())) < now:
            del forecasts[next(iter(forecasts))]

    def _is_wasted(self) -> None:
        self.wasted += 1
        self._judge(0)

    def _came_true(self) -> None:
        """Judge forecasts by all that were made: failures show late, and must not be missing until then."""
        self._true += 1
        if self._made > _FORECASTS_RECENT:
            self._made /= 2
            self._true /= 2
        self._share = self._true / self._made
        if self._made >= _JUDGED and self._share >= min(1.1 * self._min_useful, 1.0):
            self._turn(is_open=True)

    def _judge(self, useful: int) -> None:
        self._judged += 1
        self._share += (useful - self._share) / _RECENT
        if self.is_open and self._judged >= _JUDGED and self._share < self._min_useful:
            self._turn(is_open=False)

    def _turn(self, *, is_open: bool) -> None:
        self.is_open = is_open
        self._judged = self._closed_for = 0
        self._made = self._true = 0.0
        self._forecasts.clear()


_ALL = "\0all"
"""Stands in a key's successors for how often it was followed at all; no full key begins so."""


def _running_task() -> Hashable:
    """Name the task that asks: its own name, because its address is another's as soon as it has ended."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    return task.get_name() if task is not None else None
