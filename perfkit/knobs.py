"""Knobs: one typed declaration, used six times.

A knob is an annotated field of a `Section`. The same line is the run-time class's argument, the type and
bounds of a scenario axis, a row of `docs/settings.md`, an `optional()` attribute with its `validation` in
Terraform, a line of tfvars and an environment variable. This file holds the declaration and the walks over
it; nothing here knows an area.

>>> from perfkit.settings import Settings
>>> [(info.path, info.default, info.above) for info in iter_knobs(Settings()) if "_ttl_s" in info.path][:2]
[('cache.l1_ttl_seconds', 60.0, 0), ('cache.l2_ttl_seconds', 3600.0, 0)]
>>> replaced(Settings(), {"cache.l1_ttl_seconds": 5}).cache.l1_ttl_seconds
5.0
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perfkit.errors import SettingsError, did_you_mean

__all__ = [
    "Field",
    "Knob",
    "KnobInfo",
    "Section",
    "find_knob",
    "flat",
    "iter_knobs",
    "of_environment",
    "parsed",
    "replaced",
    "value_words",
]

Scale = Literal["linear", "log"]
Lands = Literal["env", "terraform"]
Value = bool | int | float | str
SectionT = TypeVar("SectionT", bound="Section")


@dataclass(frozen=True, slots=True)
class Knob:
    """What a person needs to know of a field to tune it.

    `unit` is printed beside values; `trades` says what moving it costs; `scale` is how a sweep should space
    its values; `lands` says where a tuned value ends: in the service's environment, or as an attribute of a
    Terraform resource.
    """

    unit: str
    trades: str
    scale: Scale = "linear"
    lands: Lands = "env"


class Section(BaseModel):
    """A frozen group of knobs that refuses names it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


@dataclass(frozen=True, slots=True)
class KnobInfo:
    """One knob as the rest of the house sees it; bounds are None where there are none."""

    path: str
    kind: type[bool] | type[int] | type[float] | type[str]
    default: Value
    knob: Knob
    summary: str
    at_least: float | None
    above: float | None
    at_most: float | None
    below: float | None
    choices: tuple[str, ...]
    pattern: str = ""
    """What a text must match as a whole; empty where any will do."""

    _NAMES: ClassVar[dict[type, str]] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
    }

    @property
    def allowed(self) -> str:
        """The legal values in words, for error messages and the settings page."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.pattern:
            return f"text like {self.pattern}"
        limits = ((">=", self.at_least), (">", self.above), ("<=", self.at_most), ("<", self.below))
        bounds = " and ".join(f"{sign} {limit}" for sign, limit in limits if limit is not None)
        return self._NAMES[self.kind] + (f" {bounds}" if bounds else "")

    @property
    def env_name(self) -> str:
        """The environment variable that carries this knob."""
        return "PERFKIT_" + self.path.upper().replace(".", "__")

    def admits(self, value: object) -> bool:
        """Tell whether `value` is legal, by the bounds alone."""
        if self.kind is bool:
            return isinstance(value, bool)
        if self.kind is str:
            if not isinstance(value, str) or (self.choices and value not in self.choices):
                return False
            return not self.pattern or re.fullmatch(self.pattern, value) is not None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        if self.kind is int and value != int(value):
            return False
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )


def iter_knobs(section: Section, prefix: str = "") -> Iterator[KnobInfo]:
    """Yield every knob below `section` in declared order; defaults are the values `section` holds."""
    for name in type(section).model_fields:
        path = f"{prefix}{name}"
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from iter_knobs(value, f"{path}.")
        else:
            yield _info(path, type(section), name, value)


def find_knob(section: Section, path: str) -> KnobInfo:
    """Return the knob at a dotted path.

    Raises:
        SettingsError: no knob has that path; the message names the nearest.
    """
    *parents, leaf = path.split(".")
    branch: object = section
    for parent in parents:
        branch = getattr(branch, parent, None) if isinstance(branch, Section) else None
    if isinstance(branch, Section) and leaf in type(branch).model_fields:
        value = getattr(branch, leaf)
        if not isinstance(value, Section):
            return _info(path, type(branch), leaf, value)
    raise SettingsError(f"There is no knob {path!r}.{did_you_mean(path, flat(section))}", path=path)


def flat(section: Section) -> dict[str, Value]:
    """Return every knob's value by dotted path, in declared order."""
    values: dict[str, Value] = {}
    _flatten(section, "", values)
    return values


def replaced(section: SectionT, values: Mapping[str, object]) -> SectionT:
    """Return a copy with the knobs at dotted paths set to new values, checked like any other input.

    Raises:
        SettingsError: a path is unknown, or a value has the wrong type or is out of bounds.
    """
    tree = section.model_dump()
    for path, value in values.items():
        find_knob(section, path)
        *parents, leaf = path.split(".")
        branch = tree
        for parent in parents:
            branch = branch[parent]
        branch[leaf] = value
    try:
        return type(section).model_validate(tree)
    except ValidationError as refusal:
        raise _as_settings_error(section, refusal) from None


def parsed(info: KnobInfo, text: str, *, place: str) -> Value:
    """Read a knob's value from text, as it stands in an environment variable.

    Raises:
        SettingsError: the text is not of the knob's kind or out of bounds; `place` names where it stood.
    """
    value: object = text
    try:
        if info.kind is bool:
            value = {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]
        elif info.kind is int:
            value = int(text)
        elif info.kind is float:
            value = float(text)
    except (KeyError, ValueError):
        value = text if info.kind is str else None
    if value is None or not info.admits(value):
        raise SettingsError(
            f"{place}={text!r} is refused: {info.path} must be {info.allowed}. "
            f"Write a legal value, or remove it for the default {info.default!r}.",
            path=info.path,
            value=text,
            allowed=info.allowed,
        )
    return value  # type: ignore[return-value]  # admits() has just checked the kind


def of_environment(section: type[SectionT], area: str, env: Mapping[str, str]) -> SectionT:
    """Return an area's section as the `PERFKIT_<AREA>__…` variables set it; the rest keep their defaults.

    Variables of other areas, and of no knob, are left to `perfkit.Settings.from_env`, which refuses them.

    Raises:
        SettingsError: a value is refused.
    """
    knobs = {
        f"PERFKIT_{area}__{info.path.replace('.', '__')}".upper(): info for info in iter_knobs(section())
    }
    values = {info.path: parsed(info, env[name], place=name) for name, info in knobs.items() if name in env}
    return replaced(section(), values)


def value_words(value: Value) -> str:
    """Return a knob's value as it is written for people and in Terraform: no trailing zeros, `true`, `false`.

    >>> value_words(60.0), value_words(True), value_words("lru")
    ('60', 'true', 'lru')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _flatten(section: Section, prefix: str, values: dict[str, Value]) -> None:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            _flatten(value, f"{prefix}{name}.", values)
        else:
            _declared(type(section), name)  # refuses a field that is no knob
            values[f"{prefix}{name}"] = value


def _info(path: str, section: type[Section], name: str, value: Value) -> KnobInfo:
    return replace(_declared(section, name), path=path, default=value)


@cache
def _declared(section: type[Section], name: str) -> KnobInfo:
    """What the class says of a knob; read once, for a sweep asks thousands of times."""
    field, path = section.model_fields[name], f"{section.__name__}.{name}"
    knob = next((item for item in field.metadata if isinstance(item, Knob)), None)
    if knob is None:
        raise TypeError(f"{path} is a field of a Section without a Knob(...)")
    bounds: dict[str, Any] = {"at_least": None, "above": None, "at_most": None, "below": None}
    for item in field.metadata:
        match item:
            case annotated_types.Ge(bound):
                bounds["at_least"] = bound
            case annotated_types.Gt(bound):
                bounds["above"] = bound
            case annotated_types.Le(bound):
                bounds["at_most"] = bound
            case annotated_types.Lt(bound):
                bounds["below"] = bound
    pattern = next((rule for item in field.metadata if (rule := getattr(item, "pattern", None))), "")
    choices = tuple(get_args(field.annotation)) if get_origin(field.annotation) is Literal else ()
    kind: Any = str if choices else field.annotation
    if kind not in (bool, int, float, str):
        raise TypeError(f"{path} has kind {field.annotation}; a knob is a bool, int, float, str or Literal")
    return KnobInfo(
        path, kind, field.default, knob, field.description or "", choices=choices, pattern=pattern, **bounds
    )


def _as_settings_error(section: Section, refusal: ValidationError) -> SettingsError:
    """Turn pydantic's first complaint into ours: value, place, what is allowed."""
    first = refusal.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    known = {info.path: info for info in iter_knobs(section)}
    if path in known:
        info = known[path]
        return SettingsError(
            f"{path}={first['input']!r} is refused: it must be {info.allowed}. "
            f"Write a legal value, or remove it for the default {info.default!r}.",
            path=path,
            value=first["input"],
            allowed=info.allowed,
        )
    return SettingsError(f"{path or 'settings'}: {first['msg']}.{did_you_mean(path, known)}", path=path)
