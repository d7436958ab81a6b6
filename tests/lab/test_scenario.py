"""A scenario file says what is asked, or is refused at the line that is wrong."""

from pathlib import Path

import pytest

from perfkit.errors import ScenarioError
from perfkit.lab.scenario import Scenario, Spread, axis_values
from perfkit.lab.yaml12 import dumped, parse

SCENARIOS = Path(__file__).parents[2] / "scenarios"
GOOD = """\
name: small
question: Which?
rig: cache
workload: {kind: generated, requests: 1000, objects: 100}
axes:
  cache.l1_ttl_seconds: [1, 10]
objective:
  metric: hit_ratio
guardrails:
  - {metric: l1_peak_bytes, at_most: 1000}
"""


def refused(tmp_path: Path, text: str) -> ScenarioError:
    file = tmp_path / "asked.yaml"
    file.write_text(text)
    with pytest.raises(ScenarioError) as refusal:
        Scenario.load(file)
    assert refusal.value.file == str(file)
    return refusal.value


@pytest.mark.parametrize("file", sorted(SCENARIOS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_scenario_loads_and_bears_its_files_name(file: Path) -> None:
    scenario = Scenario.load(file)

    assert scenario.name == file.stem


@pytest.mark.parametrize("file", sorted(SCENARIOS.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_scenario_written_out_reads_back_equal(file: Path, tmp_path: Path) -> None:
    scenario = Scenario.load(file)
    copy = tmp_path / "copy.yaml"
    copy.write_text(dumped(scenario))

    assert Scenario.load(copy) == scenario


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("rig: cache", "rigg: cache", 3, "'rig'"),
        ("cache.l1_ttl_seconds: [1, 10]", "cache.l1_ttl: [1, 10]", 6, "'cache.l1_ttl_seconds'"),
        ("[1, 10]", "[0, 10]", 6, "> 0 and <= 86400"),
        ("[1, 10]", "[1, ten]", 6, "'ten'"),
        ("[1, 10]", "{low: 10, high: 1, count: 3}", 6, "low 10 must be below high 1"),
        ("[1, 10]", "{low: 0, high: 1, count: 3, log: true}", 6, "logarithmic"),
        ("metric: hit_ratio", "metric: hit_rate", 8, "'hit_ratio'"),
        ("at_most: 1000", "at_mots: 1000", 10, "'at_most'"),
        ("metric: l1_peak_bytes, at_most: 1000", "metric: l1_peak_bytes", 10, "at_most or at_least"),
        ("objects: 100", "objects: 0", 4, "greater than or equal to 1"),
        ("rig: cache", "rig: cache\nrig: cache", 4, "stands twice"),
        ("question: Which?", "question: [", 4, "not YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, said: str
) -> None:
    error = refused(tmp_path, GOOD.replace(old, new))

    assert error.line == line
    assert said in str(error)


def test_a_missing_file_names_its_nearest_neighbour() -> None:
    with pytest.raises(ScenarioError, match=r"Did you mean 'quickstart.yaml'"):
        Scenario.load(SCENARIOS / "quickstrat.yaml")


def test_words_and_numbers_read_as_yaml_1_2_reads_them() -> None:
    value, _lines = parse(
        "{a: no, b: on, c: 12:30, d: 010, e: 1e-3, f: 'true', g: true, h: ~, i: 2026-11-23}"
    )

    assert value == {
        "a": "no", "b": "on", "c": "12:30", "d": 10, "e": 0.001, "f": "true", "g": True, "h": None,
        "i": "2026-11-23",
    }  # fmt: skip


def test_an_anchor_that_contains_itself_is_refused() -> None:
    with pytest.raises(ScenarioError, match="contains itself"):
        parse("&a [*a]")


def test_a_spread_over_a_whole_number_knob_counts_each_value_once() -> None:
    spread = Spread(low=1, high=4, count=9)

    assert axis_values("cache.l1_max_entries", spread) == (1, 2, 3, 4)


def test_a_logarithmic_spread_has_equal_ratios_and_exact_ends() -> None:
    values = Spread(low=1, high=1000, count=4, log=True).values

    assert values == pytest.approx((1, 10, 100, 1000))
    assert (values[0], values[-1]) == (1, 1000)


@pytest.mark.parametrize(("text", "said"), [("", "is empty"), ("- a\n", "is a list"), ("word", "is a str")])
def test_a_file_without_keys_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    assert said in str(refused(tmp_path, text))
