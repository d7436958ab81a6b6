"""A large workload modelled from samples comes close to the exact model, and says how close."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfkit.lab import shards
from perfkit.lab.generate import generate
from perfkit.lab.model import CacheModel, Cell
from perfkit.lab.scenario import GeneratedWorkload, World
from perfkit.lab.shards import SampledModel, model_of
from perfkit.lab.workload import Workload

CELLS = [Cell(size, ttl, 600.0, 0.1) for size in (1_000, 4_000, 16_000) for ttl in (30.0, 120.0, 600.0)]


@pytest.fixture(scope="module")
def work() -> Workload:
    spec = GeneratedWorkload(requests=640_000, objects=60_000, zipf_alpha=0.9, rate_per_s=500)
    return generate(spec, seed=3)


def errors(found: list[dict[str, float]], exact: list[dict[str, float]], metric: str) -> np.ndarray:
    return np.array([abs(a[metric] - b[metric]) for a, b in zip(found, exact, strict=True)])


def test_samples_of_a_sixteenth_err_by_less_than_a_tenth_of_a_point(work: Workload) -> None:
    exact = CacheModel(work).grid(CELLS, start=100_000, world=World())
    found = SampledModel(work, share=1 / 16).grid(CELLS, start=100_000, world=World())

    for metric in ("l1_hit_ratio", "hit_ratio"):
        assert errors(found, exact, metric).mean() < 0.001


def test_the_error_that_is_stated_holds_what_it_is_off_by(work: Workload) -> None:
    exact = CacheModel(work).grid(CELLS, start=100_000, world=World())
    found = SampledModel(work, share=1 / 16).grid(CELLS, start=100_000, world=World())
    stated = np.array([row["sampling_error"] for row in found])

    assert (errors(found, exact, "l1_hit_ratio") <= stated).mean() >= 0.8
    assert 0 < np.median(stated) < 0.005


def test_samples_that_are_the_whole_have_no_error(work: Workload) -> None:
    exact = CacheModel(work).grid(CELLS[:1], start=0, world=World())
    found = SampledModel(work, share=1 / 4).grid(CELLS[:1], start=0, world=World())

    assert found[0]["sampling_error"] == 0
    assert errors(found, exact, "hit_ratio") == pytest.approx(0, abs=1e-9)


def test_a_recorded_sample_stands_for_the_whole_it_was_drawn_from(work: Workload) -> None:
    """Sizes are those of the whole service, and so are the hit ratios; the error is stated."""
    drawn = np.random.default_rng(0).random(work.n_objects) < 1 / 8
    kept = drawn[work.objects]
    recorded = Workload(
        "recorded",
        "a recorder",
        work.times_s[kept],
        np.unique(work.objects[kept], return_inverse=True)[1].astype(np.int64),
        work.sizes[kept],
        sample_share=1 / 8,
        total_requests=len(work),
    )
    exact = CacheModel(work).grid(CELLS, start=0, world=World())
    model = model_of(recorded)
    found = model.grid(CELLS, start=0, world=World())

    assert isinstance(model, SampledModel)
    assert errors(found, exact, "l1_hit_ratio").max() < 0.02
    assert all(row["sampling_error"] > 0 for row in found)
    unadjusted = model_of(replace(recorded, total_requests=None)).grid(CELLS, start=0, world=World())
    assert errors(found, exact, "hit_ratio").mean() < errors(unadjusted, exact, "hit_ratio").mean()


def test_only_large_workloads_are_sampled(work: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    small = model_of(work)
    monkeypatch.setattr(shards, "EXACT_REQUESTS", 100_000)

    assert isinstance(small, CacheModel)
    assert isinstance(model_of(work), SampledModel)
