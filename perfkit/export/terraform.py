"""The real `terraform`, asked to judge a tfvars file before anyone adopts it.

The settings module needs no provider, so no `init`, no network and no account.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perfkit.errors import Unavailable

__all__ = ["TerraformCheck", "check_tfvars", "find_terraform"]

_WITHIN_S = 120


@dataclass(frozen=True, slots=True)
class TerraformCheck:
    """What terraform said; `environment` is the map the container would get."""

    ok: bool
    text: str
    skipped: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def find_terraform() -> Path | None:
    """Return the terraform on PATH, if there is one."""
    found = shutil.which("terraform")
    return Path(found) if found else None


def check_tfvars(path: Path, module: Path) -> TerraformCheck:
    """Plan the settings module with a tfvars file and read back the environment it gives.

    Raises:
        Unavailable: terraform did not answer in time.
    """
    binary = find_terraform()
    if binary is None:
        return TerraformCheck(ok=True, text="not checked: terraform is not on PATH", skipped=True)
    with tempfile.TemporaryDirectory(prefix="perfkit-") as scratch:
        plan = Path(scratch) / "plan"
        planned = _terraform(
            binary,
            module,
            scratch,
            "plan",
            f"-var-file={path.resolve()}",
            f"-out={plan}",
            "-no-color",
            "-input=false",
        )
        if planned.returncode:
            return TerraformCheck(ok=False, text=planned.stderr.strip() or planned.stdout.strip())
        shown = _terraform(binary, module, scratch, "show", "-json", str(plan))
        plan_shown = json.loads(shown.stdout)
    environment: dict[str, str] = plan_shown["planned_values"]["outputs"]["environment"]["value"]
    text = "; ".join(["accepted by terraform", *_warnings(plan_shown)])
    return TerraformCheck(ok=True, text=text, environment=environment)


def _warnings(plan: Mapping[str, Any]) -> list[str]:
    """What its `check` blocks say: a plan warns of them and goes on."""
    return [
        f"it warns: {problem['message']}"
        for check in plan.get("checks", ())
        for instance in check.get("instances", ())
        for problem in instance.get("problems", ())
    ]


def _terraform(binary: Path, module: Path, scratch: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    empty = Path(scratch) / "terraform.rc"
    empty.touch()
    environment = os.environ | {
        "CHECKPOINT_DISABLE": "1",
        "TF_CLI_CONFIG_FILE": str(empty),
        "TF_DATA_DIR": str(Path(scratch) / "data"),
        "TF_IN_AUTOMATION": "1",
    }
    command = [str(binary), f"-chdir={module}", *arguments]
    try:
        return subprocess.run(  # noqa: S603  # the terraform on PATH
            command, capture_output=True, text=True, env=environment, timeout=_WITHIN_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"terraform gave no answer within {_WITHIN_S} s.", dependency="terraform") from None
