"""One value describes the whole stack, wherever it travels."""

from __future__ import annotations

import json
import math
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from perfkit.errors import SettingsError
from perfkit.knobs import KnobInfo, Value, find_knob, flat, iter_knobs, replaced
from perfkit.pools.settings import PoolSettings
from perfkit.settings import Change, Settings
from perfkit.tfvars import render

KNOBS = {info.path: info for info in iter_knobs(Settings())}


def legal_values(info: KnobInfo) -> st.SearchStrategy[Value]:
    """Any value the knob admits."""
    if info.kind is bool:
        return st.booleans()
    if info.choices:
        return st.sampled_from(info.choices)
    if info.pattern:
        return st.from_regex(info.pattern, fullmatch=True).filter(info.admits)
    assert info.at_most is not None, f"{info.path} has no upper bound"
    lowest = info.above if info.at_least is None else info.at_least
    assert lowest is not None, f"{info.path} has no lower bound"
    if info.kind is int:
        return st.integers(math.ceil(lowest), math.floor(info.at_most)).filter(info.admits)
    return st.floats(lowest, info.at_most, exclude_min=info.at_least is None)


def some_knobs() -> st.SearchStrategy[dict[str, Value]]:
    """Legal values for any few of the knobs."""
    return st.fixed_dictionaries({}, optional={path: legal_values(info) for path, info in KNOBS.items()})


@hypothesis.settings(deadline=None)  # a hundred knobs take their time on a busy machine
@given(some_knobs())
def test_the_environment_carries_any_settings_unchanged(values: dict[str, Value]) -> None:
    """Out through `to_env`, back through `from_env`: equal, with the same fingerprint."""
    settings = replaced(Settings(), values)

    back = Settings.from_env(settings.to_env())

    assert (back, back.fingerprint) == (settings, settings.fingerprint)


@hypothesis.settings(deadline=None)  # a hundred knobs take their time on a busy machine
@given(some_knobs())
def test_tfvars_carry_any_settings_unchanged(values: dict[str, Value]) -> None:
    """The tree of a settings value is what stands below `tuning` in a tfvars.json file."""
    settings = replaced(Settings(), values)

    tree = json.loads(json.dumps({"tuning": settings.model_dump()}))

    assert Settings.model_validate(tree["tuning"]).fingerprint == settings.fingerprint


@hypothesis.settings(deadline=None)  # a hundred knobs take their time on a busy machine
@given(some_knobs())
def test_a_difference_applied_is_a_difference_gone(values: dict[str, Value]) -> None:
    """`diff` names exactly what must change to get from one to the other."""
    here, there = Settings(), replaced(Settings(), values)

    changes = here.diff(there)

    assert replaced(here, {change.path: change.new for change in changes}) == there
    assert all(change.old != change.new for change in changes)
    assert (changes == ()) == (here.fingerprint == there.fingerprint)


def test_a_number_has_one_fingerprint_however_it_is_written() -> None:
    """60, 60.0 and "60" are the same settings; 61 is not."""
    whole, broken = (replaced(Settings(), {"cache.l1_ttl_seconds": value}) for value in (60, 60.0))
    text = Settings.from_env({"PERFKIT_CACHE__L1_TTL_SECONDS": "60"})
    other = replaced(Settings(), {"cache.l1_ttl_seconds": 61})

    assert whole.fingerprint == broken.fingerprint == text.fingerprint != other.fingerprint


def test_no_knob_is_left_out_of_the_fingerprint() -> None:
    """Moving any one knob moves it."""
    prints = {Settings().fingerprint}
    for path, info in KNOBS.items():
        other: Value
        if info.choices:
            other = next(choice for choice in info.choices if choice != info.default)
        elif info.pattern:
            other = "page,per_page"
        else:
            other = not info.default if info.kind is bool else _moved(info)
        prints.add(replaced(Settings(), {path: other}).fingerprint)

    assert len(prints) == len(KNOBS) + 1


def test_what_is_not_perfkit_s_in_the_environment_is_ignored() -> None:
    """A container's environment is full of other people's variables."""
    env = {"HOME": "/", "REDIS_URL": "x", "perfkit_cache__l1_ttl_seconds": "5", "MY_PERFKIT_THING": "1"}

    assert Settings.from_env(env) == Settings()


@pytest.mark.parametrize(
    "name", ["PERFKIT_REDIS_URL", "PERFKIT_REQUIRE_REAL", "PERFKIT_VENV", "PERFKIT_SETTINGS_ID"]
)
def test_names_that_say_where_and_not_how_are_no_knobs(name: str) -> None:
    """They are read elsewhere, and refused nowhere."""
    assert Settings.from_env({name: "anything"}) == Settings()


def test_a_misspelt_variable_is_refused_with_the_right_name() -> None:
    """A knob that silently keeps its default is the error nobody finds."""
    with pytest.raises(SettingsError, match="Did you mean 'PERFKIT_CACHE__L1_TTL_SECONDS'") as refusal:
        Settings.from_env({"PERFKIT_CACHE__L1_TTL": "60"})

    assert refusal.value.path == "PERFKIT_CACHE__L1_TTL"


def test_an_illegal_variable_is_refused_with_its_bounds() -> None:
    """The message holds the variable, the value, the knob, the bounds and the default."""
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env({"PERFKIT_CACHE__L1_TTL_SECONDS": "0"})

    assert str(refusal.value) == (
        "PERFKIT_CACHE__L1_TTL_SECONDS='0' is refused: "
        "cache.l1_ttl_seconds must be a number > 0 and <= 86400. "
        "Write a legal value, or remove it for the default 60.0."
    )


def test_the_process_s_own_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service says `Settings.from_env()` and nothing more."""
    monkeypatch.setenv("PERFKIT_CLOUDRUN__CONCURRENCY", "7")

    assert Settings.from_env().cloudrun.concurrency == 7


def test_one_knob_of_a_pool_leaves_the_pool_s_own_defaults_standing() -> None:
    """The analytics pool waits ten seconds for a command, also when only its size is set."""
    settings = Settings.from_env({"PERFKIT_POOLS__ANALYTICS__MAX_CONNECTIONS": "9"})

    expected = Settings().pools.analytics.model_copy(update={"max_connections": 9})
    assert settings.pools.analytics == expected != PoolSettings(max_connections=9)
    assert settings.pools.cache == Settings().pools.cache


def test_settings_are_frozen_and_refuse_unknown_names() -> None:
    """A value that travels must not change on the way, nor carry what nobody reads."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().cache.l1_ttl_seconds = 5.0  # type: ignore[misc]  # the very thing refused
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings.model_validate({"cahce": {}})


def test_a_difference_says_what_moved_and_in_which_unit() -> None:
    """In declared order, from the value here to the value there."""
    there = replaced(Settings(), {"cloudrun.cpu": "2", "cache.l1_ttl_seconds": 120})

    assert Settings().diff(there) == (
        Change("cache.l1_ttl_seconds", 60.0, 120.0, "s"),
        Change("cloudrun.cpu", "1", "2", "vCPU"),
    )
    assert there.diff(there) == ()


@pytest.mark.parametrize("name", ["tuned.auto.tfvars", "tuned.auto.tfvars.json"])
def test_a_tfvars_file_gives_the_settings_it_was_made_from(name: str, tmp_path: Path) -> None:
    """Both notations, through the file."""
    settings = replaced(Settings(), {"cache.l1_policy": "sieve", "pools.cache.max_connections": 3})
    document = {"tuning": settings.model_dump(), "tuning_source": "a run"}
    text = json.dumps(document) if name.endswith(".json") else render(document)
    (tmp_path / name).write_text(text, encoding="utf-8")

    assert Settings.from_tfvars(tmp_path / name).fingerprint == settings.fingerprint


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"tuning": {"cache": {"l1_ttl": 5}}}', "There is no knob 'cache.l1_ttl'"),
        ('{"tuning": {"cache": {"l1_ttl_seconds": 0}}}', "must be a number > 0 and <= 86400"),
        ('{"region": "europe-west1"}', "has no variable `tuning`"),
        ('{"tuning": ', "is not JSON"),
    ],
)
def test_a_tfvars_file_that_is_wrong_is_named_in_the_refusal(
    text: str, complaint: str, tmp_path: Path
) -> None:
    """The path stands first, then what is wrong in it."""
    file = tmp_path / "bad.tfvars.json"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(SettingsError) as refusal:
        Settings.from_tfvars(file)

    assert str(refusal.value).startswith(f"{file}: ")
    assert complaint in str(refusal.value)


def test_a_tfvars_file_that_is_not_there_is_named() -> None:
    """A missing file is a refusal like any other, not an OSError."""
    with pytest.raises(SettingsError, match=r"^nowhere\.tfvars: cannot be read"):
        Settings.from_tfvars("nowhere.tfvars")


def _moved(info: KnobInfo) -> Value:
    """Another legal value of a number."""
    step = 1 if info.kind is int else 0.001
    moved = info.default + step if info.admits(info.default + step) else info.default - step
    assert find_knob(Settings(), info.path).admits(moved)
    assert flat(Settings())[info.path] != moved
    return moved
