"""Estimates follow what was observed, within their bounds, the same way each time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import SettingsError
from perfkit.resilience import Aimd, Fixed, Gradient2, Limit, Window


def busy(limit: Limit, delay_s: float, *, dropped: int = 0) -> Window:
    """A window in which the whole limit was used."""
    return Window(mean_delay_s=delay_s, samples=100, max_in_flight=limit.value, dropped=dropped)


class LimitCase:
    """What holds for every estimate."""

    low, high = 4, 200

    def make(self, initial: int = 20) -> Limit:
        """Make one."""
        raise NotImplementedError

    @pytest.mark.parametrize("initial", [4, 20, 113, 200])
    def test_it_stays_within_its_bounds_and_repeats_itself(self, initial: int) -> None:
        """Whatever it is told, twice the same."""
        one, other = self.make(initial), self.make(initial)
        chance = random.Random(initial)  # noqa: S311  # chance, no secret
        for _ in range(5000):
            window = Window(
                mean_delay_s=chance.choice([0.0, 1e-6, chance.random(), 60.0]),
                samples=chance.randrange(1000),
                max_in_flight=chance.randrange(300),
                dropped=chance.choice([0] * 20 + [1, 20]),
            )
            one.update(window)
            other.update(window)
            assert self.low <= one.value <= self.high
            assert one.value == other.value
            assert isinstance(one.value, int)

    def test_it_begins_where_it_was_told(self) -> None:
        """Until it has seen something."""
        assert self.make(20).value == 20


class TestFixed(LimitCase):
    """A number is a number."""

    def make(self, initial: int = 20) -> Limit:
        """Make one."""
        return Fixed(initial)

    def test_it_never_changes(self) -> None:
        """Whatever happens."""
        limit = self.make(20)
        limit.update(busy(limit, 10.0, dropped=50))
        assert limit.value == 20


class TestAimd(LimitCase):
    """Up by one, down by a tenth."""

    def make(self, initial: int = 20) -> Limit:
        """Make one."""
        return Aimd(low=self.low, initial=initial, high=self.high)

    def test_it_grows_by_one_while_it_is_used(self) -> None:
        """Up to its bound."""
        limit = self.make()
        for _ in range(3):
            limit.update(busy(limit, 0.001))
        assert limit.value == 23

        for _ in range(1000):
            limit.update(busy(limit, 0.001))
        assert limit.value == self.high

    def test_it_does_not_grow_when_less_than_half_is_used(self) -> None:
        """An idle client knows nothing of the server."""
        limit = self.make(20)
        limit.update(Window(mean_delay_s=0.001, samples=50, max_in_flight=9, dropped=0))
        assert limit.value == 20

        limit.update(Window(mean_delay_s=0.001, samples=50, max_in_flight=10, dropped=0))
        assert limit.value == 21

    def test_a_drop_takes_a_tenth_and_always_something(self) -> None:
        """However many were dropped in the window, and also where a tenth is less than one."""
        limit = self.make(20)
        values = []
        for _ in range(20):
            limit.update(busy(limit, 0.001, dropped=30))
            values.append(limit.value)

        assert values[:4] == [18, 16, 14, 12]
        assert values[-1] == self.low
        assert all(after < before or after == self.low for before, after in pairwise(values))


class Netflix:
    """Gradient2Limit of Netflix's concurrency-limits, line by line: the oracle."""

    def __init__(
        self, low: int, initial: int, high: int, tolerance: float, smoothing: float, window: int
    ) -> None:
        self.low, self.high, self.tolerance, self.smoothing = low, high, tolerance, smoothing
        self.estimated_limit = float(initial)
        self.window, self.warmup = window, 10
        self.count, self.sum, self.long_rtt = 0, 0.0, 0.0

    def add(self, sample: float) -> float:
        if self.count < self.warmup:
            self.count += 1
            self.sum += sample
            self.long_rtt = self.sum / self.count
        else:
            factor = 2.0 / (self.window + 1)
            self.long_rtt = self.long_rtt * (1 - factor) + sample * factor
        return self.long_rtt

    def update(self, rtt: float, inflight: int) -> float:
        queue_size = 4 + math.sqrt(self.estimated_limit)
        long_rtt = self.add(rtt)
        if long_rtt / rtt > 2:
            self.long_rtt *= 0.95
        if inflight < self.estimated_limit / 2:
            return self.estimated_limit
        gradient = max(0.5, min(1.0, self.tolerance * long_rtt / rtt))
        new_limit = self.estimated_limit * gradient + queue_size
        new_limit = self.estimated_limit * (1 - self.smoothing) + new_limit * self.smoothing
        self.estimated_limit = max(self.low, min(self.high, new_limit))
        return self.estimated_limit


class TestGradient2(LimitCase):
    """Delay against the usual delay."""

    def make(self, initial: int = 20, **more: Any) -> Limit:
        """Make one."""
        return Gradient2(low=self.low, initial=initial, high=self.high, **more)

    def settled(self, delay_s: float, load: Callable[[int], float], windows: int) -> Limit:
        """One that has seen a server whose delay depends on the load."""
        limit = self.make()
        for _ in range(windows):
            limit.update(busy(limit, delay_s * load(limit.value)))
        return limit

    @given(
        rtts=st.lists(
            st.tuples(st.floats(min_value=1e-5, max_value=5), st.integers(min_value=0, max_value=200)),
            max_size=100,
        ),
        tolerance=st.sampled_from([1.0, 1.5, 2.0]),
    )
    def test_without_drops_it_is_netflix_s(self, rtts: list[tuple[float, int]], tolerance: float) -> None:
        """The same estimate after every window, but for rounding."""
        limit = self.make(tolerance=tolerance, long_windows=600)
        oracle = Netflix(self.low, 20, self.high, tolerance, 0.2, 600)
        for rtt, inflight in rtts:
            limit.update(Window(mean_delay_s=rtt, samples=50, max_in_flight=inflight, dropped=0))
            expected = oracle.update(rtt, inflight)
            assert limit.value in {int(expected - 1e-6), int(expected + 1e-6)}

    def test_it_finds_about_what_the_server_can_do(self) -> None:
        """Ten at a time without a queue: after a minute of full load it is still far from its bound."""
        limit = self.settled(0.01, lambda load: max(1.0, load / 10), windows=600)
        assert 10 <= limit.value <= self.high / 2

    def test_it_uses_a_server_that_never_queues_to_the_full(self) -> None:
        """Nothing speaks against more."""
        assert self.settled(0.01, lambda load: 1.0, windows=300).value == self.high

    def test_it_shrinks_when_the_server_slows_and_comes_back_after(self) -> None:
        """Within seconds, both ways: ten windows are one second."""
        limit = self.settled(0.01, lambda load: 1.0, windows=300)
        for _ in range(20):
            limit.update(busy(limit, 0.1))
        slowed = limit.value
        for _ in range(100):
            limit.update(busy(limit, 0.01))

        assert slowed < self.high / 4
        assert limit.value == self.high

    def test_a_long_slow_time_is_soon_not_the_usual_any_more(self) -> None:
        """Ten minutes of slowness are forgotten in seconds, so the next slowness is seen as one."""
        limit = self.settled(0.1, lambda load: 1.0, windows=6000)
        for _ in range(60):
            limit.update(busy(limit, 0.01))
        before = limit.value
        for _ in range(10):
            limit.update(busy(limit, 0.1))

        assert limit.value < before / 2

    def test_it_does_not_grow_when_less_than_half_is_used(self) -> None:
        """An idle client knows nothing of the server."""
        limit = self.make(20)
        limit.update(Window(mean_delay_s=0.001, samples=50, max_in_flight=9, dropped=0))
        assert limit.value == 20

    def test_a_drop_takes_a_tenth_and_teaches_no_delay(self) -> None:
        """However idle, and whatever those took that were answered."""
        limit = self.make(100)
        limit.update(Window(mean_delay_s=900.0, samples=50, max_in_flight=1, dropped=3))
        assert limit.value == 90

        for _ in range(9):
            limit.update(Window(mean_delay_s=0.01, samples=50, max_in_flight=1, dropped=0))
        limit.update(busy(limit, 0.5))
        assert limit.value < 90  # had it learned 900 s, half a second would be quick

    def test_calls_that_take_no_time_are_no_reason_to_shrink(self) -> None:
        """As in virtual time, before the first call that takes some."""
        limit = self.make(20)
        for _ in range(10):
            limit.update(busy(limit, 0.0))
        assert limit.value > 20


@pytest.mark.parametrize("kind", [Aimd, Gradient2])
@pytest.mark.parametrize(
    "bounds",
    [
        {"low": 0, "initial": 1, "high": 2},
        {"low": 3, "initial": 2, "high": 4},
        {"low": 1, "initial": 5, "high": 4},
        {"low": 5, "initial": 5, "high": 4},
    ],
)
def test_bounds_that_contradict_each_other_are_refused(kind: Any, bounds: dict[str, int]) -> None:
    """The lowest is 1, and the beginning lies between the two."""
    with pytest.raises(SettingsError, match="Give it "):
        kind(**bounds)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Aimd, {"backoff": 0.0}),
        (Aimd, {"backoff": 1.0}),
        (Aimd, {"backoff": math.nan}),
        (Gradient2, {"tolerance": 0.9}),
        (Gradient2, {"tolerance": math.nan}),
        (Gradient2, {"smoothing": 0.0}),
        (Gradient2, {"smoothing": 1.1}),
        (Gradient2, {"long_windows": 0}),
    ],
)
def test_a_constant_with_which_nothing_is_learned_is_refused(kind: Any, wrong: dict[str, float]) -> None:
    """By its name."""
    with pytest.raises(SettingsError) as refused:
        kind(low=1, initial=2, high=3, **wrong)
    assert refused.value.path in wrong


def test_a_fixed_limit_of_nothing_is_refused() -> None:
    """Nobody would ever be let in."""
    with pytest.raises(SettingsError, match="value is 0"):
        Fixed(0)
