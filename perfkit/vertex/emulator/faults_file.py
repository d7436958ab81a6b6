"""A file that says what goes wrong at the emulator: a list of faults, in JSON or in YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perfkit.errors import SettingsError

__all__ = ["read_faults"]

_FORM = "Write a list of faults, as in: [{kind: unavailable, from_s: 10, to_s: 20}]."


def read_faults(path: Path) -> list[Any]:
    """Return the faults of a file as plain data; `EmulatorPlan.from_data` checks each.

    Raises:
        SettingsError: the file cannot be read, or is no list.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else _from_yaml(text)
    except (OSError, ValueError) as trouble:
        raise _refused(path, f"cannot be read ({trouble})") from None
    if not isinstance(found, list):
        raise _refused(path, f"holds no list but a {type(found).__name__}")
    return found


def _from_yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ValueError("YAML needs `pip install 'perfkit[lab]'`; JSON needs nothing") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as trouble:
        raise ValueError(str(trouble)) from None


def _refused(path: Path, why: str) -> SettingsError:
    return SettingsError(f"{path} {why}. {_FORM}", path="--faults", value=str(path))
