"""The last look, in a fresh process: `python -m perfkit.lab.confirm RUN ARM`.

A process of its own shares no heap, no warmed-up code and no open connection with the race it judges; a
fresh seed and requests the race has not seen keep a lucky winner from confirming itself. It appends to the
run's trials like any stage, and stops when the process that started it is gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from perfkit.errors import MeasurementError, PerfkitError
from perfkit.lab.folder import RunFolder
from perfkit.lab.line import measured_lines
from perfkit.lab.plan import Plan
from perfkit.lab.results import TrialResult
from perfkit.lab.rigs import RIGS, Asked
from perfkit.lab.rounds import Setup, play_rounds
from perfkit.lab.sources import load_workload
from perfkit.lab.virtual import run_real
from perfkit.lab.workload import Workload

__all__ = ["confirm_in_fresh_process"]


def confirm_in_fresh_process(folder: RunFolder, arm: str, *, on_trial: Callable[[], None]) -> None:
    """Measure the leading arm against the baseline in a new interpreter, and wait for it.

    Raises:
        MeasurementError: the process failed; its own message is passed on.
    """
    command = [sys.executable, "-m", "perfkit.lab.confirm", str(folder.path.resolve()), arm]
    with subprocess.Popen(  # noqa: S603  # our own interpreter and module
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101  # it was asked for above
            for _line in process.stdout:
                on_trial()
            _out, complaints = process.communicate()
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise MeasurementError(
            f"The confirmation of {arm} failed: {complaints.strip() or process.returncode}. "
            "The other trials are kept; go on with --resume."
        )


def main() -> None:
    """Do what `confirm_in_fresh_process` asks for."""
    folder, arm = RunFolder(Path(sys.argv[1])), sys.argv[2]
    starter = os.getppid()
    scenario = folder.scenario
    rig = RIGS[scenario.rig]
    plan = Plan(scenario, rig.modelled_knobs, rig.idle_knobs)
    results = folder.results()
    knobs = next(r.trial.knobs for r in results if r.trial.stage == "measured" and r.trial.arm == arm)
    workload = load_workload(scenario.workload, seed=plan.confirm_seed, folder=folder.path)
    measure = scenario.measure
    assert measure is not None  # noqa: S101  # nothing is confirmed that was not measured
    per_round = measure.requests // measure.rounds
    with folder.appending() as appender, measured_lines(rig, scenario) as lines:

        def record(result: TrialResult) -> None:
            appender.append(result)
            print(result.trial.key, flush=True)  # noqa: T201  # the starter counts these lines
            if os.getppid() != starter:
                raise SystemExit("the process that asked for this confirmation is gone")

        setup = Setup(
            plan,
            rig,
            Asked(scenario, workload),
            lines,
            key_prefix=f"perfkit:{folder.run_id}:confirm:",
            first=_unseen(workload, measure.warmup, measure.requests, per_round * scenario.confirm.rounds),
            per_round=per_round,
            rate_per_s=measure.rate_per_s,
        )
        done = {r.trial.key for r in results if r.status != "failed"}
        run_real(play_rounds(setup, plan.confirmed(arm, knobs), done=done, record=record))


def _unseen(workload: Workload, warmup: int, measured: int, wanted: int) -> int:
    """Where the confirmation begins: after the requests of the race, when the workload is long enough."""
    return warmup + measured if warmup + measured + wanted <= len(workload) else warmup


if __name__ == "__main__":
    try:
        main()
    except PerfkitError as trouble:
        sys.exit(str(trouble))
