"""Scenario files: YAML as its 1.2 core schema reads it, with every refusal placed at its line.

YAML 1.1, which PyYAML resolves by default, turns `no` into false, `12:30` into 750 and `010` into 8. Here a
plain word is null, true, false, a decimal number or text, and nothing else; a key may stand only once.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from perfkit.errors import ScenarioError, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["dumped", "parse", "read_scenario"]

ModelT = TypeVar("ModelT", bound=BaseModel)
Place = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, object] = {"": None, "~": None, "null": None, "true": True, "false": False}


def read_scenario(model: type[ModelT], path: Path) -> ModelT:
    """Read a file into a model.

    Raises:
        ScenarioError: the file is missing, is not YAML, or does not fit; with line and nearest known name.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise ScenarioError(
            f"There is no such scenario file.{did_you_mean(path.name, beside)}", file=str(path)
        ) from None
    except (OSError, UnicodeDecodeError) as trouble:
        raise ScenarioError(f"The scenario cannot be read: {trouble}.", file=str(path)) from None
    value, lines = parse(text, file=str(path))
    if not isinstance(value, dict):
        found = "empty" if value is None else f"a {type(value).__name__}, not keys with values"
        raise ScenarioError(
            f"The scenario is {found}. Copy one from scenarios/; `perfkit schema` says what it may hold.",
            file=str(path),
        )
    try:
        return model.model_validate(value)
    except ValidationError as refusal:
        raise _placed(_plainest(refusal), lines, model, str(path)) from None


def parse(text: str, *, file: str = "") -> tuple[Any, dict[Place, int]]:
    """Return the value of a YAML document and the line at which each of its parts begins.

    >>> parse("on: no\\nat: 12:30")[0]
    {'on': 'no', 'at': '12:30'}

    Raises:
        ScenarioError: the text is not YAML, a key stands twice, or an anchor contains itself.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as trouble:
        mark = trouble.problem_mark
        line = mark.line + 1 if mark else None
        raise ScenarioError(f"This is not YAML: {trouble.problem}.", file=file, line=line) from None
    except yaml.YAMLError as trouble:
        raise ScenarioError(f"This is not YAML: {trouble}.", file=file) from None
    lines: dict[Place, int] = {}
    return _built(node, (), lines, file, frozenset()), lines


def dumped(model: BaseModel) -> str:
    """Return the model as YAML that `read_scenario` reads back to an equal model."""
    return yaml.safe_dump(model.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _built(
    node: yaml.Node | None, place: Place, lines: dict[Place, int], file: str, above: frozenset[int]
) -> Any:
    if node is None:
        return None
    lines.setdefault(place, node.start_mark.line + 1)
    if id(node) in above:
        raise ScenarioError("An anchor contains itself.", file=file, line=lines[place])
    above = above | {id(node)}
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_built(item, (*place, at), lines, file, above) for at, item in enumerate(node.value)]
    mapping: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = _built(key_node, (*place, "?"), {}, file, above)
        line = key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise ScenarioError(f"The key {key!r} must be text.", file=file, line=line)
        if key in mapping:
            raise ScenarioError(
                f"The key {key!r} stands twice; only one can count. Remove one of them.", file=file, line=line
            )
        lines[(*place, key)] = line
        mapping[key] = _built(value_node, (*place, key), lines, file, above)
    return mapping


def _scalar(node: yaml.ScalarNode) -> object:
    text: str = node.value
    if node.style is not None:  # quoted or a block: text, whatever it looks like
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _plainest(refusal: ValidationError) -> ErrorDetails:
    """Pick the complaint a person can act on: a misspelt key before the key it leaves missing, and of the
    alternatives of a union the one whose shape was meant.
    """
    errors = refusal.errors()
    return min(errors, key=lambda error: (error["type"] != "extra_forbidden", error["type"] == "tuple_type"))


def _placed(error: ErrorDetails, lines: dict[Place, int], model: type[BaseModel], file: str) -> ScenarioError:
    """Place pydantic's complaint: the deepest part of its location that stands in the file."""
    place: Place = ()
    for part in error["loc"]:
        if (*place, part) in lines:
            place = (*place, part)
    key = error.get("ctx", {}).get("key")  # set by validators that know better which key is at fault
    if key is not None and (*place, key) in lines:
        place = (*place, key)
    name = ".".join(str(part) for part in place)
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        known = _known_names(model)
        message = f"There is nothing called {place[-1]!r} here.{did_you_mean(str(place[-1]), known)}"
    elif error["type"] == "missing":
        missing = ".".join(str(part) for part in error["loc"])
        message = f"{missing} is missing; a scenario cannot do without it."
    elif error["type"] not in ("knob", "value_error"):
        message = f"{name}={error['input']!r} is refused: {message[0].lower()}{message[1:]}."
    return ScenarioError(message, file=file, line=lines.get(place), path=name)


def _known_names(model: type[BaseModel]) -> set[str]:
    """Every field name of the model and of the models it is made of."""
    names = set(model.model_fields)
    for definition in model.model_json_schema().get("$defs", {}).values():
        names |= set(definition.get("properties", {}))
    return names
