"""Running a scenario: stage by stage, each trial on the disk before the next begins.

`run` does what is not done yet, so the same function starts a run and resumes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from perfkit.errors import PerfkitError, ScenarioError, did_you_mean
from perfkit.lab.choose import Choice, choose
from perfkit.lab.compare import Comparison, Fit, compare
from perfkit.lab.confirm import confirm_in_fresh_process
from perfkit.lab.environment import comparable, fingerprint
from perfkit.lab.folder import Appender, RunFolder
from perfkit.lab.line import measured_lines, simulated_lines
from perfkit.lab.plan import Plan
from perfkit.lab.progress import Progress
from perfkit.lab.results import AGAIN, BASELINE, Stage, Trial, TrialResult
from perfkit.lab.rigs import RIGS, Asked, Rig
from perfkit.lab.rounds import Setup, play_rounds
from perfkit.lab.scenario import Measure, Scenario
from perfkit.lab.sources import load_workload
from perfkit.lab.virtual import run_real, run_virtual
from perfkit.lab.workload import Workload

__all__ = ["DEFAULT_OUT", "Run", "compared", "run"]

DEFAULT_OUT = Path("reports/runs")


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its folder, what was compared, what was chosen."""

    folder: RunFolder
    scenario: Scenario
    comparison: Comparison
    choice: Choice


def run(
    scenario: Scenario | RunFolder,
    *,
    out: Path = DEFAULT_OUT,
    beside: Path = Path(),
    show_progress: bool = True,
) -> Run:
    """Sweep, compare and choose; or go on with a run that was broken off.

    Args:
        scenario: The question, or the folder of an unfinished run.
        out: Where a new run's folder is made.
        beside: The folder relative trace paths are looked up in.
        show_progress: Whether to draw progress on stderr.

    Raises:
        WorkloadError: the trace cannot be read.
        ScenarioError: the workload is too short for what is asked, or the rig cannot do it.
        NotComparable: the run was begun on another machine, with other code or another workload.
        RunError: the folder cannot be written; what was done is kept.
        Unavailable: Redis went away; what was done is kept.
    """
    resumed = scenario if isinstance(scenario, RunFolder) else None
    question = resumed.scenario if resumed else scenario
    assert isinstance(question, Scenario)  # noqa: S101  # for the type checker: one of the two above
    plan = plan_of(question)
    workload = load_workload(question.workload, seed=question.seed, folder=beside)
    plan.check_length(len(workload))
    environment = fingerprint() | {"workload": workload.digest, "requests": workload.origin}
    if resumed:
        comparable(resumed.environment, environment)
    folder = resumed or RunFolder.create(out, _with_absolute_path(question, beside), environment)
    try:
        _Sweep(plan, workload, folder, Progress(show=show_progress)).run()
    except (PerfkitError, KeyboardInterrupt) as stop:
        kept = len(folder.results())
        stop.add_note(f"{kept} finished trials are kept. Go on with: perfkit run --resume {folder.path}")
        raise
    comparison, choice = compared(folder, workload=workload)
    return Run(folder, question, comparison, choice)


def compared(folder: RunFolder, *, workload: Workload | None = None) -> tuple[Comparison, Choice]:
    """Compare and choose from a run's trials as they stand, and keep both in the folder."""
    scenario = folder.scenario
    results = folder.results()
    if workload is None:
        workload = load_workload(scenario.workload, seed=scenario.seed, folder=folder.path)
    fits = _fits(Asked(scenario, workload, folder.calibration or {}), results)
    comparison = compare(results, scenario=scenario, run_id=folder.run_id, fits=fits)
    choice = choose(comparison, scenario)
    folder.keep("comparison.json", comparison)
    folder.keep("choice.json", choice)
    return comparison, choice


class _Sweep:
    """The stages of one run, in order; each skips what `trials.jsonl` already holds."""

    def __init__(self, plan: Plan, workload: Workload, folder: RunFolder, progress: Progress) -> None:
        self._plan = plan
        self._rig: Rig = RIGS[plan.scenario.rig]
        self._asked = Asked(plan.scenario, workload, folder.calibration or {})
        self._folder = folder
        self._progress = progress

    def run(self) -> None:
        with self._folder.appending() as appender:
            self._model(appender)
            self._simulate(appender)
            if self._plan.scenario.measure is not None:
                self._measure(appender, self._plan.scenario.measure)
        if self._plan.scenario.measure is not None:
            self._confirm()

    def _model(self, appender: Appender) -> None:
        trials = self._missing(self._plan.modelled())
        if not trials:
            return
        if (
            not self._asked.calibration
        ):  # once a run: what is modelled after a break leans on the same numbers
            settings = [self._plan.settings(trial) for trial in trials]
            self._asked = replace(self._asked, calibration=self._rig.calibrated(settings, self._asked))
            self._folder.keep_calibration(self._asked.calibration)
        with self._progress.stage("model", len(trials)) as step:
            for rtt_ms in dict.fromkeys(trial.rtt_ms for trial in trials):
                here = [trial for trial in trials if trial.rtt_ms == rtt_ms]
                settings = [self._plan.settings(trial) for trial in here]
                cells = self._rig.model(settings, self._asked, rtt_ms=rtt_ms)
                for trial, metrics in zip(here, cells, strict=True):
                    rounded = {name: float(f"{value:.9g}") for name, value in metrics.items()}
                    appender.append(
                        TrialResult(
                            trial=trial, how="modelled", backend="model", status="ok", metrics=rounded
                        )
                    )
                    step()

    def _simulate(self, appender: Appender) -> None:
        if not self._rig.simulates:
            return
        trials = self._missing(self._plan.simulated(self._of("modelled")))
        if not trials:
            return
        stage = self._plan.scenario.simulate
        with self._progress.stage("simulate", len(trials)) as step:
            for trial in trials:
                setup = Setup(
                    self._plan,
                    self._rig,
                    self._asked,
                    simulated_lines(self._rig, self._plan.scenario),
                    key_prefix="perfkit:",
                    first=stage.warmup,
                    per_round=stage.requests,
                    rate_per_s=None,
                )
                record = _then(appender.append, step)
                run_virtual(play_rounds(setup, [trial], done=(), record=record))

    def _measure(self, appender: Appender, stage: Measure) -> None:
        finalists = self._plan.finalists(self._of("simulated" if self._rig.simulates else "modelled"))
        trials = self._missing(self._plan.measured(finalists))
        if not trials:
            return
        lines = measured_lines(self._rig, self._plan.scenario)
        with self._progress.stage("measure", len(trials)) as step, lines as open_lines:
            setup = Setup(
                self._plan,
                self._rig,
                self._asked,
                open_lines,
                key_prefix=f"perfkit:{self._folder.run_id}:",
                first=stage.warmup,
                per_round=stage.requests // stage.rounds,
                rate_per_s=stage.rate_per_s,
            )
            record = _then(appender.append, step)
            run_real(play_rounds(setup, trials, done=(), record=record))

    def _confirm(self) -> None:
        results = self._folder.results()
        comparison = compare(results, scenario=self._plan.scenario, run_id=self._folder.run_id)
        leader = choose(comparison, self._plan.scenario)
        if leader.kept_baseline:
            return
        trials = self._missing(self._plan.confirmed(leader.arm, leader.knobs))
        if not trials:
            return
        with self._progress.stage("confirm", len(trials)) as step:
            confirm_in_fresh_process(self._folder, leader.arm, on_trial=step)

    def _of(self, stage: Stage) -> list[TrialResult]:
        return [result for result in self._folder.results() if result.trial.stage == stage]

    def _missing(self, trials: Iterable[Trial]) -> list[Trial]:
        done = {result.trial.key for result in self._folder.results() if result.status != "failed"}
        return [trial for trial in trials if trial.key not in done]


def plan_of(scenario: Scenario) -> Plan:
    """Return the plan of a scenario on its rig.

    Raises:
        ScenarioError: it asks the rig for what that cannot do, or for a metric it does not give.
    """
    rig = RIGS[scenario.rig]
    rig.check(scenario)
    for metric in (scenario.objective.metric, *(guardrail.metric for guardrail in scenario.guardrails)):
        if metric not in rig.metrics:
            raise ScenarioError(
                f"The rig {scenario.rig} does not give {metric!r}.{did_you_mean(metric, rig.metrics)} "
                f"It gives {', '.join(sorted(rig.metrics))}.",
                path=metric,
            )
    if not rig.simulates:
        _refuse_what_nothing_would_try(scenario, rig)
    return Plan(scenario, rig.modelled_knobs, rig.idle_knobs)


def _refuse_what_nothing_would_try(scenario: Scenario, rig: Rig) -> None:
    """Without a simulation, an axis no model knows is tried nowhere, and without a race no comparison."""
    for path in scenario.axes:
        if path not in rig.modelled_knobs:
            raise ScenarioError(
                f"The rig {scenario.rig} models {', '.join(rig.modelled_knobs)}, and has no simulation for "
                f"other axes: no value of {path} would be tried. Put it into the baseline, and ask again.",
                path=path,
            )
    if scenario.measure is None:
        raise ScenarioError(
            f"The rig {scenario.rig} has no simulation, so without a measurement nothing is compared. "
            "Say how to measure.",
            path="measure",
        )


def _fits(asked: Asked, results: Iterable[TrialResult]) -> list[Fit]:
    """Model exactly the requests each arm was measured on, to hold the two beside each other."""
    rows = [r for r in results if r.trial.stage == "measured" and r.status == "ok" and r.trial.arm != AGAIN]
    plan, rig = plan_of(asked.scenario), RIGS[asked.scenario.rig]
    fits: list[Fit] = []
    for arm in sorted({row.trial.arm for row in rows}, key=lambda arm: (arm != BASELINE, len(arm), arm)):
        own = [row for row in rows if row.trial.arm == arm]
        fits += rig.fits(plan.settings(own[0].trial), asked, own)
    return fits


def _with_absolute_path(scenario: Scenario, beside: Path) -> Scenario:
    """The scenario as a run folder keeps it: a trace and a distribution are found from anywhere."""
    named = {name: getattr(scenario.workload, name, None) for name in ("path", "tokens")}
    found = {name: str((beside / path).resolve()) for name, path in named.items() if path}
    if not found:
        return scenario
    return scenario.model_copy(update={"workload": scenario.workload.model_copy(update=found)})


def _then(record: Callable[[TrialResult], None], step: Callable[[], None]) -> Callable[[TrialResult], None]:
    def both(result: TrialResult) -> None:
        record(result)
        step()

    return both
