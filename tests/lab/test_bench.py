"""`perfkit bench` runs a script, keeps what it printed, and replaces nothing when that went wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from perfkit.errors import MeasurementError, SettingsError, Unavailable
from perfkit.lab.bench import bench, with_section

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
print(" ".join(sys.argv[1:]) or "no options")
print("  lru     1.0")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two small benchmarks."""
    benchmarks = tmp_path / "benchmarks"
    benchmarks.mkdir()
    (benchmarks / "cache.py").write_text(SCRIPT)
    (benchmarks / "pools.py").write_text("print('### Gets')\nprint('| fast |')\n")
    return benchmarks


def quiet(_line: str) -> None:
    """Hear what is told and say nothing."""


def test_a_section_holds_the_command_the_machine_the_versions_and_what_was_printed(folder: Path) -> None:
    """All a reader needs to judge a figure, and to get it again."""
    told: list[str] = []

    text = bench("cache", rounds=3, folder=folder, tell=told.append).read_text()

    assert told == ["--rounds 3", "  lru     1.0"]
    assert "\n## cache\n" in text
    assert "`perfkit bench cache --rounds 3`" in text
    assert f"Python {sys.version.split()[0]}" in text
    assert " cores, " in text
    assert "hiredis" in text
    assert "```text\n--rounds 3\n  lru     1.0\n```" in text


def test_results_name_no_path_and_no_host(folder: Path) -> None:
    """They are committed, and where they were made is nobody's affair."""
    text = bench("cache", folder=folder, tell=quiet).read_text()

    assert str(folder.parent) not in text
    assert sys.prefix not in text
    assert os.uname().nodename not in text.split()


def test_markdown_is_kept_as_it_stands(folder: Path) -> None:
    """Tables with headings need no fence."""
    text = bench("pools", folder=folder, tell=quiet).read_text()

    assert "### Gets\n| fast |\n" in text
    assert "```" not in text


def test_a_second_run_replaces_its_own_section_and_no_other(folder: Path) -> None:
    """What another area found stays."""
    for area in ("pools", "cache"):
        bench(area, folder=folder, tell=quiet)
    before = with_section((folder / "RESULTS.md").read_text(), "cache", "")
    (folder / "cache.py").write_text("print('newer')")

    text = bench("cache", folder=folder, tell=quiet).read_text()

    assert "newer" in text
    assert "lru     1.0" not in text
    assert text.count("## cache") == text.count("## pools") == 1
    assert with_section(text, "cache", "") == before


def test_a_benchmark_that_fails_leaves_the_results_as_they_were(folder: Path) -> None:
    """Half a table is no result."""
    before = bench("cache", folder=folder, tell=quiet).read_text()
    (folder / "cache.py").write_text("print('half', flush=True); raise SystemExit(3)")

    with pytest.raises(MeasurementError, match=r"cache\.py ended with status 3, so RESULTS\.md stays"):
        bench("cache", folder=folder, tell=quiet)

    assert (folder / "RESULTS.md").read_text() == before


def test_an_interrupted_benchmark_ends_with_whoever_ran_it(folder: Path) -> None:
    """No process stays behind to heat the machine."""
    (folder / "cache.py").write_text(
        "import os, signal\nprint(os.getpid(), flush=True)\nwhile True: signal.pause()"
    )
    heard: list[str] = []

    def stop(line: str) -> None:
        heard.append(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench("cache", folder=folder, tell=stop)

    with pytest.raises(ProcessLookupError):
        os.kill(int(heard[0]), 0)


def test_an_unknown_area_is_told_what_there_is(folder: Path) -> None:
    """With the nearest name."""
    with pytest.raises(SettingsError, match=r"no benchmark 'pool'.* cache, pools\. Did you mean 'pools'\?"):
        bench("pool", folder=folder)


def test_without_benchmarks_one_is_told_where_they_are(tmp_path: Path) -> None:
    """An installed perfkit has none."""
    with pytest.raises(SettingsError, match="in perfkit's repository"):
        bench("pools", folder=tmp_path)


def test_without_peers_one_is_told_which_script_installs_them(folder: Path) -> None:
    """And nothing is measured without them that was to be measured with them."""
    with pytest.raises(Unavailable, match=r"bash scripts/peers\.sh"):
        bench("pools", peers=True, folder=folder, tell=quiet)

    assert not (folder / "RESULTS.md").exists()


def peers_that_run(folder: Path, script: str) -> None:
    """Plant an interpreter where that of the peers would be."""
    python = folder.parent / ".venv-peers/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(script)
    python.chmod(0o755)


def test_with_peers_their_interpreter_measures(folder: Path) -> None:
    """It is the one asked for versions, too."""
    peers_that_run(folder, f'#!/bin/sh\nWITH_PEERS=yes exec "{sys.executable}" "$@"\n')
    (folder / "cache.py").write_text("import os; print('peers:', os.environ.get('WITH_PEERS'))")

    text = bench("cache", peers=True, folder=folder, tell=quiet).read_text()

    assert "peers: yes" in text
    assert "`perfkit bench cache --peers`" in text


def test_an_environment_of_peers_that_is_broken_is_told_how_to_mend_it(folder: Path) -> None:
    """What the interpreter said is passed on."""
    peers_that_run(folder, "#!/bin/sh\necho 'no module named perfkit' >&2\nexit 1\n")

    with pytest.raises(Unavailable, match=r"no module named perfkit.*scripts/peers\.sh again"):
        bench("cache", peers=True, folder=folder, tell=quiet)


def test_results_that_cannot_be_written_are_said_to_stand_above(folder: Path) -> None:
    """The time was spent; the figures are on the screen."""
    (folder / "RESULTS.md").mkdir()

    with pytest.raises(MeasurementError, match="The figures stand above"):
        bench("cache", folder=folder, tell=quiet)


def test_the_tables_of_the_repository_are_whole() -> None:
    """Every area that has a section has a benchmark, and each says by which command it came about."""
    text = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
    sections = text.split("\n## ")[1:]

    assert sections
    for section in sections:
        area = section.split("\n", 1)[0]
        assert (ROOT / f"benchmarks/{area}.py").exists()
        assert f"| command | `perfkit bench {area}" in section
