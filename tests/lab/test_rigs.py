"""Sweep, rounds and choice lean on what a rig promises, and on nothing of any area."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfkit.errors import ScenarioError
from perfkit.lab import sweep
from perfkit.lab.compare import Fit
from perfkit.lab.histogram import from_ms
from perfkit.lab.line import Line
from perfkit.lab.results import TrialResult, Validity
from perfkit.lab.rigs import RIGS, Asked, Observation, OpenRig, Rig
from perfkit.lab.scenario import Scenario, World
from perfkit.settings import Settings

METRIC = "response_mean_ms"


class Coin:
    """A rig of a few lines: a setting's response is its number of entries, and Redis is a round trip more."""

    modelled_knobs = ("cache.l1_max_entries",)
    metrics = frozenset({METRIC, "response_p50_ms"})

    def __init__(self, *, simulates: bool) -> None:
        self.simulates = simulates
        self.opened: list[float | None] = []
        self.calibrations = 0

    def served_by(self, scenario: Scenario) -> str | None:
        return None

    def check(self, scenario: Scenario) -> None:
        """Any will do."""

    def idle_knobs(self, settings: Settings) -> frozenset[str]:
        return frozenset()

    def calibrated(self, settings: Sequence[Settings], asked: Asked) -> dict[str, Any]:
        self.calibrations += 1
        return {"settings": len(settings)} if not self.simulates else {}

    def model(
        self, settings: Sequence[Settings], asked: Asked, *, rtt_ms: float | None
    ) -> list[dict[str, float]]:
        return [{METRIC: s.cache.l1_max_entries + (rtt_ms or 0.0)} for s in settings]

    def simulated_delay_ms(self, world: World) -> float:
        return world.round_trip_ms

    @asynccontextmanager
    async def open(
        self, settings: Settings, asked: Asked, line: Line, *, seed: int, key_prefix: str
    ) -> AsyncIterator[OpenRig]:
        self.opened.append(line.world.round_trip_ms)
        yield Tossed(settings.cache.l1_max_entries + line.world.round_trip_ms)

    def fits(self, settings: Settings, asked: Asked, rows: Sequence[TrialResult]) -> list[Fit]:
        return []


class Tossed:
    def __init__(self, level: float) -> None:
        self._level = level

    async def warm(self, stop: int) -> None:
        """Nothing to warm."""

    async def play(self, stop: int, *, rate_per_s: float | None) -> Observation:
        validity = Validity(planned_per_s=1, achieved_per_s=1, dropped=0, lag_p99_ms=0, run_queue_share=0)
        return Observation({METRIC: self._level}, from_ms(np.array([self._level])), validity)


def question(tiny: Scenario, **changes: object) -> Scenario:
    return tiny.model_copy(
        update={
            "objective": tiny.objective.model_copy(update={"metric": METRIC}),
            "axes": {"cache.l1_max_entries": (10, 50, 300)},
            "measure": None,
        }
        | changes
    )


def test_a_rig_the_laboratory_has_never_seen_is_swept_like_any_other(
    tiny: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig: Rig = Coin(simulates=True)
    monkeypatch.setitem(RIGS, "cache", rig)
    far = question(tiny, world=World(redis_ms=(1.0, 3.0)))
    finished = sweep.run(far, out=tmp_path, show_progress=False)

    assert finished.comparison.arms[0].knobs == {"cache.l1_max_entries": 10}
    assert [at.rtt_ms for at in finished.comparison.by_rtt] == [1.0, 3.0]


def test_a_rig_that_cannot_be_simulated_has_its_best_models_measured(
    tiny: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stage is made up: the finalists come from what there is."""
    rig = Coin(simulates=False)
    monkeypatch.setitem(RIGS, "cache", rig)
    finished = sweep.run(question(tiny, measure=tiny.measure), out=tmp_path, show_progress=False)
    stages = {r.trial.stage for r in finished.folder.results()}

    assert "simulated" not in stages
    assert finished.comparison.arms[0].knobs == {"cache.l1_max_entries": 10}
    assert rig.opened


def test_the_machine_is_looked_at_once_a_run_and_a_run_gone_on_with_keeps_what_was_found(
    tiny: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Coin(simulates=False)
    monkeypatch.setitem(RIGS, "cache", rig)
    monkeypatch.setattr(sweep, "confirm_in_fresh_process", lambda *_run, **_step: None)
    finished = sweep.run(question(tiny, measure=tiny.measure), out=tmp_path, show_progress=False)
    assert finished.folder.calibration == {"settings": 3}

    trials = finished.folder.path / "trials.jsonl"
    trials.write_text("".join(trials.read_text().splitlines(keepends=True)[:1]))
    sweep.run(finished.folder, show_progress=False)
    assert rig.calibrations == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"axes": {"cache.l1_max_entries": (10,), "cache.l1_policy": ("lru",)}}, "cache.l1_policy would be"),
        ({"measure": None}, "without a measurement nothing is compared"),
    ],
)
def test_a_rig_without_a_simulation_refuses_what_nothing_would_try(
    tiny: Scenario, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    monkeypatch.setitem(RIGS, "cache", Coin(simulates=False))
    with pytest.raises(ScenarioError, match=said):
        sweep.plan_of(question(tiny, **({"measure": tiny.measure} | changes)))
