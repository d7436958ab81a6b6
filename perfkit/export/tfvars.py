"""A choice as tfvars: what changed, why one may believe it, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping

from perfkit.errors import AdoptionRefused
from perfkit.knobs import Value, flat, value_words
from perfkit.lab.choose import Choice, in_words
from perfkit.settings import Settings
from perfkit.tfvars import render

__all__ = ["tuned_tfvars"]

_SECRET = re.compile(r"://[^/\s]*@|(?i:password|secret|token|api[_-]?key)|-----BEGIN")


def tuned_tfvars(choice: Choice, *, baseline: Mapping[str, Value], run_id: str, scenario_name: str) -> str:
    """Return the tfvars that bring a choice into Terraform; the same bytes for the same choice.

    Only knobs that differ from the defaults are written, so reading them back gives the choice's settings.

    Raises:
        AdoptionRefused: a value looks like a secret.
    """
    defaults = flat(Settings())
    changed = {path: value for path, value in choice.settings.items() if value != defaults[path]}
    for path, value in changed.items():
        if isinstance(value, str) and _SECRET.search(value):
            raise AdoptionRefused(
                f"{path} looks like a secret, and tfvars are committed. Nothing was written.", reason="secret"
            )
    notes = {
        f"tuning.{path}": f"was {value_words(baseline[path])}"
        for path in changed
        if choice.settings[path] != baseline[path]
    }
    doubt = "REFUSED, AND FORCED" if choice.confirmed else "NOT CONFIRMED"
    header = "\n".join(
        [
            f"Written by perfkit from run {run_id}, scenario {scenario_name}.",
            f"settings {choice.fingerprint}",
            *([f"{doubt}: {choice.refused_because}."] if choice.refused_because else []),
            *(in_words(effect) for effect in (*choice.gains, *choice.costs)),
            "A knob that is not here keeps its default; docs/settings.md lists them all.",
        ]
    )
    document = {"tuning": _nested(changed), "tuning_source": f"{run_id} {choice.fingerprint}"}
    return render(document, header=header, notes=notes)


def _nested(values: Mapping[str, Value]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for path, value in values.items():
        *parents, leaf = path.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})  # type: ignore[assignment]  # branches are dicts
        branch[leaf] = value
    return tree
