"""One declaration, many uses: the walks over knobs and what they refuse."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import ValidationError

from perfkit.errors import SettingsError
from perfkit.knobs import Field, Knob, KnobInfo, Section, find_knob, flat, iter_knobs, parsed, replaced
from perfkit.settings import Settings


class Oven(Section):
    """A section small enough to see whole."""

    heat: Annotated[float, Field(gt=0, le=300), Knob("C", "crust against crumb", scale="log")] = 180.0
    """How hot."""

    trays: Annotated[int, Field(ge=1, lt=4), Knob("trays", "bread against even heat")] = 2
    """How many at once."""

    fan: Annotated[bool, Knob("", "speed against moisture")] = True
    """Whether the air moves."""

    light: Annotated[Literal["on", "off"], Knob("", "seeing against heat", lands="terraform")] = "off"
    """Whether one can look in."""


class Bakery(Section):
    """A section of sections, one of them with a default of its own."""

    bread: Oven = Oven()
    cake: Oven = Oven(heat=160, fan=False)


def knob(path: str) -> KnobInfo:
    """The bakery's knob at a path."""
    return find_knob(Bakery(), path)


def test_knobs_are_walked_in_declared_order_with_dotted_paths() -> None:
    """Every page, table and file shows them in the order their author chose."""
    assert [info.path for info in iter_knobs(Bakery())] == [
        f"{oven}.{name}" for oven in ("bread", "cake") for name in ("heat", "trays", "fan", "light")
    ]


def test_a_knob_carries_what_its_declaration_says() -> None:
    """Bounds, choices, unit, summary, the environment variable's name."""
    heat, light = knob("cake.heat"), knob("bread.light")

    assert (heat.kind, heat.default, heat.above, heat.at_most) == (float, 160.0, 0, 300)
    assert (heat.knob.unit, heat.knob.scale, heat.summary) == ("C", "log", "How hot.")
    assert heat.env_name == "PERFKIT_CAKE__HEAT"
    assert (light.kind, light.choices, light.knob.lands) == (str, ("on", "off"), "terraform")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("bread.heat", "a number > 0 and <= 300"),
        ("bread.trays", "a whole number >= 1 and < 4"),
        ("bread.fan", "true or false"),
        ("bread.light", "one of on, off"),
    ],
)
def test_what_is_allowed_is_said_in_words(path: str, words: str) -> None:
    """The same words stand in error messages, on the settings page and in Terraform."""
    assert knob(path).allowed == words


@pytest.mark.parametrize(
    ("path", "legal", "illegal"),
    [
        ("bread.heat", [0.1, 300, 300.0], [0, 300.1, -1, True, "180", float("nan"), float("inf"), None]),
        ("bread.trays", [1, 3, 2.0], [0, 4, 2.5, False, "2"]),
        ("bread.fan", [True, False], [1, 0, "true"]),
        ("bread.light", ["on", "off"], ["dim", True, 1]),
    ],
)
def test_bounds_admit_exactly_what_is_legal(path: str, legal: list[object], illegal: list[object]) -> None:
    """Each bound from both sides; a bool is not a number, nor a number a bool."""
    info = knob(path)

    assert [value for value in legal if not info.admits(value)] == []
    assert [value for value in illegal if info.admits(value)] == []


def test_replacing_one_knob_leaves_the_rest_of_its_section_alone() -> None:
    """A nested section keeps its own defaults, which differ from its class's."""
    changed = replaced(Bakery(), {"cake.trays": 3})

    assert changed.cake == Oven(heat=160, fan=False, trays=3)
    assert changed.bread == Oven()


def test_replacing_makes_a_copy() -> None:
    """The value that was given stays as it was."""
    before = Bakery()

    replaced(before, {"bread.heat": 200})

    assert before == Bakery()


def test_a_section_is_frozen() -> None:
    """Settings that were read once stay true."""
    with pytest.raises(ValidationError, match="frozen"):
        Bakery().bread.heat = 200.0  # type: ignore[misc]  # the very thing refused


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("bread.heat", 0, "a number > 0 and <= 300"),
        ("bread.heat", "hot", "a number > 0 and <= 300"),
        ("cake.trays", 4, "a whole number >= 1 and < 4"),
        ("cake.trays", 2.5, "a whole number >= 1 and < 4"),
        ("cake.light", "dim", "one of on, off"),
    ],
)
def test_a_refusal_names_value_place_bounds_and_default(path: str, value: object, allowed: str) -> None:
    """What happened, why, and what to do."""
    with pytest.raises(SettingsError) as refusal:
        replaced(Bakery(), {path: value})

    assert (refusal.value.path, refusal.value.value, refusal.value.allowed) == (path, value, allowed)
    assert f"{path}={value!r} is refused: it must be {allowed}" in str(refusal.value)
    assert f"the default {knob(path).default!r}" in str(refusal.value)


@pytest.mark.parametrize("path", ["cake.heats", "cake.het", "cak.heat"])
def test_an_unknown_path_is_refused_with_the_nearest_name(path: str) -> None:
    """Nothing is ever set by a misspelt name."""
    with pytest.raises(SettingsError, match=r"Did you mean 'cake\.heat'") as refusal:
        replaced(Bakery(), {path: 100})

    assert refusal.value.path == path


@pytest.mark.parametrize("path", ["cake", "", "cake.", "cake.heat.more", ".heat"])
def test_a_path_that_stops_short_or_goes_too_far_is_refused(path: str) -> None:
    """A section is not a knob, and below a knob there is nothing."""
    with pytest.raises(SettingsError, match="There is no knob"):
        find_knob(Bakery(), path)


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("bread.heat", "200", 200.0),
        ("bread.heat", "2e2", 200.0),
        ("bread.trays", "3", 3),
        ("bread.fan", "FALSE", False),
        ("bread.fan", "1", True),
        ("bread.light", "on", "on"),
    ],
)
def test_text_is_read_by_the_knob_s_kind(path: str, text: str, value: object) -> None:
    """As it stands in an environment variable."""
    read = parsed(knob(path), text, place="HERE")

    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("bread.heat", ""),
        ("bread.heat", "hot"),
        ("bread.heat", "nan"),
        ("bread.heat", "inf"),
        ("bread.trays", "2.5"),
        ("bread.trays", "two"),
        ("bread.fan", "yes"),
        ("bread.light", "dim"),
    ],
)
def test_text_of_another_kind_is_refused_with_its_place(path: str, text: str) -> None:
    """The message leads to the line that has to change."""
    with pytest.raises(SettingsError, match=f"^HERE={text!r} is refused: {path} must be ") as refusal:
        parsed(knob(path), text, place="HERE")

    assert refusal.value.allowed == knob(path).allowed


def test_a_field_without_a_knob_is_a_mistake_of_ours() -> None:
    """A section's author learns at the first walk that the declaration is not whole."""

    class Plain(Section):
        speed: int = 1

    with pytest.raises(TypeError, match="speed is a field of a Section without a Knob"):
        flat(Plain())


def test_a_knob_holds_one_plain_value() -> None:
    """Lists cannot be a line of tfvars and an environment variable at once."""

    class Listed(Section):
        speeds: Annotated[list[int], Knob("", "nothing")] = [1]  # noqa: RUF012  # pydantic copies defaults

    with pytest.raises(TypeError, match="a knob is a bool, int, float, str or Literal"):
        flat(Listed())


@pytest.mark.parametrize("info", list(iter_knobs(Settings())), ids=lambda info: info.path)
def test_every_knob_of_the_house_explains_itself(info: KnobInfo) -> None:
    """A summary, what moving it trades, a legal default, and the unit in the name where it has one."""
    assert info.summary.endswith(".")
    assert "\n" not in info.summary
    assert " against " in info.knob.trades or info.choices
    assert info.admits(info.default)
    if info.path.endswith("_seconds"):
        assert info.knob.unit == "s"
    if info.knob.unit in ("s", "ms", "bytes", "MiB"):
        assert info.path.endswith(("_seconds", "_ms", "_bytes", "_mib"))


@pytest.mark.parametrize("info", list(iter_knobs(Settings())), ids=lambda info: info.path)
def test_a_logarithmic_knob_has_no_negative_values(info: KnobInfo) -> None:
    """A sweep spaces its values by ratio."""
    lowest = info.above if info.at_least is None else info.at_least

    assert info.knob.scale == "linear" or (lowest is not None and lowest >= 0)
