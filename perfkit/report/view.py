"""All that a page shows of a run, read from its folder and handed over as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perfkit.lab.choose import Choice
from perfkit.lab.compare import Comparison
from perfkit.lab.results import TrialResult
from perfkit.lab.scenario import Scenario

__all__ = ["RunView"]


@dataclass(frozen=True)
class RunView:
    """All that a page shows of a run, as it stands in the run's folder."""

    run_id: str
    scenario: Scenario
    comparison: Comparison
    choice: Choice
    results: tuple[TrialResult, ...]
    environment: Mapping[str, Any]
    tfvars: str
    command: str
    """What reproduces the run."""
    calibration: Mapping[str, Any] = field(default_factory=dict)
    """What the rig found out before it modelled, where it had to."""

    def played(self, arm: str) -> list[TrialResult]:
        """The sound measured rounds of an arm."""
        rows = (r for r in self.results if r.trial.stage == "measured" and r.trial.arm == arm)
        return [row for row in rows if row.status == "ok"]
