"""A plan says what to try next, from the scenario and what is known so far, and nothing else."""

from collections import Counter
from pathlib import Path

import pytest

from perfkit.errors import ScenarioError
from perfkit.lab.plan import Plan
from perfkit.lab.results import AGAIN, BASELINE, Trial, TrialResult
from perfkit.lab.scenario import Guardrail, Scenario

QUICKSTART = Path(__file__).parents[2] / "scenarios" / "quickstart.yaml"
MODELLED = ("cache.l1_max_entries", "cache.l1_ttl_seconds", "cache.l2_ttl_seconds")


@pytest.fixture
def plan() -> Plan:
    return Plan(Scenario.load(QUICKSTART), MODELLED)


def answered(trial: Trial, **metrics: float) -> TrialResult:
    return TrialResult(trial=trial, how="modelled", backend="model", status="ok", metrics=metrics)


def test_every_combination_of_the_modelled_axes_is_modelled_once(plan: Plan) -> None:
    trials = plan.modelled()

    assert len(trials) == 144 + 1
    assert len({trial.fingerprint for trial in trials}) == len(trials)
    assert trials[0].knobs == {}


def test_a_guardrail_comes_before_the_objective(plan: Plan) -> None:
    _, cheap, good = plan.modelled()[:3]
    rows = [
        answered(cheap, redis_reads_per_request=0.1, l1_age_p95_seconds=500),
        answered(good, redis_reads_per_request=0.2, l1_age_p95_seconds=5),
    ]

    assert [row.trial for row in plan.best(rows, 2)] == [good, cheap]


def test_of_settings_that_come_to_the_same_the_smallest_change_stands_for_all(plan: Plan) -> None:
    knobs = [
        {"cache.l1_max_entries": 4000, "cache.l1_ttl_seconds": 60.0},
        {"cache.l1_ttl_seconds": 60.0, "cache.l1_policy": "sieve"},
        {"cache.l1_ttl_seconds": 90.0},
        {"cache.l1_ttl_seconds": 60.0},
        {"cache.l1_ttl_seconds": 10.0},
    ]
    trials = [plan.modelled()[0].model_copy(update={"knobs": k, "fingerprint": str(k)}) for k in knobs]
    rows = [answered(trial, redis_reads_per_request=0.2) for trial in trials[:4]]
    rows.append(answered(trials[4], redis_reads_per_request=0.3))

    assert [row.trial.knobs for row in plan.best(rows, 3)] == [knobs[3], knobs[4]]


def test_a_metric_a_stage_cannot_tell_is_left_to_the_next(plan: Plan) -> None:
    _, one, two = plan.modelled()[:3]
    rows = [answered(one, redis_reads_per_request=0.3), answered(two, redis_reads_per_request=0.2)]

    assert [row.trial for row in plan.best(rows, 1)] == [two]


def test_higher_is_better_where_the_metric_says_so(plan: Plan) -> None:
    scenario = plan.scenario.model_copy(
        update={
            "objective": plan.scenario.objective.model_copy(update={"metric": "hit_ratio"}),
            "guardrails": (Guardrail(metric="l1_hit_ratio", at_least=0.5),),
        }
    )
    _, one, two, three = plan.modelled()[:4]
    rows = [
        answered(one, hit_ratio=0.6, l1_hit_ratio=0.6),
        answered(two, hit_ratio=0.7, l1_hit_ratio=0.6),
        answered(three, hit_ratio=0.9, l1_hit_ratio=0.1),
    ]

    assert [row.trial for row in Plan(scenario, MODELLED).best(rows, 3)] == [two, one, three]


def test_the_best_modelled_settings_are_simulated_with_every_other_value(plan: Plan) -> None:
    rows = [answered(trial, redis_reads_per_request=-at) for at, trial in enumerate(plan.modelled())]
    trials = plan.simulated(rows)

    assert trials[0].knobs == {}
    assert len(trials) == 1 + plan.scenario.simulate.promote * 2
    assert {plan.settings(trial).cache.l1_policy for trial in trials} == {"lru", "s3fifo"}


def test_what_runs_today_is_tried_with_every_other_value_too(plan: Plan) -> None:
    """Where no modelled setting is better, another policy on the settings of today may still be."""
    rows = [answered(trial, redis_reads_per_request=at) for at, trial in enumerate(plan.modelled())]
    trials = plan.simulated(rows)

    assert {"cache.l1_policy": "s3fifo"} in [trial.knobs for trial in trials]


def test_every_arm_plays_every_round_in_an_order_drawn_anew(plan: Plan) -> None:
    assert plan.scenario.measure is not None
    trials = plan.measured([{"cache.l1_ttl_seconds": 45.0}])
    rounds = [[t.arm for t in trials if t.round == number] for number in range(plan.scenario.measure.rounds)]

    assert all(Counter(arms) == Counter([BASELINE, AGAIN, "c1"]) for arms in rounds)
    assert len({tuple(arms) for arms in rounds}) > 1
    assert trials == plan.measured([{"cache.l1_ttl_seconds": 45.0}])


def test_a_confirmation_has_a_seed_of_its_own(plan: Plan) -> None:
    trials = plan.confirmed("c1", {"cache.l1_ttl_seconds": 45.0})

    assert {trial.seed for trial in trials} == {plan.confirm_seed} != {plan.scenario.seed}
    assert {trial.arm for trial in trials} == {BASELINE, "c1"}


def test_a_workload_too_short_to_count_is_refused(plan: Plan) -> None:
    with pytest.raises(ScenarioError, match=r"measure.warmup or measure.requests"):
        plan.check_length(5_000)
