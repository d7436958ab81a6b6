"""What follows is fetched where it can be known, and nothing is fetched where it cannot."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from itertools import pairwise

import pytest

from perfkit.cache.prefetch import Prefetcher, PrefetchStats, prefetch_source
from perfkit.cache.settings import CacheSettings
from perfkit.errors import SettingsError
from perfkit.lab.virtual import run_virtual

Request = tuple[str, Hashable]


class Cache:
    """An LRU cache with a time to live, to which a fetch takes no time."""

    def __init__(
        self, *, size: int = 500, ttl_s: float = 60.0, budget: float = 0.2, off: bool = False
    ) -> None:
        self.now = 0.0
        self.loads = self.fetches = self.requests = 0
        self._held: OrderedDict[str, float] = OrderedDict()
        self._size, self._ttl_s = size, ttl_s
        self.prefetcher = None if off else Prefetcher(
            min_probability=0.5, budget=budget, lifetime_seconds=ttl_s, held=self.held, clock=lambda: self.now
        )  # fmt: skip

    def held(self, key: str) -> bool:
        return self._held.get(key, -1.0) >= self.now

    def play(self, requests: Iterable[Request]) -> Cache:
        for key, source in requests:
            self.now += 0.01
            self.requests += 1
            if self.held(key):
                self._held.move_to_end(key)
            else:
                self.loads += 1
                self._keep(key)
                if self.prefetcher is not None:
                    self.prefetcher.loaded()
            for following in () if self.prefetcher is None else self.prefetcher.asked(key, source):
                self.fetches += 1
                self._keep(following)
                assert self.prefetcher is not None
                self.prefetcher.fetched(following, self._ttl_s)
        return self

    def _keep(self, key: str) -> None:
        self._held[key] = self.now + self._ttl_s
        self._held.move_to_end(key)
        if len(self._held) > self._size:
            self._held.popitem(last=False)

    @property
    def stats(self) -> PrefetchStats:
        assert self.prefetcher is not None
        return self.prefetcher.stats()


def chains(requests: int, *, users: int, noise: float, seed: int = 1) -> list[Request]:
    """Users who each go through walks of five keys, popular walks more often, with keys at random between."""
    rng = random.Random(seed)  # noqa: S311  # a simulation, not a secret
    walks = [(1, 0)] * users
    made: list[Request] = []
    while len(made) < requests:
        user = rng.randrange(users)
        if rng.random() < noise:
            made.append((f"noise {rng.randrange(20_000)}", user))
            continue
        walk, step = walks[user]
        made.append((f"walk {walk} {step}", user))
        walks[user] = (walk, step + 1) if step < 4 else (min(int(rng.paretovariate(0.8)), 2_000), 0)
    return made


def at_random(requests: int, *, seed: int = 1) -> list[Request]:
    rng = random.Random(seed)  # noqa: S311
    weights = [rank**-0.8 for rank in range(1, 20_001)]
    return [(f"k{key}", 0) for key in rng.choices(range(20_000), weights, k=requests)]


def test_who_walks_known_ways_waits_half_as_often_and_nothing_is_fetched_in_vain() -> None:
    requests = chains(40_000, users=1, noise=0.0)
    off, on = Cache(off=True).play(requests), Cache().play(requests)

    assert on.loads < 0.65 * off.loads
    assert on.loads + on.fetches < 1.01 * off.loads
    assert on.stats.used > 0.98 * on.stats.issued


def test_interleaved_users_are_told_apart_by_their_source() -> None:
    requests = chains(40_000, users=50, noise=0.2)
    off, apart = Cache(off=True).play(requests), Cache().play(requests)
    blurred = Cache().play((key, "everybody") for key, _ in requests)

    assert apart.loads < 0.92 * off.loads
    assert apart.stats.used > 0.7 * apart.stats.issued
    assert (blurred.fetches, blurred.loads) == (0, off.loads)


def test_requests_at_random_cost_no_fetch_at_all() -> None:
    """Predictions are judged before any is acted on."""
    requests = at_random(60_000)
    on = Cache().play(requests)

    assert on.fetches == 0
    assert on.loads == Cache(off=True).play(requests).loads
    assert not on.stats.is_open
    assert on.stats.gated > 0


def test_the_gate_closes_when_traffic_stops_being_predictable_and_waste_is_within_the_budget() -> None:
    budget = 0.2
    cache = Cache(budget=budget).play(chains(30_000, users=1, noise=0.2))
    assert cache.stats.is_open
    loads, wasted, issued = cache.loads, cache.stats.wasted, cache.stats.issued

    shuffled = [key for key, _ in chains(60_000, users=1, noise=0.2)]
    random.Random(3).shuffle(shuffled)  # noqa: S311
    cache.play((key, 0) for key in shuffled)
    after = cache.stats

    assert not after.is_open
    assert after.wasted - wasted <= budget * (cache.loads - loads) + 50
    assert after.issued - issued < 0.05 * (cache.loads - loads)


def test_the_gate_opens_again_when_traffic_becomes_predictable() -> None:
    cache = Cache().play(at_random(60_000))
    closed = cache.stats

    cache.play(chains(120_000, users=1, noise=0.0))

    assert (closed.is_open, cache.stats.is_open) == (False, True)
    assert cache.stats.used > 0.9 * cache.stats.issued > 0


@pytest.mark.parametrize("budget", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("noise", [0.0, 0.3, 0.45, 0.6])
def test_fetches_in_vain_never_exceed_their_part_of_the_calls_somebody_waited_for(
    budget: float, noise: float
) -> None:
    cache = Cache(budget=budget)
    for part in range(10):
        cache.play(chains(3_000, users=5, noise=noise, seed=part))
        stats = cache.stats
        assert stats.issued - stats.used <= budget * (cache.loads + stats.used) + 1


def test_what_is_at_hand_is_not_fetched() -> None:
    prefetcher = Prefetcher(min_probability=0.5, budget=1, held=lambda key: key == "b", clock=lambda: 0.0)
    open_gate(prefetcher)
    for key in "abcabcabcabc":
        fetched = prefetcher.asked(key, "s")
        assert "b" not in fetched


def open_gate(prefetcher: Prefetcher) -> None:
    """Show it a way it can predict until it trusts itself, and give it credit."""
    for turn in range(400):
        prefetcher.loaded()
        for step in range(3):
            for key in prefetcher.asked(f"warm up {turn % 5} {step}", "warm up"):
                prefetcher.fetched(key, 60)
    assert prefetcher.is_open


def test_a_credit_comes_back_when_a_fetch_was_not_made() -> None:
    prefetcher = Prefetcher(min_probability=0.5, budget=10, clock=lambda: 0.0)
    open_gate(prefetcher)
    before = prefetcher.stats()
    for turn in range(1_000):
        for key in prefetcher.asked("warm up 1 0", f"another {turn}"):
            prefetcher.returned(key)

    assert prefetcher.stats().issued == before.issued
    assert prefetcher.stats().is_open


def test_a_fetch_that_fails_was_in_vain() -> None:
    prefetcher = Prefetcher(min_probability=0.5, budget=10, clock=lambda: 0.0)
    open_gate(prefetcher)
    for turn in range(2_000):
        prefetcher.loaded()
        for key in prefetcher.asked("warm up 1 0", f"another {turn}"):
            prefetcher.failed(key)

    assert not prefetcher.is_open
    assert prefetcher.stats().wasted >= 32


def test_what_was_not_asked_for_before_it_ended_was_in_vain() -> None:
    now = 0.0
    prefetcher = Prefetcher(min_probability=0.5, budget=10, clock=lambda: now)
    open_gate(prefetcher)
    prefetcher.asked("other", "s")
    (key,) = prefetcher.asked("warm up 1 0", "s")
    prefetcher.fetched(key, 5)
    before = prefetcher.stats()
    now = 5.1
    prefetcher.asked(key, "s")

    assert prefetcher.stats().wasted == before.wasted + 1
    assert prefetcher.stats().used == before.used


def test_requests_of_one_task_follow_each_other_and_those_of_two_do_not() -> None:
    prefetcher = Prefetcher(min_probability=0.5, budget=1, lifetime_seconds=1e9)

    async def answer(user: int) -> None:
        for step in range(3):
            prefetcher.loaded()
            prefetcher.asked(f"{user % 7} {step}")
            await asyncio.sleep(1)

    async def main() -> None:
        for first in range(200):
            await asyncio.gather(*(answer(first + more) for more in range(4)))

    run_virtual(main())

    assert prefetcher.is_open
    assert prefetcher.stats().useful_share > 0.9


def test_a_source_can_be_set_for_all_below() -> None:
    prefetcher = Prefetcher(min_probability=0.5, budget=1)

    async def one(session: str, key: str) -> tuple[str, ...]:
        prefetch_source.set(session)
        prefetcher.loaded()
        return prefetcher.asked(key)

    async def main() -> tuple[str, ...]:
        fetched: tuple[str, ...] = ()
        for _ in range(200):
            for key in ("list", "item"):
                fetched = await asyncio.create_task(one("ada", key))
        return fetched

    assert run_virtual(main()) == ("list",)


def test_memory_is_bounded_whatever_comes() -> None:
    prefetcher = Prefetcher(min_probability=0.1, budget=1, max_keys=1_000, clock=lambda: 0.0)
    rng = random.Random(2)  # noqa: S311
    for turn in range(30_000):
        prefetcher.asked(f"k{rng.randrange(5_000)}", f"source {turn % 3_000}")
    sizes = {
        name: len(getattr(prefetcher, name))
        for name in ("_last", "_pending", "_forecasts", "_table", "_older")
    }

    assert prefetcher.stats().keys <= 1_000
    assert all(size <= 4_097 for size in sizes.values()), sizes
    assert all(len(successors) <= 6 for successors in prefetcher._table.values())
    assert sys.getsizeof(prefetcher._last) < 200_000


def test_the_newest_habit_displaces_the_old_one() -> None:
    prefetcher = Prefetcher(min_probability=0.5, budget=1, clock=lambda: 0.0)
    for follower in ("old",) * 300 + ("new",) * 60:
        for before, after in pairwise(("start", follower, f"end of {follower}")):
            prefetcher._learn(before, after)
    successors = prefetcher._table["start"]

    assert successors["new"] > 5 * successors.get("old", 0.1)


def test_the_knobs_make_it() -> None:
    assert Prefetcher.of(CacheSettings()) is None
    assert Prefetcher.of(CacheSettings(prefetch=True)) is not None


@pytest.mark.parametrize(
    "wrong", [{"min_probability": 0.0}, {"min_probability": 1.1}, {"budget": 0.0}, {"min_useful": 0.0}]
)
def test_what_could_never_fetch_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        Prefetcher(**({"min_probability": 0.5, "budget": 0.2} | wrong))  # type: ignore[arg-type]
