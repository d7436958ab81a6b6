"""Putting a choice into Terraform, once it is confirmed and the real terraform has accepted it."""

from __future__ import annotations

import difflib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from perfkit.errors import AdoptionRefused
from perfkit.export.client_limit import guarded
from perfkit.export.terraform import TerraformCheck, check_tfvars
from perfkit.lab.choose import Choice
from perfkit.lab.folder import write_whole
from perfkit.settings import Settings

__all__ = ["Adoption", "adopt"]

_NAME = "perfkit.auto.tfvars"


@dataclass(frozen=True, slots=True)
class Adoption:
    """What was adopted: the file, how it changed, and what terraform said."""

    path: Path
    diff_text: str
    check: TerraformCheck


def adopt(choice: Choice, tfvars_text: str, *, terraform_dir: Path, force: bool = False) -> Adoption:
    """Write `perfkit.auto.tfvars` into a Terraform folder; the old file stays unless all is well.

    Raises:
        AdoptionRefused: the choice was not confirmed, or asks for more connections than Redis has room for,
            and `force` is not given; terraform refuses the values; or what terraform would hand to the
            container is not the settings that were chosen.
        RunError: the folder cannot be written.
    """
    choice = guarded(choice)
    if choice.refused_because and not force:
        raise AdoptionRefused(
            f"{choice.run_id} is not adopted: {choice.refused_because}. --force adopts it all the same.",
            reason=choice.refused_because,
        )
    module = terraform_dir / "modules" / "settings"
    if not module.is_dir():
        raise AdoptionRefused(
            f"{terraform_dir} has no modules/settings, so nothing there would read the file. "
            "Name the Terraform folder of this project with --terraform.",
            reason="no settings module",
        )
    check = _checked(choice, tfvars_text, module)
    path = terraform_dir / _NAME
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    diff = difflib.unified_diff(
        before.splitlines(keepends=True),
        tfvars_text.splitlines(keepends=True),
        f"old/{_NAME}",
        f"new/{_NAME}",
    )
    write_whole(path, tfvars_text)
    return Adoption(path, "".join(diff), check)


def _checked(choice: Choice, text: str, module: Path) -> TerraformCheck:
    with tempfile.TemporaryDirectory(prefix="perfkit-") as scratch:
        file = Path(scratch) / _NAME
        file.write_text(text, encoding="utf-8")
        check = check_tfvars(file, module)
        settings = Settings.from_tfvars(file) if check.skipped else None
    if not check.ok:
        raise AdoptionRefused(f"terraform refuses the values:\n{check.text}", reason="terraform")
    settings = settings or Settings.from_env(check.environment)
    if settings.fingerprint != choice.fingerprint:
        raise AdoptionRefused(
            f"What would reach the container is {settings.fingerprint}, chosen was {choice.fingerprint}. "
            "Run `python -m perfkit.export` to bring the Terraform variables up to date.",
            reason="fingerprint",
        )
    return check
