"""A round trip is a factor: like is compared with like, and each round trip is also looked at alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from perfkit.lab.choose import choose
from perfkit.lab.compare import Comparison, Effect, Fit, compare
from perfkit.lab.histogram import from_ms
from perfkit.lab.results import AGAIN, BASELINE, Trial, TrialResult
from perfkit.lab.scenario import Scenario

Build = Callable[..., Scenario]
NEAR, FAR = 1.0, 8.0


def rounds(
    factors: Mapping[float, float], *, number: int, requests: int = 400, seed: int = 1
) -> list[TrialResult]:
    """A race: the candidate's responses are the baseline's times a factor that depends on distance."""
    rng = np.random.default_rng(seed)
    rows = []
    rtts = list(factors)
    for at in range(number):
        rtt_ms = rtts[at % len(rtts)]
        weather = float(np.exp(rng.normal(0, 0.05)))
        for arm in (BASELINE, AGAIN, "c1"):
            factor = factors[rtt_ms] if arm == "c1" else 1.0
            samples = weather * factor * rtt_ms * rng.lognormal(0, 0.05, requests)
            metrics = {
                "response_mean_ms": float(samples.mean()),
                **{f"response_p{q}_ms": float(np.quantile(samples, q / 100)) for q in (50, 95, 99)},
                "failed_share": 0.0,
            }
            knobs = {"pools.default.max_connections": 16} if arm == "c1" else {}
            trial = Trial(
                stage="measured", arm=arm, knobs=knobs, fingerprint=arm, round=at, seed=1, rtt_ms=rtt_ms
            )
            rows.append(
                TrialResult(
                    trial=trial, how="measured", backend="valkey 9.1.2", status="ok", metrics=metrics,
                    responses=from_ms(samples),
                )
            )  # fmt: skip
    return rows


def compared(question: Scenario, rows: list[TrialResult], fits: tuple[Fit, ...] = ()) -> Comparison:
    return compare(rows, scenario=question, run_id="r", fits=fits)


def effect(effects: tuple[Effect, ...], metric: str) -> Effect:
    return next(one for one in effects if one.metric == metric)


def test_a_steady_effect_is_as_sure_over_several_round_trips_as_over_one(pools_question: Build) -> None:
    """Eightfold levels do not widen the interval, because each ratio is within its round."""
    question = pools_question(world={"redis_ms": [NEAR, FAR]})
    p95 = effect(compared(question, rounds({NEAR: 0.8, FAR: 0.8}, number=12)).effects, "response_p95_ms")

    assert p95.effect == pytest.approx(-0.2, abs=0.01)
    assert p95.low is not None
    assert p95.high is not None
    assert p95.high - p95.low < 0.05
    assert p95.verdict == "better"


def test_the_level_over_several_round_trips_is_that_of_their_logarithms(pools_question: Build) -> None:
    """So that the levels differ by as much as the effect says."""
    question = pools_question(world={"redis_ms": [NEAR, FAR]})
    p50 = effect(compared(question, rounds({NEAR: 0.5, FAR: 1.0}, number=12)).effects, "response_p50_ms")

    assert p50.baseline == pytest.approx((NEAR * FAR) ** 0.5, rel=0.1)
    assert p50.candidate / p50.baseline - 1 == pytest.approx(0.5**0.5 - 1, abs=0.03)


def test_each_round_trip_is_looked_at_alone(pools_question: Build) -> None:
    question = pools_question(world={"redis_ms": [NEAR, FAR]})
    comparison = compared(question, rounds({NEAR: 0.95, FAR: 0.5}, number=12))
    found = {at.rtt_ms: effect(at.effects, "response_p95_ms") for at in comparison.by_rtt}

    assert found[NEAR].effect == pytest.approx(-0.05, abs=0.03)
    assert found[FAR].effect == pytest.approx(-0.5, abs=0.03)
    assert {one.rounds for one in found.values()} == {6}
    assert found[FAR].baseline == pytest.approx(FAR, rel=0.2)


@pytest.mark.parametrize(("number", "sure"), [(10, False), (12, True)])
def test_fewer_than_six_rounds_at_a_round_trip_have_an_effect_and_no_interval(
    pools_question: Build, number: int, sure: bool
) -> None:
    question = pools_question(world={"redis_ms": [NEAR, FAR]})
    comparison = compared(question, rounds({NEAR: 0.8, FAR: 0.8}, number=number))

    for at in comparison.by_rtt:
        for metric in ("response_p95_ms", "response_mean_ms"):
            one = effect(at.effects, metric)
            assert one.effect == pytest.approx(-0.2, abs=0.05)
            assert (one.low is not None) is sure
            assert (one.verdict == "better") is sure


def test_a_round_too_short_for_a_percentile_has_none_to_compare(pools_question: Build) -> None:
    """Percentiles of different round trips must not be pooled, so each round has to support its own."""
    question = pools_question(world={"redis_ms": [NEAR, FAR]})
    comparison = compared(question, rounds({NEAR: 0.8, FAR: 0.8}, number=12, requests=100))
    p99 = effect(comparison.effects, "response_p99_ms")

    assert p99.effect is None
    assert p99.note.startswith("not estimable")
    assert effect(comparison.effects, "response_p95_ms").verdict == "better"


def test_a_gain_that_is_a_loss_at_one_round_trip_is_doubted(pools_question: Build) -> None:
    question = pools_question(world={"redis_ms": [NEAR, FAR]})
    comparison = compared(question, rounds({NEAR: 1.2, FAR: 0.3}, number=24))

    assert "c1 is worse in p95 response at a round trip of 1 ms" in comparison.complaints


def test_the_answer_names_every_round_trip(pools_question: Build) -> None:
    question = pools_question(world={"redis_ms": [NEAR, FAR]})
    choice = choose(compared(question, rounds({NEAR: 0.9, FAR: 0.5}, number=24)), question)

    assert choice.arm == "c1"
    assert "By round trip: −" in choice.why
    assert choice.why.endswith("at 8 ms.")


def test_one_round_trip_is_no_factor(pools_question: Build) -> None:
    question = pools_question(world={"redis_ms": 1})
    rows = [
        row.model_copy(update={"trial": row.trial.model_copy(update={"rtt_ms": None})})
        for row in rounds({NEAR: 0.8}, number=8)
    ]
    comparison = compared(question, rows)

    assert comparison.by_rtt == ()
    assert effect(comparison.effects, "response_p95_ms").effect == pytest.approx(-0.2, abs=0.03)


def test_of_models_that_are_off_the_worst_is_named(pools_question: Build) -> None:
    question = pools_question(world={"redis_ms": [NEAR, FAR]})
    fits = tuple(
        Fit(metric="response_p95_ms", arm="c1", modelled=rtt_ms, measured=rtt_ms * 2, rtt_ms=rtt_ms)
        for rtt_ms in (NEAR, FAR)
    )
    close = Fit(metric="response_p95_ms", arm="c1", modelled=0.1, measured=0.4, rtt_ms=0.0)
    complaints = compared(question, rounds({NEAR: 1, FAR: 1}, number=12), (close, *fits)).complaints

    assert complaints == (
        "p95 response of c1 at a round trip of 8 ms was measured 16.00 ms, the model says 8.00 ms",
    )
