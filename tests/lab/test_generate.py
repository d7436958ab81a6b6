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


def test_a_scan_asks_for_each_of_its_objects_once() -> None:
    calm = generate(spec(), 3)
    scanned = generate(spec().model_copy(update={"scan_share": 0.2, "scan_length": 100}), 3)
    once = np.bincount(scanned.objects) == 1

    assert len(scanned) == len(calm)
    assert once[scanned.objects].mean() == pytest.approx(0.2, abs=0.01)
    runs = np.diff(np.flatnonzero(np.diff(once[scanned.objects].astype(int))))
    assert runs.max() >= 100


def test_popularity_drifts_to_objects_that_are_new() -> None:
    """Each of a thousand places changes hands some twice in 500 s at 15 changes an hour."""
    work = generate(spec().model_copy(update={"drift_per_hour": 15.0}), 3)
    early, late = (np.unique(half) for half in np.array_split(work.objects, 2))

    assert work.n_objects > 2_000
    assert len(np.intersect1d(early, late)) < 0.6 * len(early)


def test_a_share_of_the_requests_asks_for_the_successor() -> None:
    work = generate(spec().model_copy(update={"chain_share": 0.6, "chain_length": 10}), 3)
    pairs = np.stack([work.objects[:-1], work.objects[1:]], axis=1)
    same_ring = pairs[:, 0] // 10 == pairs[:, 1] // 10
    follows = same_ring & ((pairs[:, 0] % 10 + 1) % 10 == pairs[:, 1] % 10)

    assert follows.mean() == pytest.approx(0.6, abs=0.03)


def test_what_is_a_callers_own_is_asked_for_by_nobody_else() -> None:
    work = generate(spec().model_copy(update={"callers": 50, "own_share": 0.4}), 3)
    assert work.callers is not None
    askers = [len(set(work.callers[work.objects == number])) for number in range(200)]

    assert sum(count == 1 for count in askers) == pytest.approx(80, abs=25)
    assert len(set(work.callers)) == 50
    assert generate(spec(), 3).callers is None


def test_what_is_not_asked_for_changes_nothing() -> None:
    """No law draws from another's stream: requests stay the same when one more law is named."""
    plain = generate(spec(), 3)
    known = generate(spec().model_copy(update={"callers": 50}), 3)

    assert plain.objects.tolist() == known.objects.tolist()
    assert plain.digest != known.digest
