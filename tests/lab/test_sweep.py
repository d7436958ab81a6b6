"""A sweep leaves the same trials whenever it is asked with the same seed, and does nothing twice."""

import json
from pathlib import Path

import pytest

from perfkit.errors import NotComparable
from perfkit.lab.folder import RunFolder
from perfkit.lab.replay import replay
from perfkit.lab.results import TrialResult
from perfkit.lab.scenario import Scenario
from perfkit.lab.sources import load_workload
from perfkit.lab.sweep import Run, compared, plan_of, run

QUICKSTART = Path(__file__).parents[2] / "scenarios" / "quickstart.yaml"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Run:
    question = Scenario.load(QUICKSTART).model_copy(update={"measure": None}).quick()
    return run(question, out=tmp_path_factory.mktemp("runs"), show_progress=False)


def lines_without_times(finished: Run) -> list[str]:
    rows = [json.loads(line) for line in (finished.folder.path / "trials.jsonl").read_text().splitlines()]
    return [json.dumps({name: value for name, value in row.items() if name != "at"}) for row in rows]


def test_two_simulated_runs_of_one_seed_leave_the_same_bytes(simulated: Run, tmp_path: Path) -> None:
    again = run(simulated.scenario, out=tmp_path, show_progress=False)

    assert lines_without_times(again) == lines_without_times(simulated)


def test_another_seed_leaves_other_trials(simulated: Run, tmp_path: Path) -> None:
    other = run(simulated.scenario.model_copy(update={"seed": 2}), out=tmp_path, show_progress=False)

    assert lines_without_times(other) != lines_without_times(simulated)


def test_a_finished_run_resumed_does_no_trial_again(simulated: Run) -> None:
    before = (simulated.folder.path / "trials.jsonl").read_bytes()
    resumed = run(simulated.folder, show_progress=False)

    assert (simulated.folder.path / "trials.jsonl").read_bytes() == before
    assert resumed.comparison == simulated.comparison


@pytest.mark.parametrize("kept", [1, 100, 147])
def test_a_run_broken_off_anywhere_ends_in_the_same_comparison(
    simulated: Run, tmp_path: Path, kept: int
) -> None:
    """What a kill −9 leaves is a prefix of the trials, and perhaps the beginning of the next."""
    copy = tmp_path / simulated.folder.run_id
    copy.mkdir()
    for name in ("scenario.yaml", "environment.json"):
        (copy / name).write_bytes((simulated.folder.path / name).read_bytes())
    lines = (simulated.folder.path / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "trials.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][:25])
    resumed = run(RunFolder(copy), show_progress=False)

    assert (copy / "trials.jsonl").read_bytes().splitlines(keepends=True)[:kept] == lines[:kept]
    assert lines_without_times(resumed) == lines_without_times(simulated)
    assert resumed.comparison == simulated.comparison


def test_a_run_begun_on_another_machine_is_not_gone_on_with(simulated: Run, tmp_path: Path) -> None:
    copy = tmp_path / "moved"
    copy.mkdir()
    (copy / "scenario.yaml").write_bytes((simulated.folder.path / "scenario.yaml").read_bytes())
    environment = simulated.folder.environment | {"workload": "of another day"}
    (copy / "environment.json").write_text(json.dumps(environment))

    with pytest.raises(NotComparable, match="workload"):
        run(RunFolder(copy), show_progress=False)


def test_nothing_simulated_is_fit_to_be_adopted(simulated: Run) -> None:
    assert simulated.comparison.how == "simulated"
    assert not simulated.choice.confirmed
    assert simulated.choice.refused_because


def test_every_line_says_how_its_numbers_were_obtained(simulated: Run) -> None:
    results: tuple[TrialResult, ...] = simulated.folder.results()
    ways = {(result.trial.stage, result.how, result.backend) for result in results}

    assert ways == {("modelled", "modelled", "model"), ("simulated", "simulated", "fakeredis")}


def test_the_model_is_held_against_the_rounds_that_count_and_no_others(
    tiny: Scenario, tmp_path: Path
) -> None:
    """An invalid round was played on requests of its own; its place in the model would be a false doubt."""
    workload = load_workload(tiny.workload, seed=tiny.seed, folder=tmp_path)
    plan = plan_of(tiny)
    assert tiny.measure is not None
    per_round = tiny.measure.requests // tiny.measure.rounds
    folder = RunFolder.create(tmp_path, tiny, {})
    with folder.appending() as appender:
        for trial in plan.measured([]):
            first = tiny.measure.warmup + trial.round * per_round
            hits = replay(plan.baseline.cache, workload, counted=[range(first, first + per_round)])
            invalid = trial.round in (1, 5)
            appender.append(
                TrialResult(
                    trial=trial,
                    how="measured",
                    backend="valkey",
                    status="invalid" if invalid else "ok",
                    metrics={"hit_ratio": 0.0, "l1_hit_ratio": 0.0} if invalid else hits,
                )
            )
    comparison, _choice = compared(folder, workload=workload)

    assert [(fit.arm, fit.metric) for fit in comparison.fits] == [
        ("baseline", "hit_ratio"),
        ("baseline", "l1_hit_ratio"),
    ]
    for fit in comparison.fits:
        assert fit.modelled == pytest.approx(fit.measured, abs=1e-12)
