"""From a finished run to what people take away: the report, and tfvars when the choice may be exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perfkit import report
from perfkit.errors import AdoptionRefused
from perfkit.export.client_limit import guarded
from perfkit.export.tfvars import tuned_tfvars
from perfkit.knobs import flat, replaced
from perfkit.lab.choose import Choice
from perfkit.lab.folder import RunFolder, remove, write_whole
from perfkit.lab.scenario import Scenario
from perfkit.settings import Settings

__all__ = ["HandedOver", "export_text", "hand_over", "view_of"]


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Where the files are; `tfvars` is None when the choice may not be exported, and why it may not."""

    report: Path
    tfvars: Path | None
    refused_because: str


def hand_over(folder: RunFolder) -> HandedOver:
    """Write `report.html`, and `tuned.auto.tfvars` when the choice was confirmed, into the run's folder.

    Raises:
        RunError: the run has no comparison yet, or the folder cannot be written.
    """
    choice = guarded(folder.choice)
    tfvars = folder.path / "tuned.auto.tfvars"
    if choice.refused_because:
        remove(tfvars)
    else:
        write_whole(tfvars, export_text(folder.run_id, folder.scenario, choice))
    page = report.write(view_of(folder), folder.path / "report.html")
    return HandedOver(page, None if choice.refused_because else tfvars, choice.refused_because)


def view_of(folder: RunFolder) -> report.RunView:
    """Read from a run's folder all that its report shows."""
    scenario, choice = folder.scenario, guarded(folder.choice)
    return report.RunView(
        run_id=folder.run_id,
        scenario=scenario,
        comparison=folder.comparison,
        choice=choice,
        results=folder.results(),
        environment=folder.environment,
        tfvars=export_text(folder.run_id, scenario, choice, force=True),
        command=f"perfkit run reports/runs/{folder.run_id}/scenario.yaml",
        calibration=folder.calibration or {},
    )


def export_text(run_id: str, scenario: Scenario, choice: Choice, *, force: bool = False) -> str:
    """Return the choice as tfvars.

    Raises:
        AdoptionRefused: the choice was not confirmed, keeps the baseline, or asks for more connections than
            Redis admits, and `force` is not given.
    """
    choice = guarded(choice)
    if choice.refused_because and not force:
        raise AdoptionRefused(
            f"{run_id} is not exported: {choice.refused_because}. --force exports it all the same.",
            reason=choice.refused_because,
        )
    baseline = flat(replaced(Settings(), scenario.baseline))
    return tuned_tfvars(choice, baseline=baseline, run_id=run_id, scenario_name=scenario.name)
