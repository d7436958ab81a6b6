"""A run is a folder, and the folder survives whatever happens to the process.

scenario.yaml        the question as it was asked, overrides included
environment.json     the machine, the versions, the commit, the workload's digest
calibration.json     what a rig found out about this machine before it modelled, where it has to
trials.jsonl         one line per finished trial, fsynced: the source of truth
comparison.json      derived from the trials
choice.json          derived from the comparison
report.html          derived from all of it
tuned.auto.tfvars    derived from the choice; only when the choice was confirmed
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from perfkit.errors import RunError, did_you_mean
from perfkit.lab.choose import Choice
from perfkit.lab.compare import Comparison
from perfkit.lab.results import Record, TrialResult
from perfkit.lab.scenario import Scenario
from perfkit.lab.yaml12 import dumped

__all__ = ["RunFolder", "find_run", "list_runs", "remove", "write_whole"]

RecordT = TypeVar("RecordT", bound=Record)


class RunFolder:
    """One run's files; every write is whole or absent."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, out: Path, scenario: Scenario, environment: Mapping[str, Any]) -> RunFolder:
        """Make the folder of a new run below `out`.

        Raises:
            RunError: the folder cannot be written.
        """
        question = dumped(scenario)
        identity = hashlib.sha256(f"{question}{environment.get('workload')}".encode()).hexdigest()[:6]
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        path = out / f"{stamp}Z-{scenario.name}-{identity}"
        number = 1
        while path.exists():
            number += 1
            path = out / f"{stamp}Z-{scenario.name}-{identity}-{number}"
        folder = cls(path)
        try:
            path.mkdir(parents=True)
        except OSError as trouble:
            raise RunError(
                f"The run folder {path} cannot be made: {trouble.strerror}. "
                "Name a folder that can be written with --out.",
                folder=path,
            ) from None
        write_whole(path / "scenario.yaml", question)
        write_whole(path / "environment.json", json.dumps(environment, indent=2, sort_keys=True) + "\n")
        return folder

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def finished(self) -> bool:
        """Whether a choice was made."""
        return (self.path / "choice.json").is_file()

    @property
    def scenario(self) -> Scenario:
        """The question as it was asked."""
        return Scenario.load(self._existing("scenario.yaml"))

    @property
    def environment(self) -> dict[str, Any]:
        """The machine and workload the trials were made with."""
        try:
            environment: dict[str, Any] = json.loads(self._existing("environment.json").read_text())
        except ValueError:
            raise RunError(
                f"{self.path}/environment.json is not JSON, so where the numbers were obtained is unknown. "
                "Ask the question again.",
                folder=self.path,
            ) from None
        return environment

    @property
    def calibration(self) -> dict[str, Any] | None:
        """What the rig found out about the machine; None before it has."""
        file = self.path / "calibration.json"
        if not file.is_file():
            return None
        try:
            calibration: dict[str, Any] = json.loads(file.read_text())
        except ValueError:
            raise RunError(
                f"{file} is not JSON, so what was modelled cannot be modelled again. Ask the question again.",
                folder=self.path,
            ) from None
        return calibration

    def keep_calibration(self, calibration: Mapping[str, Any]) -> None:
        """Write what was found out, whole or not at all; nothing where there is nothing."""
        if calibration:
            write_whole(
                self.path / "calibration.json", json.dumps(calibration, indent=1, sort_keys=True) + "\n"
            )

    @property
    def comparison(self) -> Comparison:
        """What the trials say, as it was last computed."""
        return self._record("comparison.json", Comparison)

    @property
    def choice(self) -> Choice:
        """What was chosen, as it was last computed."""
        return self._record("choice.json", Choice)

    def results(self) -> tuple[TrialResult, ...]:
        """Return the finished trials in the order they ended; of a trial done twice, the last.

        A torn last line is what a killed process leaves, and is passed over.

        Raises:
            RunError: another line cannot be read.
        """
        file = self.path / "trials.jsonl"
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n") if file.exists() else [""]
        whole, _torn = lines[:-1], lines[-1]
        found: dict[str, TrialResult] = {}
        for number, line in enumerate(whole, 1):
            try:
                result = TrialResult.model_validate_json(line)
            except ValidationError as refusal:
                raise RunError(
                    f"{file}:{number} is not a trial ({refusal.errors()[0]['msg']}). "
                    f"Remove the line and have the trial done again: perfkit run --resume {self.path}",
                    folder=self.path,
                ) from None
            found.pop(result.trial.key, None)
            found[result.trial.key] = result
        return tuple(found.values())

    @contextmanager
    def appending(self) -> Iterator[Appender]:
        """Open `trials.jsonl` for one writer at a time, after dropping a torn last line.

        Raises:
            RunError: another process is writing to this run, or the folder cannot be written.
        """
        try:
            descriptor = os.open(self.path / "trials.jsonl", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as trouble:
            raise RunError(
                f"{self.path} cannot be written: {trouble.strerror}. What was done is kept; "
                "make the folder writable and go on with --resume.",
                folder=self.path,
            ) from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"Another process is at work on {self.path}. Wait for it or stop it.", folder=self.path
                ) from None
            _drop_torn_line(descriptor)
            yield Appender(descriptor, self.path)
        finally:
            os.close(descriptor)

    def keep(self, name: str, record: Record) -> None:
        """Write a derived record as JSON, whole or not at all."""
        write_whole(self.path / name, record.model_dump_json(indent=2) + "\n")

    def _existing(self, name: str) -> Path:
        file = self.path / name
        if not file.is_file():
            raise RunError(
                f"{self.path} has no {name}: it is not a run folder, or the run was broken off. "
                f"Go on with: perfkit run --resume {self.path}",
                folder=self.path,
            )
        return file

    def _record(self, name: str, kind: type[RecordT]) -> RecordT:
        try:
            return kind.model_validate_json(self._existing(name).read_bytes())
        except ValidationError as refusal:
            raise RunError(
                f"{self.path}/{name} cannot be read ({refusal.errors()[0]['msg']}). "
                f"`perfkit compare {self.run_id}` makes it again from the trials.",
                folder=self.path,
            ) from None


class Appender:
    """Appends finished trials, each on the disk before the next begins."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    def append(self, result: TrialResult) -> None:
        """Write one line and wait until the disk has it.

        Raises:
            RunError: the disk is full or the folder went away; what was appended before is kept.
        """
        line = result.model_dump_json(exclude_defaults=True).encode() + b"\n"
        end = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            os.fsync(self._descriptor)
        except OSError as trouble:
            os.ftruncate(self._descriptor, end)
            raise RunError(
                f"The trial {result.trial.key} could not be written to {self._path}: {trouble.strerror}. "
                "The trials before it are kept; make room and go on with --resume.",
                folder=self._path,
            ) from None


def list_runs(out: Path) -> list[RunFolder]:
    """Return the runs below `out`, newest last."""
    if not out.is_dir():
        return []
    return [RunFolder(path) for path in sorted(out.iterdir()) if (path / "scenario.yaml").is_file()]


def find_run(name: str, out: Path) -> RunFolder:
    """Return the run that a path, a name below `out` or its beginning, or the word `latest` means.

    Raises:
        RunError: there is no such run, or several begin so; the message names the nearest.
    """
    runs = list_runs(out)
    if name == "latest" and runs:
        return runs[-1]
    for path in (Path(name), out / name):
        if (path / "scenario.yaml").is_file():
            return RunFolder(path)
    begun_so = [run for run in runs if name and run.run_id.startswith(name)]
    if len(begun_so) == 1:
        return begun_so[0]
    if begun_so:
        listed = ", ".join(run.run_id for run in begun_so[:5])
        raise RunError(f"{len(begun_so)} runs begin with {name!r}: {listed}.", folder=out)
    hint = did_you_mean(name, [run.run_id for run in runs])
    raise RunError(
        f"There is no run {name!r} in {out}.{hint} `perfkit list` shows them all.", folder=out / name
    )


def write_whole(path: Path, text: str) -> Path:
    """Write a file so that a reader sees the old text or the new, never a part.

    Raises:
        RunError: the folder cannot be written.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    except OSError as trouble:
        raise _unwritable(path, trouble) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as trouble:
        Path(temporary).unlink(missing_ok=True)
        raise _unwritable(path, trouble) from None
    return path


def remove(path: Path) -> None:
    """Remove a file that may not be there.

    Raises:
        RunError: the folder cannot be written.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as trouble:
        raise _unwritable(path, trouble) from None


def _unwritable(path: Path, trouble: OSError) -> RunError:
    return RunError(
        f"{path} cannot be written: {trouble.strerror}. The trials are kept; "
        "make the folder writable or make room, then run `perfkit report` on the run.",
        folder=path.parent,
    )


def _drop_torn_line(descriptor: int) -> None:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        data = file.read()
    if data and not data.endswith(b"\n"):
        os.ftruncate(descriptor, data.rfind(b"\n") + 1)
