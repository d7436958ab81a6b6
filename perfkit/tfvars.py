"""The tfvars format: one reader, one writer, no knowledge of any area.

What is written is a fixed point of `terraform fmt` and the same bytes every time: keys in the order given,
`=` aligned over neighbouring lines, numbers shortest first, text escaped so that nothing is interpolated.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from perfkit.errors import SettingsError

__all__ = ["read_tuning", "render"]

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_EXPRESSION = re.compile(r"\$\{(.*)\}")


def read_tuning(path: Path) -> dict[str, object]:
    """Return what stands below the variable `tuning`, by dotted path.

    Raises:
        SettingsError: the file is missing, is not tfvars, or has no `tuning` object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as trouble:
        raise SettingsError(f"cannot be read: {trouble}", path=str(path)) from None
    document = _json(text, path) if path.name.endswith(".json") else _hcl(text, path)
    tuning = document.get("tuning")
    if not isinstance(tuning, dict):
        raise SettingsError(
            "has no variable `tuning`, so it holds no knob. Name a file that `perfkit export` wrote.",
            path=str(path),
        )
    return _flat(tuning)


def render(
    document: Mapping[str, object], *, header: str = "", notes: Mapping[str, str] | None = None
) -> str:
    """Return a document as tfvars.

    Args:
        document: Values by variable name; mappings become objects.
        header: Comment lines at the top.
        notes: Comment lines above single values, by dotted path.

    >>> print(render({"tuning": {"ttl_seconds": 45.0}}, notes={"tuning.ttl_seconds": "was 60"}))
    tuning = {
      # was 60
      ttl_seconds = 45
    }
    <BLANKLINE>
    """
    comments = "".join(f"# {line}\n" if line else "#\n" for line in header.splitlines())
    return comments + ("\n" if comments else "") + _body(document, "", 0, notes or {})


def _body(items: Mapping[str, object], path: str, indent: int, notes: Mapping[str, str]) -> str:
    text: list[str] = []
    run: list[tuple[str, str]] = []
    pad = " " * indent

    def flush() -> None:
        width = max((len(key) for key, _value in run), default=0)
        text.extend(f"{pad}{key.ljust(width)} = {value}\n" for key, value in run)
        run.clear()

    for key, value in items.items():
        here = f"{path}.{key}" if path else key
        if here in notes:
            flush()
            text.extend(f"{pad}# {line}\n" for line in notes[here].splitlines())
        written = _value(value, here, indent, notes)
        if "\n" in written:  # terraform fmt never aligns a value of several lines
            flush()
        run.append((key if _PLAIN_KEY.fullmatch(key) else _quoted(key), written))
        if "\n" in written:
            flush()
    flush()
    return "".join(text)


def _value(value: object, path: str, indent: int, notes: Mapping[str, str]) -> str:
    if isinstance(value, Mapping):
        if not value:
            return "{}"
        return "{\n" + _body(value, path, indent + 2, notes) + " " * indent + "}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise SettingsError(f"{path}={value} cannot be written: Terraform has no such number.", path=path)
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
    if isinstance(value, str):
        return _quoted(value)
    raise SettingsError(f"{path} is a {type(value).__name__}, which tfvars cannot hold.", path=path)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def _json(text: str, path: Path) -> dict[str, object]:
    try:
        document = json.loads(text)
    except ValueError as trouble:
        raise SettingsError(f"is not JSON: {trouble}", path=str(path)) from None
    return document if isinstance(document, dict) else {}


def _hcl(text: str, path: Path) -> dict[str, object]:
    try:
        import hcl2
        from hcl2.utils import SerializationOptions
    except ImportError:
        raise SettingsError(
            "needs python-hcl2 to be read. Install perfkit[lab], or use a .tfvars.json file.", path=str(path)
        ) from None
    try:
        document: dict[str, object] = hcl2.loads(
            text, serialization_options=SerializationOptions(strip_string_quotes=True)
        )
    except Exception as trouble:  # lark's errors have no common public base
        first = str(trouble).splitlines()[0]
        raise SettingsError(f"is not tfvars: {first}", path=str(path)) from None
    return document


def _flat(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    values: dict[str, object] = {}
    for key, value in tree.items():
        if key.startswith("__"):  # python-hcl2's own remarks
            continue
        if isinstance(value, Mapping):
            values |= _flat(value, f"{prefix}{key}.")
        else:
            values[prefix + key] = _number(value)
    return values


def _number(value: object) -> object:
    """Undo what python-hcl2 makes of a number with an exponent: the expression `${1e-07}`."""
    if isinstance(value, str) and (expression := _EXPRESSION.fullmatch(value)):
        with suppress(ValueError):
            return float(expression[1])
    return value
