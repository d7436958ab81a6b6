"""The laboratory's statistics: how often an interval holds the truth, how often noise is called an effect.

The first table draws rounds from known distributions. The second compares a piece of work with itself on this
machine: whoever finds a difference is wrong.

    perfkit bench lab [--rounds N]
    python benchmarks/lab.py [--rounds N]
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from perfkit.lab.stats import signed_rank_interval

DRAWS = 4_000
TRUTH = 0.05
T_975 = {6: 2.571, 8: 2.365, 12: 2.201, 20: 2.093}
"""Student's t at 0.975 for n - 1 degrees of freedom."""

Floats = NDArray[np.float64]
Bounds = tuple[float, float] | None


def main() -> None:
    """Print both tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=12, help="of each experiment of the second table")
    given = arguments.parse_args()
    coverage()
    false_alarms(rounds=given.rounds)


def coverage() -> None:
    """Print the share of nominal 95 % intervals that hold the true change, and their mean width."""
    rng = np.random.default_rng(1)
    noises: dict[str, Callable[[int], Floats]] = {
        "normal": lambda n: rng.normal(0, 0.1, n),
        "heavy-tailed (t, 2 degrees of freedom)": lambda n: 0.05 * rng.standard_t(2, n),
        "one round in ten ruined": lambda n: (
            rng.normal(0, 0.02, n) + 0.5 * (rng.random(n) < 0.1) * rng.choice([-1, 1], n)
        ),
        "drifting": lambda n: (
            np.cumsum(rng.normal(0, 0.02, n)) * rng.choice([-1, 1]) + rng.normal(0, 0.05, n)
        ),
    }
    print(f"nominal 95 % intervals: coverage in %, mean width ({DRAWS:,} draws)")
    print(f"  {'noise between the arms of a round':<42}{'rounds':>7}{'signed rank':>18}{'Student t':>18}")
    for name, draw in noises.items():
        for rounds in T_975:
            samples = [TRUTH + draw(rounds) for _ in range(DRAWS)]
            ours = describe([signed_rank_interval(sample) for sample in samples])
            print(f"  {name:<42}{rounds:>7}{ours:>18}{describe([student(s) for s in samples]):>18}")


def student(sample: Floats) -> Bounds:
    """Return Student's interval of the mean."""
    half = T_975[len(sample)] * float(sample.std(ddof=1)) / len(sample) ** 0.5
    return float(sample.mean()) - half, float(sample.mean()) + half


def describe(intervals: list[Bounds]) -> str:
    """Return coverage and mean width in words."""
    known = [interval for interval in intervals if interval is not None]
    held = sum(low <= TRUTH <= high for low, high in known) / len(known)
    width = sum(high - low for low, high in known) / len(known)
    return f"{100 * held:.1f}  {width:.3f}"


def false_alarms(experiments: int = 60, rounds: int = 12, samples: int = 20) -> None:
    """Compare a piece of work with itself, one arm after the other and interleaved."""
    after, between = 0, 0
    for _ in range(experiments):
        one, other = ([piece() for _ in range(rounds * samples)] for _arm in range(2))
        after += not holds_zero(welch(np.log(one), np.log(other)))
        paired = []
        for _round in range(rounds):
            arms: dict[str, list[float]] = {"a": [], "b": []}
            for name in random.sample(sorted(arms), 2):
                arms[name] = [piece() for _ in range(samples)]
            paired.append(float(np.log(np.median(arms["b"]) / np.median(arms["a"]))))
        between += not holds_zero(signed_rank_interval(np.array(paired)))
    print(
        f"\na piece of work against itself, {experiments} experiments of {rounds} x {samples} samples an arm:"
    )
    print("differences found where there is none (5 % would be honest)")
    print(f"  {'one arm after the other, Welch interval':<42}{100 * after / experiments:>7.0f} %")
    print(f"  {'interleaved rounds, signed-rank interval':<42}{100 * between / experiments:>7.0f} %")


def piece() -> float:
    """Return the seconds a small fixed piece of work takes."""
    start = time.perf_counter()
    sum(number * number for number in range(2_000))
    return time.perf_counter() - start


def welch(one: Floats, other: Floats) -> Bounds:
    """Return the usual large-sample interval of a difference of means."""
    half = 1.96 * float(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other)) ** 0.5
    change = float(other.mean() - one.mean())
    return change - half, change + half


def holds_zero(interval: Bounds) -> bool:
    """Tell whether an interval leaves room for no difference at all."""
    return interval is not None and interval[0] <= 0 <= interval[1]


if __name__ == "__main__":
    main()
