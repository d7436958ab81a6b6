"""Intervals cover what they claim to, verdicts fail closed, and what cannot be estimated is not."""

import math

import numpy as np
import pytest

from perfkit.lab.histogram import as_matrix, from_ms, merged, quantile_ms
from perfkit.lab.stats import (
    _critical_index,
    estimable,
    hodges_lehmann,
    rounds_needed,
    signed_rank_interval,
    tail_ratio_interval,
    verdict,
)


@pytest.mark.parametrize(
    ("n", "k"), [(6, 0), (8, 3), (10, 8), (12, 13), (15, 25), (20, 52), (30, 137), (60, 648)]
)
def test_the_critical_values_are_those_of_the_published_table(n: int, k: int) -> None:
    assert _critical_index(n, 0.95) == k


def test_five_rounds_have_no_interval() -> None:
    assert signed_rank_interval(np.arange(5.0)) is None


@pytest.mark.parametrize("rounds", [8, 12, 20])
@pytest.mark.parametrize("noise", ["normal", "heavy", "skewed-pairs"])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(rounds: int, noise: str) -> None:
    rng = np.random.default_rng(7)
    draws = {
        "normal": lambda: rng.normal(0.05, 0.1, rounds),
        "heavy": lambda: 0.05 + 0.05 * rng.standard_t(2, rounds),
        "skewed-pairs": lambda: 0.05 + rng.exponential(0.1, rounds) - rng.exponential(0.1, rounds),
    }[noise]
    covered = 0
    for _ in range(600):
        interval = signed_rank_interval(draws())
        assert interval is not None
        covered += interval[0] <= 0.05 <= interval[1]

    assert 0.925 <= covered / 600 <= 0.985


def test_one_ruined_round_does_not_move_the_estimate_far() -> None:
    steady = np.full(11, 0.10)

    assert hodges_lehmann(np.append(steady, 9.0)) == pytest.approx(0.10)


def test_a_tail_ratio_covers_the_truth_when_requests_of_a_round_share_their_weather() -> None:
    """Each round slows all its requests alike; the arms differ by 20 % in truth."""
    rng = np.random.default_rng(3)
    covered = 0
    trials = 80
    for seed in range(trials):
        weather = rng.lognormal(0, 0.4, 20)
        arms = [
            [from_ms(scale * w * rng.lognormal(0, 0.5, 200)) for w in weather * rng.lognormal(0, 0.05, 20)]
            for scale in (1.0, 1.2)
        ]
        buckets, (old, new) = as_matrix(*arms)
        found = tail_ratio_interval(buckets, old, new, 0.95, seed=seed)
        assert found is not None
        covered += found[1] <= 1.2 <= found[2]

    assert covered / trials >= 0.85


def test_a_quantile_too_few_samples_support_is_not_estimable() -> None:
    arm = [from_ms(np.linspace(1, 2, 50)) for _ in range(6)]
    buckets, (old, new) = as_matrix(arm, arm)

    assert tail_ratio_interval(buckets, old, new, 0.99) is None
    assert tail_ratio_interval(buckets, old, new, 0.5) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("quantile", "fewest"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688)]
)
def test_how_many_samples_a_quantile_takes(quantile: float, fewest: int) -> None:
    assert estimable(quantile, fewest)
    assert not estimable(quantile, fewest - 1)


@pytest.mark.parametrize(
    ("low", "high", "goal", "judged"),
    [
        (-0.3, -0.1, "lower", "better"),
        (-0.3, -0.1, "higher", "worse"),
        (0.1, 0.3, "lower", "worse"),
        (-0.01, 0.02, "lower", "equivalent"),
        (-0.3, 0.1, "lower", "inconclusive"),
        (None, None, "lower", "inconclusive"),
        (-math.inf, -0.1, "lower", "inconclusive"),
        (math.nan, math.nan, "lower", "inconclusive"),
    ],
)
def test_there_are_four_verdicts_and_doubt_is_one(
    low: float | None, high: float | None, goal: str, judged: str
) -> None:
    assert verdict(low, high, 0.02, goal) == judged  # type: ignore[arg-type]  # parametrised words


def test_a_narrower_interval_needs_more_rounds_by_its_square() -> None:
    assert rounds_needed(10, -0.04, 0.04, 0.02) == 40


def test_histograms_keep_quantiles_to_a_quarter_of_a_percent_and_add_up() -> None:
    rng = np.random.default_rng(1)
    samples = rng.lognormal(1, 1, 30_000)
    parts = [from_ms(part) for part in np.split(samples, 10)]

    assert merged(parts) == from_ms(samples)
    for quantile in (0.1, 0.5, 0.9, 0.99):
        exact = np.quantile(samples, quantile)
        assert quantile_ms(from_ms(samples), quantile) == pytest.approx(exact, rel=0.006)
