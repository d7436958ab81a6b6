"""What the benchmarks conclude from their rounds; and that one of them runs, on a real server."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from perfkit.errors import MeasurementError
from perfkit.pools.server import find_server

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PATIENCE_S = 60
NEEDS_A_SERVER = pytest.mark.skipif(find_server() is None, reason="no Redis or Valkey server is installed")


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The harness, found as a benchmark finds it."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("harness")


def test_a_ratio_is_taken_within_rounds(harness: ModuleType) -> None:
    """The machine became ten times slower halfway through, for both alike."""
    weather = np.array([1.0, 1, 1, 1, 10, 10, 10, 10])
    noise = np.array([0.99, 1.01, 1, 1.02, 0.98, 1, 1.01, 0.99])

    found = harness.ratio(4 * weather * noise, weather)

    assert found.point == pytest.approx(4, rel=0.02)
    assert 3.9 < found.low < found.high < 4.1


@pytest.mark.parametrize(
    ("interval", "at_least", "at_most"),
    [
        ((5.0, 6.0), "yes", "**no**"),
        ((2.0, 3.0), "**no**", "yes"),
        ((3.0, 6.0), "undecided", "undecided"),
        ((None, None), "no interval", "no interval"),
    ],
)
def test_a_target_is_judged_by_the_whole_interval(
    harness: ModuleType, interval: tuple[float | None, float | None], at_least: str, at_most: str
) -> None:
    """A point on the right side of the target is not enough."""
    estimate = harness.Estimate(4.5, *interval)

    assert harness.verdict(estimate, harness.Target(4)) == at_least
    assert harness.verdict(estimate, harness.Target(4, at_most=True)) == at_most


def test_arms_take_turns_and_the_first_does_not_count(harness: ModuleType) -> None:
    """Nobody is measured cold, nobody more often than others, nobody always after the same one."""
    taken: list[str] = []

    def arm(name: str) -> object:
        async def turn() -> dict[str, float]:
            taken.append(name)
            return {"turn": float(len(taken))}

        return turn

    readings = asyncio.run(harness.interleaved({name: arm(name) for name in "abc"}, 10, turns=2))

    by_turn = [tuple(taken[start : start + 3]) for start in range(0, len(taken), 3)]
    assert len(by_turn) == 1 + 10 * 2
    assert all(sorted(names) == ["a", "b", "c"] for names in by_turn)
    assert len(set(by_turn)) > 1
    assert {len(readings[name]["turn"]) for name in "abc"} == {10}
    assert min(readings[name]["turn"].min() for name in "abc") > 3


def test_a_ruined_turn_does_not_ruin_its_round(harness: ModuleType) -> None:
    """A round keeps the median of its turns."""
    weather = iter([1.0, *[1.0, 1.1, 90.0] * 4])

    async def turn() -> dict[str, float]:
        return {"cost": next(weather)}

    readings = asyncio.run(harness.interleaved({"a": turn}, 4, turns=3))

    assert readings["a"]["cost"].tolist() == [1.1] * 4


def test_only_what_was_completed_counts(harness: ModuleType) -> None:
    """Half of the work left undone would look like twice the speed, so it is an error."""

    async def half(operations: int) -> int:
        await asyncio.sleep(0)
        sum(range(1_000 * operations))
        return operations // 2

    with pytest.raises(MeasurementError, match="operations failed"):
        asyncio.run(harness.Timed(half)())


@pytest.mark.parametrize(
    ("benchmark", "question", "row"),
    [
        pytest.param("pools", "connect", "| perfkit | 1 | ≤ 1 | yes |", marks=NEEDS_A_SERVER),
        pytest.param("pools", "breaker", "| closed: admit and record | ", marks=NEEDS_A_SERVER),
        ("vertex", "healing", "| one bad text of 250: rounds until it fails | 9 | ≤ 9 | yes |"),
    ],
)
def test_a_question_is_answered_in_a_table(benchmark: str, question: str, row: str) -> None:
    """The whole way: server or emulator, clients, rounds, Markdown. A connection takes one round trip."""
    done = subprocess.run(
        [sys.executable, f"{benchmark}.py", "--only", question, "--rounds", "1"],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert done.returncode == 0, done.stderr
    assert "\n### " in done.stdout
    assert f"\n{row}" in done.stdout
