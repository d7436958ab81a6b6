"""A run folder keeps every finished trial, whatever happens to the process that writes it."""

import os
from pathlib import Path

import pytest

from perfkit.errors import RunError
from perfkit.lab.folder import RunFolder, find_run, remove, write_whole
from perfkit.lab.results import Trial, TrialResult
from perfkit.lab.scenario import Scenario

QUICKSTART = Path(__file__).parents[2] / "scenarios" / "quickstart.yaml"


def result(number: int, metric: float = 1.0) -> TrialResult:
    trial = Trial(stage="measured", arm="c1", knobs={}, fingerprint="f", round=number, seed=1)
    return TrialResult(trial=trial, how="measured", backend="x", status="ok", metrics={"hit_ratio": metric})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, Scenario.load(QUICKSTART), {"workload": "abc"})


def test_what_is_appended_is_read_back_in_order(folder: RunFolder) -> None:
    with folder.appending() as appender:
        for number in range(3):
            appender.append(result(number))

    assert folder.results() == tuple(result(number) for number in range(3))


@pytest.mark.parametrize("kept", range(1, 40, 7))
def test_a_torn_last_line_is_passed_over_and_then_overwritten(folder: RunFolder, kept: int) -> None:
    with folder.appending() as appender:
        appender.append(result(0))
        appender.append(result(1))
    file = folder.path / "trials.jsonl"
    first, second = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first + second[:kept])

    assert folder.results() == (result(0),)

    with folder.appending() as appender:
        appender.append(result(2))

    assert folder.results() == (result(0), result(2))


def test_a_broken_line_in_the_middle_is_named(folder: RunFolder) -> None:
    (folder.path / "trials.jsonl").write_text("nonsense\n" + result(1).model_dump_json() + "\n")

    with pytest.raises(RunError, match=r"trials.jsonl:1 is not a trial"):
        folder.results()


def test_bytes_that_are_no_text_are_named_or_passed_over_like_any_other(folder: RunFolder) -> None:
    """A disk that lost a block may leave anything."""
    file = folder.path / "trials.jsonl"
    whole = result(1).model_dump_json().encode() + b"\n"
    file.write_bytes(whole + b"\xcb\xff")
    assert folder.results() == (result(1),)

    file.write_bytes(b"\xcb\xff\n" + whole)
    with pytest.raises(RunError, match=r"trials.jsonl:1 is not a trial"):
        folder.results()


def test_of_a_trial_done_twice_the_last_counts(folder: RunFolder) -> None:
    with folder.appending() as appender:
        appender.append(result(0, metric=0.1))
        appender.append(result(0, metric=0.2))

    assert folder.results() == (result(0, metric=0.2),)


def test_two_writers_at_once_are_refused(folder: RunFolder) -> None:
    with folder.appending(), pytest.raises(RunError, match="Another process"), folder.appending():
        pass


def test_a_full_disk_keeps_what_was_written_before(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that ends in the middle of a line leaves no part of it behind."""
    with folder.appending() as appender:
        appender.append(result(0))
        write = os.write

        def fills_up(descriptor: int, data: bytes) -> int:
            write(descriptor, data[:20])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", fills_up)
        with pytest.raises(RunError, match=r"No space left on device.*--resume"):
            appender.append(result(1))
        monkeypatch.undo()
        appender.append(result(2))

    assert folder.results() == (result(0), result(2))


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")

    with pytest.raises(RunError, match="cannot be made"):
        RunFolder.create(blocked, Scenario.load(QUICKSTART), {})


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    write_whole(target, "old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        write_whole(target, "new")

    assert target.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_run_is_found_by_path_name_or_latest(folder: RunFolder) -> None:
    out = folder.path.parent

    assert find_run(folder.run_id, out).path == folder.path
    assert find_run(str(folder.path), out).path == folder.path
    assert find_run("latest", out).path == folder.path
    with pytest.raises(RunError, match=f"Did you mean '{folder.run_id}'"):
        find_run(folder.run_id[:-1] + "z", out)


def test_two_runs_of_one_second_do_not_share_a_folder(folder: RunFolder) -> None:
    again = RunFolder.create(folder.path.parent, folder.scenario, {"workload": "abc"})

    assert again.path != folder.path


def test_a_file_that_cannot_be_removed_says_so(tmp_path: Path) -> None:
    """As on a read-only file system; a folder in the file's place refuses root as well."""
    remove(tmp_path / "absent")
    with pytest.raises(RunError, match=r"cannot be written.*make the folder writable"):
        remove(tmp_path)
