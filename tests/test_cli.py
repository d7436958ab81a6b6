"""The command line from outside: real processes, real signals, a real server that really dies."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perfkit.lab.folder import RunFolder, list_runs
from perfkit.lab.scenario import Scenario
from perfkit.lab.yaml12 import dumped
from perfkit.pools.server import find_server

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60
SERVER = re.compile(r"\S*(valkey|redis)-server\b")
needs_server = pytest.mark.skipif(find_server() is None, reason="no Redis or Valkey server is installed")


class Perfkit:
    """Starts `perfkit` in one folder, and knows every process that came of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self._mark = f"BELONGS_TO={folder}"
        self._started: list[subprocess.Popen[str]] = []
        self._children: set[int] = set()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        name, _, value = self._mark.partition("=")
        env = {key: text for key, text in os.environ.items() if not key.startswith("PERFKIT_")} | {
            name: value
        }
        command = [sys.executable, "-m", "perfkit", *arguments]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    def processes(self) -> dict[int, str]:
        """Every living process that came of ours, by its command line.

        They are known by the mark they inherited. A server paints over its environment, so the children of
        those that are marked are remembered too.
        """
        marked = {pid for pid in _pids() if self._mark.encode() in _proc(pid, "environ")}
        for pid in marked:
            self._children |= {int(child) for child in _proc(pid, f"task/{pid}/children").split()}
        commands = {
            pid: _proc(pid, "cmdline").replace(b"\0", b" ").decode() for pid in marked | self._children
        }
        return {pid: command for pid, command in commands.items() if command}  # a zombie has none

    def trials(self) -> list[str]:
        runs = list_runs(self.runs)
        file = runs[-1].path / "trials.jsonl" if runs else Path("absent")
        return file.read_text().splitlines() if file.exists() else []

    def could_not_measure(self) -> bool:
        """Whether the machine was too busy: the run itself has found trials that must not be compared."""
        return any('"status":"invalid"' in row or '"status":"failed"' in row for row in self.trials())


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.005)  # another process is waited for, which raises no event here


@pytest.fixture
def perfkit(tmp_path: Path, tiny: Scenario) -> Iterator[Perfkit]:
    (tmp_path / "tiny.yaml").write_text(dumped(tiny))
    runner = Perfkit(tmp_path)
    yield runner
    runner.close()


def stage_reached(perfkit: Perfkit, stage: str) -> Callable[[], bool]:
    return lambda: any(f'"stage":"{stage}"' in line for line in perfkit.trials())


@needs_server
def test_one_command_answers_and_the_next_ones_show_it(perfkit: Perfkit) -> None:
    code, out, err = perfkit("run", "tiny.yaml", "--out", "runs")

    assert code == 0, err
    folder = list_runs(perfkit.runs)[0]
    assert f"report  runs/{folder.run_id}/report.html" in out
    assert perfkit.processes() == {}
    for command in ("show", "list", "compare", "report"):
        code, out, err = perfkit(command, "--out", "runs")
        assert (code, err) == (0, "")
        assert out
    assert perfkit("export", "--out", "runs")[0] == (0 if folder.choice.confirmed else 1)
    if not perfkit.could_not_measure():
        assert "lowers Redis reads per request by" in folder.choice.why
        assert folder.choice.confirmed


def test_a_simulated_answer_is_not_exported_without_force(perfkit: Perfkit) -> None:
    code, out, _err = perfkit("run", "tiny.yaml", "--out", "runs", "--simulate")
    assert code == 0
    assert "tfvars  none: the baseline was kept" in out

    code, out, err = perfkit("export", "latest", "--out", "runs")
    assert (code, out) == (1, "")
    assert "not exported: the baseline was kept" in err

    code, out, _err = perfkit("export", "latest", "--out", "runs", "--force")
    assert code == 0
    assert "# NOT CONFIRMED: the baseline was kept." in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "Name a SCENARIO file, or a run to --resume"),
        (["run", "tiny.yaml", "--resume", "latest"], "Name a SCENARIO file, or a run to --resume"),
        (["run", "--resume", "latest", "--seed", "5"], "goes on with the question as it was asked"),
        (["run", "tniy.yaml"], "Did you mean 'tiny.yaml'"),
        (["run", "tiny.yaml", "--workload", "gone.csv"], "gone.csv"),
        (["run", "tiny.yaml", "--out", "tiny.yaml/runs"], "cannot be made"),
        (["run", "--resume", "latest"], "There is no run 'latest'"),
        (["show", "nothing"], "There is no run 'nothing'"),
        (["settings", "--tfvars", "gone.tfvars"], "gone.tfvars"),
        (["rnu"], "No such command"),
    ],
)
def test_a_wrong_word_is_answered_with_a_sentence(perfkit: Perfkit, arguments: list[str], said: str) -> None:
    code, _out, err = perfkit(*arguments)

    assert code in (1, 2)
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [["settings"], ["run", "tiny.yaml", "--simulate"]])
def test_a_misspelt_variable_is_refused_by_name(perfkit: Perfkit, arguments: list[str]) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "perfkit", *arguments],
        cwd=perfkit.folder,
        env=dict(os.environ) | {"PERFKIT_CACHE__L1_TTL_SECOND": "5"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert process.returncode == 1
    assert "Did you mean 'PERFKIT_CACHE__L1_TTL_SECONDS'" in process.stderr


def test_settings_are_printed_as_the_environment_that_makes_them(perfkit: Perfkit) -> None:
    code, out, _err = perfkit("settings", "--env")

    assert code == 0
    assert "PERFKIT_CACHE__L1_TTL_SECONDS=60.0" in out.splitlines()


def test_a_broken_run_does_not_hide_the_others(perfkit: Perfkit) -> None:
    perfkit("run", "tiny.yaml", "--out", "runs", "--simulate")
    (whole,) = list_runs(perfkit.runs)
    broken = perfkit.runs / "00-broken"
    broken.mkdir()
    (broken / "scenario.yaml").write_text((whole.path / "scenario.yaml").read_text())
    (broken / "trials.jsonl").write_text("nonsense\n")
    code, out, _err = perfkit("list", "--out", "runs")

    assert code == 0
    assert "00-broken  cannot be read" in out
    assert f"{whole.run_id}  The baseline stays" in out


def test_runs_of_two_workloads_are_not_set_side_by_side(perfkit: Perfkit) -> None:
    perfkit("run", "tiny.yaml", "--out", "runs", "--simulate")
    perfkit("run", "tiny.yaml", "--out", "runs", "--simulate", "--seed", "2")
    first, second = (folder.run_id for folder in list_runs(perfkit.runs))
    code, out, err = perfkit("compare", first, second, "--out", "runs")

    assert (code, out) == (1, "")
    assert "cannot be compared" in err
    assert "workload" in err


@needs_server
@pytest.mark.parametrize("stage", ["simulated", "measured", "confirmed"])
def test_ctrl_c_keeps_what_was_done_and_leaves_no_process(perfkit: Perfkit, stage: str) -> None:
    process = perfkit.start("run", "tiny.yaml", "--out", "runs")
    reached = stage_reached(perfkit, stage)
    wait_until(lambda: reached() or process.poll() is not None)
    if not reached() and perfkit.could_not_measure():
        pytest.skip("this machine is too busy to measure anything, so nothing is confirmed")
    assert perfkit.processes()
    os.killpg(process.pid, signal.SIGINT)
    _out, err = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130, err
    assert "Go on with: perfkit run --resume runs/" in err
    assert "Traceback" not in err
    wait_until(lambda: not perfkit.processes())
    before = perfkit.trials()
    code, _out, err = perfkit("run", "--resume", "latest", "--out", "runs")
    assert code == 0, err
    assert perfkit.trials()[: len(before)] == before


@needs_server
def test_killed_at_random_moments_a_run_loses_at_most_the_trial_under_way(
    perfkit: Perfkit, tiny: Scenario
) -> None:
    """Six kills −9, each after a few more trials; then it is left to finish."""
    moments = random.SystemRandom()
    start = ["run", "tiny.yaml"]
    for _ in range(6):
        before = perfkit.trials()
        wanted = len(before) + moments.randint(1, 7)
        process = perfkit.start(*start, "--out", "runs")
        wait_until(lambda p=process, n=wanted: p.poll() is not None or len(perfkit.trials()) >= n)
        time.sleep(moments.random() * 0.1)  # anywhere within the trial that is under way
        perfkit.processes()
        process.kill()
        process.communicate()
        wait_until(lambda: not perfkit.processes())
        assert perfkit.trials()[: len(before)] == before
        start = ["run", "--resume", "latest"]
    kept = [line for line in perfkit.trials() if _whole(line)]
    code, _out, err = perfkit(*start, "--out", "runs")

    assert code == 0, err
    lines = perfkit.trials()
    assert lines[: len(kept)] == kept
    keys = [
        (row["trial"]["stage"], row["trial"]["arm"], row["trial"]["round"]) for row in map(json.loads, lines)
    ]
    assert len(set(keys)) == len(keys) == len(RunFolder(list_runs(perfkit.runs)[0].path).results())
    stages = {stage for stage, _arm, _round in keys}
    assert stages >= {"modelled", "simulated", "measured"}
    assert "confirmed" in stages or perfkit.could_not_measure()


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@needs_server
def test_a_server_that_dies_mid_trial_is_named_and_the_run_goes_on_later(perfkit: Perfkit) -> None:
    process = perfkit.start("run", "tiny.yaml", "--out", "runs")
    wait_until(stage_reached(perfkit, "measured"))
    (server,) = (pid for pid, command in perfkit.processes().items() if SERVER.match(command))
    os.kill(server, signal.SIGKILL)
    _out, err = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 1
    died = re.search(r"Redis went away during (measured)/([\w-]+)/(\d+) ", err)
    assert died is not None, err
    assert "--resume" in err
    wait_until(lambda: not perfkit.processes())
    code, _out, err = perfkit("run", "--resume", "latest", "--out", "runs")
    assert code == 0, err
    keys = [json.loads(line)["trial"] for line in perfkit.trials()]
    again = [key for key in keys if (key["stage"], key["arm"], str(key["round"])) == died.groups()]
    assert len(again) == 2


def test_a_full_disk_ends_the_run_with_a_remedy(perfkit: Perfkit) -> None:
    """A limit on the size of files is what a full disk is to the process."""
    limited = (
        "import resource, signal, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000)); "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "sys.argv = ['perfkit', 'run', 'tiny.yaml', '--out', 'runs']; "
        "from perfkit.cli import main; main()"
    )
    process = subprocess.run(
        [sys.executable, "-c", limited],
        cwd=perfkit.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert process.returncode == 1
    assert "could not be written" in process.stderr
    assert "finished trials are kept" in process.stderr
    assert all(_whole(line) for line in perfkit.trials())
