"""From trials to a choice: the best arm that is surely better and keeps every guardrail, or the baseline."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from perfkit.errors import MeasurementError
from perfkit.lab.choose import Choice, choose
from perfkit.lab.compare import Comparison, compare
from perfkit.lab.plan import Plan
from perfkit.lab.results import AGAIN, BASELINE, Stage, Status, TrialResult, Validity
from perfkit.lab.scenario import Scenario

ROUNDS = 8
WOBBLE = [0.99, 1.0, 1.01, 0.995, 1.005, 1.0, 0.99, 1.01]
BUSY = Validity(
    planned_per_s=500,
    achieved_per_s=400,
    dropped=0,
    lag_p99_ms=9.0,
    run_queue_share=0.5,
    complaint="requests started 9.0 ms late at p99, 2.0 ms is the limit",
)


@pytest.fixture
def question(tiny: Scenario) -> Scenario:
    """One finalist, one guardrail."""
    asked = tiny.model_dump() | {
        "guardrails": [{"metric": "l1_peak_bytes", "at_least": 10, "at_most": 1_000}]
    }
    return Scenario.model_validate(asked)


def played(
    question: Scenario,
    arm: str,
    reads: float,
    *,
    stage: Stage = "measured",
    rounds: Sequence[int] = range(ROUNDS),
    status: Status = "ok",
    peak_bytes: float = 500.0,
    backend: str = "valkey 9.1.2",
) -> list[TrialResult]:
    """One arm's trials; its levels wobble by a per cent from round to round."""
    plan = Plan(question, ())
    knobs = {} if arm in (BASELINE, AGAIN) else {"cache.l1_max_entries": 300}
    trials = {trial.round: trial for trial in plan._rounds(stage, {arm: knobs}, ROUNDS, 1)}
    return [
        TrialResult(
            trial=trials[number],
            how="measured",
            backend=backend,
            status=status,
            metrics={
                "redis_reads_per_request": reads * (WOBBLE[number] if arm != BASELINE else 1.0),
                "l1_peak_bytes": peak_bytes,
            },
            validity=BUSY if status == "invalid" else None,
        )
        for number in rounds
    ]


def judged(question: Scenario, *groups: list[TrialResult]) -> tuple[Comparison, Choice]:
    comparison = compare([row for group in groups for row in group], scenario=question, run_id="run")
    return comparison, choose(comparison, question)


def confirmation(question: Scenario, reads: float = 0.3) -> list[TrialResult]:
    return [
        *played(question, BASELINE, 0.5, stage="confirmed"),
        *played(question, "c1", reads, stage="confirmed"),
    ]


def race(question: Scenario, reads: float = 0.3) -> list[TrialResult]:
    return [
        *played(question, BASELINE, 0.5),
        *played(question, AGAIN, 0.5),
        *played(question, "c1", reads),
    ]


def test_what_is_surely_better_and_confirmed_is_chosen(question: Scenario) -> None:
    comparison, choice = judged(question, race(question), confirmation(question))

    (effect,) = (e for e in comparison.effects if e.metric == comparison.objective)
    assert effect.effect == pytest.approx(-0.4, abs=0.01)
    assert (choice.arm, choice.confirmed, choice.refused_because) == ("c1", True, "")
    assert "lowers Redis reads per request by 40.0 %" in choice.why


def test_without_a_confirmation_it_is_chosen_but_not_exported(question: Scenario) -> None:
    _comparison, choice = judged(question, race(question))

    assert (choice.arm, choice.confirmed) == ("c1", False)
    assert "not confirmed" in choice.refused_because


def test_a_confirmation_that_disagrees_forbids_the_export(question: Scenario) -> None:
    _comparison, choice = judged(question, race(question), confirmation(question, reads=0.5))

    assert not choice.confirmed
    assert "did not confirm it" in choice.refused_because


def test_what_was_not_measured_against_a_real_server_is_not_exported(question: Scenario) -> None:
    rows = [row.model_copy(update={"backend": "fakeredis"}) for row in race(question)]
    _comparison, choice = judged(question, rows, confirmation(question))

    assert "real server" in choice.refused_because


@pytest.mark.parametrize("reads", [0.5, 0.499, 0.7])
def test_what_is_not_surely_better_leaves_the_baseline(question: Scenario, reads: float) -> None:
    _comparison, choice = judged(question, race(question, reads))

    assert choice.kept_baseline
    assert choice.knobs == {}
    assert "no finalist is surely better" in choice.why


@pytest.mark.parametrize(
    ("peak_bytes", "said"),
    [(2_000.0, "(2000, allowed is at most 1000"), (5.0, "(5, allowed is at most 1000 and")],
)
def test_a_broken_guardrail_leaves_the_baseline_and_is_named(
    question: Scenario, peak_bytes: float, said: str
) -> None:
    _comparison, choice = judged(
        question, played(question, BASELINE, 0.5), played(question, "c1", 0.3, peak_bytes=peak_bytes)
    )

    assert choice.kept_baseline
    assert "but breaks the guardrail" in choice.why
    assert said in choice.why


def test_a_guardrail_on_a_metric_nobody_measured_is_broken(question: Scenario) -> None:
    """Judgments fail closed."""
    bare = [
        row.model_copy(
            update={"metrics": {"redis_reads_per_request": row.metrics["redis_reads_per_request"]}}
        )
        for row in race(question)
    ]
    _comparison, choice = judged(question, bare)

    assert choice.kept_baseline
    assert "(unknown, allowed is" in choice.why


def test_where_the_baseline_differs_from_itself_nothing_is_chosen(question: Scenario) -> None:
    comparison, choice = judged(
        question,
        played(question, BASELINE, 0.5),
        played(question, AGAIN, 0.6),
        played(question, "c1", 0.3),
    )

    assert choice.kept_baseline
    assert "too noisy" in choice.why
    assert "the baseline differs from itself in Redis reads per request" in comparison.complaints


def test_too_few_sound_rounds_give_no_interval_and_no_choice(question: Scenario) -> None:
    comparison, choice = judged(
        question,
        played(question, BASELINE, 0.5, rounds=range(5)),
        played(question, BASELINE, 0.5, rounds=range(5, 8), status="invalid"),
        played(question, "c1", 0.3),
    )

    assert choice.kept_baseline
    assert all(effect.low is None for effect in comparison.effects)
    assert "3 of 16 trials are invalid, the first because requests started 9.0 ms late" in choice.why


def test_a_machine_too_busy_to_measure_leaves_the_baseline_and_says_why(question: Scenario) -> None:
    """Not one sound trial of the baseline is an answer too: nothing changes, and the reader learns why."""
    comparison, choice = judged(
        question, played(question, BASELINE, 0.5, status="invalid"), played(question, "c1", 0.3)
    )

    assert comparison.arms == comparison.effects == ()
    assert choice.kept_baseline
    assert "no finalist gave a sound number: 8 of 16 trials are invalid" in choice.why
    assert "9.0 ms late" in choice.why


def test_before_the_baseline_was_played_there_is_nothing_to_compare(question: Scenario) -> None:
    with pytest.raises(MeasurementError, match="perfkit run --resume run"):
        judged(question, played(question, "c1", 0.3))
