"""Generated workloads follow the laws they name, and are the same for the same seed."""

from typing import Literal

import numpy as np
import pytest

from perfkit.lab.generate import generate
from perfkit.lab.scenario import GeneratedWorkload


def spec(arrivals: Literal["poisson", "constant", "burst"] = "poisson") -> GeneratedWorkload:
    return GeneratedWorkload(
        requests=50_000, objects=1_000, zipf_alpha=1.0, arrivals=arrivals, rate_per_s=100, mean_bytes=500
    )


def test_the_same_seed_gives_the_same_requests_and_another_seed_others() -> None:
    assert generate(spec(), 3).digest == generate(spec(), 3).digest
    assert generate(spec(), 3).digest != generate(spec(), 4).digest


def test_popularity_falls_with_rank() -> None:
    """With α = 1 the first object is asked twice as often as the second and ten times as the tenth."""
    counts = np.sort(np.bincount(generate(spec(), 3).objects))[::-1]

    assert counts[0] / counts[1] == pytest.approx(2, rel=0.1)
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.2)


@pytest.mark.parametrize(
    ("arrivals", "spread"),
    [("constant", 0.0), ("poisson", 1.0), ("burst", 1.6)],
)
def test_requests_come_at_the_rate_and_as_unevenly_as_asked(
    arrivals: Literal["poisson", "constant", "burst"], spread: float
) -> None:
    """Spread is the gaps' standard deviation over their mean: 0 for a clock, 1 for independent arrivals."""
    workload = generate(spec(arrivals), 3)
    gaps = np.diff(workload.times_s)

    assert workload.rate_per_s == pytest.approx(100, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(spread, abs=0.25)


def test_an_object_keeps_its_size() -> None:
    workload = generate(spec(), 3)
    sizes = {(number, size) for number, size in zip(workload.objects, workload.sizes, strict=True)}

    assert len(sizes) == workload.n_objects
    assert np.mean([size for _number, size in sizes]) == pytest.approx(500, rel=0.15)
