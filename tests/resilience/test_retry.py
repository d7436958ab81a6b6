"""Retries have a budget and spread out."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import SettingsError
from perfkit.resilience import RetryBudget, full_jitter_s


class Time:
    """A clock the test moves."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class TestFullJitter:
    """Anything between nothing and a bound that doubles."""

    @pytest.mark.parametrize(("attempt", "bound_s"), [(0, 0.005), (1, 0.01), (2, 0.02), (4, 0.08), (5, 0.1)])
    def test_waits_are_drawn_evenly_up_to_the_bound(self, attempt: int, bound_s: float) -> None:
        """Their mean is half of it, and both ends are reached."""
        rng = random.Random(1)  # noqa: S311  # chance, no secret
        waits = [full_jitter_s(attempt, rng) for _ in range(4000)]

        assert 0 <= min(waits) < 0.01 * bound_s
        assert 0.99 * bound_s < max(waits) < bound_s
        assert fmean(waits) == pytest.approx(bound_s / 2, rel=0.05)

    def test_no_attempt_is_too_late_for_the_arithmetic(self) -> None:
        """The bound is the cap, also where two to the attempt is no float."""
        rng = random.Random(1)  # noqa: S311  # chance, no secret
        assert all(0 <= full_jitter_s(attempt, rng, cap_s=7.0) < 7.0 for attempt in (31, 1024, 10**9))

    def test_the_same_seed_waits_the_same(self) -> None:
        """So a simulation can be repeated."""

        def waits(seed: int) -> list[float]:
            rng = random.Random(seed)  # noqa: S311  # chance, no secret
            return [full_jitter_s(attempt, rng) for attempt in range(10)]

        assert waits(3) == waits(3)
        assert waits(3) != waits(4)


class TestRetryBudget:
    """A share of the calls, a few a second, and never a flood."""

    def test_a_tenth_of_the_calls_may_be_repeated(self) -> None:
        """Ten tenths are one, though floats make a little less of them."""
        budget = RetryBudget(share=0.1, per_second=0.0, clock=Time())
        for _ in range(100):
            for _ in range(10):
                budget.earn()
            assert (budget.allows(), budget.allows()) == (True, False)

        assert (budget.spent, budget.denied) == (100, 100)

    def test_quiet_times_have_a_few_a_second(self) -> None:
        """From the first second on, without any calls."""
        time = Time()
        budget = RetryBudget(share=0.0, per_second=10.0, clock=time)
        assert [budget.allows() for _ in range(11)] == [True] * 10 + [False]

        time.now_s += 0.5
        assert [budget.allows() for _ in range(6)] == [True] * 5 + [False]

    def test_asking_often_earns_no_less(self) -> None:
        """Fractions of a token are kept between two questions."""
        time = Time()
        budget = RetryBudget(share=0.0, per_second=10.0, clock=time)
        allowed = 0
        for _ in range(10_000):
            time.now_s += 0.001
            allowed += budget.allows()

        assert 108 <= allowed <= 110

    @pytest.mark.parametrize("most", [1.0, 5.0, 100.0])
    def test_it_never_saves_more_than_the_most(self, most: float) -> None:
        """Neither an idle day nor a million calls make a flood possible."""
        time = Time()
        budget = RetryBudget(share=0.5, per_second=10.0, most=most, clock=time)
        budget.allows()
        time.now_s += 86_400
        budget.earn(1_000_000)
        allowed = sum(budget.allows() for _ in range(1000))
        assert allowed == most

        budget.earn(1_000_000)
        assert sum(budget.allows() for _ in range(1000)) == most

    def test_a_clock_that_goes_back_takes_nothing_away_and_starts_anew(self) -> None:
        """As when a budget made outside a loop meets the loop's own time."""
        time = Time(1_000_000.0)
        budget = RetryBudget(share=0.0, per_second=2.0, clock=time)
        assert budget.allows()
        time.now_s = 0.0
        assert (budget.allows(), budget.allows()) == (True, False)

        time.now_s = 1.0
        assert [budget.allows() for _ in range(3)] == [True, True, False]

    @given(
        share=st.floats(min_value=0, max_value=1),
        per_second=st.floats(min_value=0, max_value=50),
        steps=st.lists(
            st.tuples(
                st.floats(min_value=0, max_value=3),
                st.integers(min_value=0, max_value=50),
                st.integers(min_value=0, max_value=20),
            ),
            max_size=30,
        ),
    )
    def test_it_never_allows_more_than_was_earned(
        self, share: float, per_second: float, steps: list[tuple[float, int, int]]
    ) -> None:
        """Over any stretch of time: the share of the calls, and the seconds, the first of which is given."""
        time = Time()
        budget = RetryBudget(share=share, per_second=per_second, most=100.0, clock=time)
        calls = 0
        for passed_s, made, wanted in steps:
            time.now_s += passed_s
            budget.earn(made)
            calls += made
            for _ in range(wanted):
                budget.allows()

            earned = share * calls + per_second * (time.now_s + 1)
            assert budget.spent <= earned + 1e-6 * (1 + budget.spent)
        assert budget.spent + budget.denied == sum(wanted for _, _, wanted in steps)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("share", -0.1),
            ("share", math.nan),
            ("per_second", -1.0),
            ("per_second", math.inf),
            ("most", 0.5),
            ("most", math.nan),
        ],
    )
    def test_a_budget_that_nothing_could_keep_is_refused(self, name: str, value: float) -> None:
        """By the name of what is wrong with it."""
        with pytest.raises(SettingsError, match=f"^{name} is ") as refused:
            RetryBudget(**{name: value})  # type: ignore[arg-type]  # one of its three numbers

        assert refused.value.path == name
