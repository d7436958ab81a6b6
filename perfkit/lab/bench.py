"""Benchmarks of perfkit itself: one area's is run, and what it printed becomes its section of RESULTS.md.

A benchmark is a script, `benchmarks/<area>.py`, that prints its tables and takes `--rounds`. Output with
Markdown headings (`### `) is kept as it stands; anything else is laid out for a terminal, and fenced.

Peers live in `.venv-peers`, so that none of them is ever a dependency. A benchmark with peers is run by the
interpreter of that environment, which is also the one that is asked for its versions.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from perfkit.clock import epoch_s
from perfkit.errors import MeasurementError, SettingsError, Unavailable, did_you_mean

__all__ = ["bench", "with_section"]

_HEAD = """\
# Results

What `perfkit bench AREA` found, area by area; a section is replaced when its benchmark is run again. Figures
belong to the machine and the versions they stand under; [measuring](../docs/measuring.md) says how to read
them.
"""
_PEERS = ".venv-peers/bin/python"
_SECTION = re.compile(r"^## (\w+)$", flags=re.MULTILINE)
_ASK = """
import json, re
from importlib.metadata import PackageNotFoundError, requires, version
from perfkit.lab.environment import fingerprint
found = fingerprint()
for line in requires("perfkit") or ():
    if re.search(r"extra == .peers.", line):
        name = re.match(r"[\\w.-]+", line)[0]
        try:
            found["packages"][name] = version(name)
        except PackageNotFoundError:
            pass
print(json.dumps(found))
"""


def bench(
    area: str,
    *,
    peers: bool = False,
    rounds: int | None = None,
    folder: Path = Path("benchmarks"),
    tell: Callable[[str], None] = print,
) -> Path:
    """Run an area's benchmark, write its section of `RESULTS.md` and return that file.

    Args:
        area: Names `<area>.py` in the folder.
        peers: Measure beside other projects, in the environment `scripts/peers.sh` makes.
        rounds: How many interleaved rounds; default: what the benchmark itself takes for enough.
        folder: Where the benchmarks are.
        tell: Hears each line of the benchmark as it comes.

    Raises:
        SettingsError: there is no such benchmark.
        Unavailable: the peers are not installed.
        MeasurementError: the benchmark failed, or its result could not be written; nothing was replaced.
    """
    script = _script(area, folder)
    python = _interpreter(folder, peers=peers)
    options = [] if rounds is None else ["--rounds", str(rounds)]
    where = _environment(python)
    lines = []
    for line in _output([str(python), str(script), *options]):
        tell(line)
        lines.append(line)
    command = " ".join(["perfkit bench", area, *(["--peers"] if peers else []), *options])
    body = f"{_described(command, where)}\n\n{_as_markdown(lines)}"
    return _written(folder / "RESULTS.md", area, body)


def with_section(text: str, area: str, body: str) -> str:
    """Return results in which an area's section is this one; sections are kept in order of their names.

    >>> text = with_section("# Results\\n", "pools", "fast")
    >>> print(with_section(with_section(text, "cache", "small"), "pools", "faster"), end="")
    # Results
    <BLANKLINE>
    ## cache
    <BLANKLINE>
    small
    <BLANKLINE>
    ## pools
    <BLANKLINE>
    faster
    """
    head, *parts = _SECTION.split(text)
    sections = dict(zip(parts[::2], parts[1::2], strict=True)) | {area: body}
    return (
        "\n\n".join([head.strip(), *(f"## {name}\n\n{sections[name].strip()}" for name in sorted(sections))])
        + "\n"
    )


def _script(area: str, folder: Path) -> Path:
    areas = sorted(path.stem for path in folder.glob("*.py"))
    if area in areas:
        return folder / f"{area}.py"
    if not areas:
        remedy = "Benchmarks are in perfkit's repository, not in its wheel: run this where benchmarks/ is."
    else:
        remedy = f"There are {', '.join(areas)}.{did_you_mean(area, areas)}"
    raise SettingsError(
        f"There is no benchmark {area!r}. {remedy}", path="AREA", value=area, allowed=", ".join(areas)
    )


def _interpreter(folder: Path, *, peers: bool) -> Path:
    if not peers:
        return Path(sys.executable)
    python = folder.parent.absolute() / _PEERS
    if not os.access(python, os.X_OK):
        raise Unavailable(
            f"The peers are not installed: there is no {_PEERS} here. Run bash scripts/peers.sh, which makes "
            "it, or leave out --peers to measure without them.",
            dependency="peers",
        )
    return python


def _environment(python: Path) -> Mapping[str, Any]:
    """What the interpreter that measures says of itself."""
    try:
        done = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, check=True)  # noqa: S603  # our own, or the one peers.sh made
    except subprocess.CalledProcessError as trouble:
        *_, last = trouble.stderr.splitlines() or ["it said nothing"]
        raise Unavailable(
            f"The interpreter that was to measure cannot load perfkit ({last}), so nothing was measured. Run "
            "bash scripts/peers.sh again, or bash run.sh for the environment without peers.",
            dependency="peers",
        ) from None
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def _output(command: list[str]) -> Iterator[str]:
    """Yield what a benchmark prints, line by line; it ends with us, and its complaints go where ours go."""
    with subprocess.Popen(  # noqa: S603  # a script of the folder that was named
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        assert process.stdout is not None  # noqa: S101  # asked for above
        try:
            for line in process.stdout:
                yield line.rstrip()
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise MeasurementError(
            f"{Path(command[1]).name} ended with status {process.returncode}, so RESULTS.md stays as it was. "
            "What it complained of stands above."
        )


def _described(command: str, where: Mapping[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {number}" for name, number in sorted(where["packages"].items()) if number != "absent"
    )
    commit = f" at {where['commit']}" if where["commit"] else ""
    rows = {
        "command": f"`{command}`",
        "date": datetime.fromtimestamp(epoch_s(), UTC).strftime("%Y-%m-%d"),
        "perfkit": f"{where['perfkit']}{commit}",
        "machine": f"{where['cpu']}, {where['cores']} cores, {where['kernel']}",
        "Python": where["python"],
        "versions": versions,
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _as_markdown(lines: list[str]) -> str:
    text = "\n".join(lines).strip("\n")
    if any(line.startswith("### ") for line in lines):
        return text
    return f"```text\n{text}\n```"


def _written(path: Path, area: str, body: str) -> Path:
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else _HEAD
        path.write_text(with_section(before, area, body), encoding="utf-8")
    except OSError as trouble:
        raise MeasurementError(
            f"{path} could not be written: {trouble.strerror}. The figures stand above; make room or mend "
            "its permissions, and run the benchmark again."
        ) from None
    return path
