"""What is chosen reaches the container unchanged, judged by the real terraform, or it is not written."""

import json
import subprocess
from pathlib import Path

import pytest

from perfkit.errors import AdoptionRefused, SettingsError
from perfkit.export.adopt import adopt
from perfkit.export.terraform import find_terraform
from perfkit.export.tfvars import tuned_tfvars
from perfkit.export.variables import GENERATED, variables_tuning_tf
from perfkit.knobs import KnobInfo, flat, iter_knobs, replaced
from perfkit.lab.choose import Choice
from perfkit.settings import Settings
from perfkit.tfvars import read_tuning, render

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "terraform" / "modules" / "settings"
needs_terraform = pytest.mark.skipif(find_terraform() is None, reason="terraform is not on PATH")

AWKWARD = {
    "cache.l1_ttl_seconds": 0.1 + 0.2,
    "cache.l2_ttl_seconds": 86399.999,
    "cache.l1_max_entries": 2045,
    "cache.l1_policy": "lru",
    "pools.cache.acquire_timeout_seconds": 1e-7,
    "pools.analytics.max_connections": 3,
    "asgi.compress_responses": False,
    "vertex.semantic_cache_threshold": 0.9,
    "cloudrun.cpu": "2",
}


def choice(knobs: dict[str, object], refused_because: str = "") -> Choice:
    settings = replaced(Settings(), knobs)
    return Choice(
        run_id="20261123T000000Z-test-abc123",
        arm="c1",
        kept_baseline=False,
        fingerprint=settings.fingerprint,
        knobs=knobs,
        settings=flat(settings),
        why="c1 is better.",
        gains=(),
        costs=(),
        guardrails=(),
        confirmed=not refused_because,
        refused_because=refused_because,
    )


def text_of(chosen: Choice) -> str:
    return tuned_tfvars(chosen, baseline=flat(Settings()), run_id=chosen.run_id, scenario_name="test")


def test_reading_back_gives_the_settings_that_were_chosen(tmp_path: Path) -> None:
    chosen = choice(AWKWARD)
    file = tmp_path / "t.tfvars"
    file.write_text(text_of(chosen))

    assert Settings.from_tfvars(file).fingerprint == chosen.fingerprint
    assert "# was 1000" in file.read_text()


def test_json_reads_as_hcl_does(tmp_path: Path) -> None:
    file = tmp_path / "t.tfvars.json"
    file.write_text(json.dumps({"tuning": {"cache": {"l1_ttl_seconds": 5}}}))

    assert Settings.from_tfvars(file).cache.l1_ttl_seconds == 5.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tuning = {", "is not tfvars"),
        ("other = 1\n", "no variable `tuning`"),
        ("tuning = { cache = { l1_ttl = 5 } }\n", "Did you mean 'cache.l1_ttl_seconds'"),
        ("tuning = { cache = { l1_ttl_seconds = 0 } }\n", "> 0 and <= 86400"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "broken.tfvars"
    file.write_text(text)

    with pytest.raises(SettingsError, match=said) as refusal:
        Settings.from_tfvars(file)
    assert "broken.tfvars" in str(refusal.value)


def test_text_is_written_so_that_nothing_is_interpolated(tmp_path: Path) -> None:
    file = tmp_path / "t.tfvars"
    file.write_text(render({"tuning": {"a": 'x${y} %{z} "q" \\ é', "odd key": 1, "none": None, "empty": {}}}))

    assert "$${y}" in file.read_text()
    assert read_tuning(file)["none"] is None


def test_a_value_that_looks_like_a_secret_is_not_written() -> None:
    chosen = choice({}).model_copy(
        update={"settings": flat(Settings()) | {"cache.l1_policy": "redis://:hunter2@cache:6379"}}
    )

    with pytest.raises(AdoptionRefused, match="secret"):
        text_of(chosen)


def test_an_unconfirmed_choice_is_not_adopted(tmp_path: Path) -> None:
    chosen = choice(AWKWARD, refused_because="it was not confirmed in a fresh process")

    with pytest.raises(AdoptionRefused, match="not confirmed"):
        adopt(chosen, text_of(chosen), terraform_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def terraform_dir(tmp_path: Path) -> Path:
    for name in ("variables-tuning.tf", "environment.tf"):
        target = tmp_path / "modules" / "settings" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(GENERATED[f"terraform/modules/settings/{name}"]())
    return tmp_path


@needs_terraform
def test_what_is_adopted_reaches_the_container_with_its_fingerprint(terraform_dir: Path) -> None:
    chosen = choice(AWKWARD)
    first = adopt(chosen, text_of(chosen), terraform_dir=terraform_dir)
    again = adopt(chosen, text_of(chosen), terraform_dir=terraform_dir)

    assert Settings.from_env(first.check.environment).fingerprint == chosen.fingerprint
    assert first.diff_text
    assert not again.diff_text


@needs_terraform
def test_a_file_terraform_refuses_leaves_the_old_one(terraform_dir: Path) -> None:
    (terraform_dir / "perfkit.auto.tfvars").write_text("old")
    text = "tuning = { cache = { l1_ttl_seconds = 0 } }\n"

    with pytest.raises(AdoptionRefused, match=r"cache.l1_ttl_seconds must be a number > 0"):
        adopt(choice(AWKWARD), text, terraform_dir=terraform_dir)
    assert (terraform_dir / "perfkit.auto.tfvars").read_text() == "old"


@needs_terraform
def test_settings_other_than_the_chosen_are_not_adopted(terraform_dir: Path) -> None:
    with pytest.raises(AdoptionRefused, match="chosen was"):
        adopt(choice(AWKWARD), text_of(choice({})), terraform_dir=terraform_dir)


@needs_terraform
def test_every_generated_terraform_file_is_formatted(tmp_path: Path) -> None:
    for at, name in enumerate(name for name in GENERATED if name.endswith(".tf")):
        (tmp_path / f"{at}.tf").write_text(GENERATED[name]())
    (tmp_path / "t.tfvars").write_text(text_of(choice(AWKWARD)))
    found = subprocess.run(
        ["terraform", "fmt", "-check", "-list=true", str(tmp_path)], capture_output=True, text=True
    )

    assert found.stdout == ""


@needs_terraform
def test_terraform_and_pydantic_judge_alike_at_every_bound(tmp_path: Path) -> None:
    """One `terraform test` of many runs: each knob at its bounds, just inside and just outside."""
    (tmp_path / "variables-tuning.tf").write_text(variables_tuning_tf())
    runs, judged = [], 0
    for info in iter_knobs(Settings()):
        for value in _probing(info):
            expected = "" if info.admits(value) else "  expect_failures = [var.tuning]\n"
            literal = json.dumps(value)
            for part in reversed(info.path.split(".")):
                literal = f"{{ {part} = {literal} }}"
            runs.append(
                f'run "case_{judged}" {{\n  command = plan\n'
                f"  variables {{\n    tuning = {literal}\n  }}\n{expected}}}\n"
            )
            judged += 1
    (tmp_path / "bounds.tftest.hcl").write_text("\n".join(runs))
    empty = tmp_path / "rc"
    empty.touch()
    subprocess.run(
        ["terraform", f"-chdir={tmp_path}", "init", "-input=false"], capture_output=True, check=True
    )
    found = subprocess.run(
        ["terraform", f"-chdir={tmp_path}", "test", "-no-color"], capture_output=True, text=True
    )

    assert judged > 100
    assert f"{judged} passed, 0 failed" in found.stdout, found.stdout[-3000:] + found.stderr[-2000:]


def _probing(info: KnobInfo) -> list[object]:
    if info.choices:
        return [*info.choices, "nonsense"]
    if info.pattern:
        return [info.default, "page,per_page", "a b", "a,,b", "page\n", ""]
    if info.kind is bool:
        return [True, False]
    low = info.at_least if info.at_least is not None else info.above
    high = info.at_most if info.at_most is not None else info.below
    assert low is not None
    assert high is not None
    step = 1 if info.kind is int else high / 1_000
    values: list[object] = [low, high, low - step, high + step, low + step, high - step, info.default]
    return [*values, low + 1.5] if info.kind is int else values
