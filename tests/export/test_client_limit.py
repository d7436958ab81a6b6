"""A choice that would fill the server's client limit does not reach Terraform, unless it is forced to."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from perfkit.errors import AdoptionRefused
from perfkit.export.adopt import adopt
from perfkit.export.client_limit import guarded
from perfkit.export.terraform import check_tfvars, find_terraform
from perfkit.export.tfvars import tuned_tfvars
from perfkit.handover import export_text
from perfkit.knobs import flat, replaced
from perfkit.lab.choose import Choice
from perfkit.lab.scenario import Scenario
from perfkit.pools.client_limit import client_demand
from perfkit.settings import Settings

MODULE = Path(__file__).parents[2] / "terraform" / "modules" / "settings"
TOO_MANY = {"cloudrun.max_instances": 1000, "pools.cache.max_connections": 50}
needs_terraform = pytest.mark.skipif(find_terraform() is None, reason="terraform is not on PATH")
Chosen = Callable[..., Choice]


@pytest.fixture
def chosen() -> Chosen:
    """Make a confirmed choice of some knobs."""

    def make(knobs: Mapping[str, object], refused_because: str = "") -> Choice:
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

    return make


@pytest.fixture
def terraform_dir(tmp_path: Path) -> Path:
    """A Terraform folder with the project's settings module in it."""
    shutil.copytree(MODULE, tmp_path / "modules" / "settings", ignore=shutil.ignore_patterns(".*"))
    return tmp_path


def text_of(choice: Choice) -> str:
    return tuned_tfvars(choice, baseline=flat(Settings()), run_id=choice.run_id, scenario_name="test")


def test_a_choice_that_fits_is_left_as_it_is(chosen: Chosen) -> None:
    """The guard adds nothing to a choice it has nothing against, least of all to the defaults."""
    for knobs in ({}, {"cloudrun.max_instances": 242}):
        assert guarded(chosen(knobs)) == chosen(knobs)


def test_a_choice_that_does_not_fit_says_the_sum_and_the_knobs(chosen: Chosen) -> None:
    """One instance more than there is room for, and the reason can be followed."""
    reason = guarded(chosen({"cloudrun.max_instances": 243})).refused_because

    assert "243 instances × 33 connections" in reason
    assert "8,019 clients" in reason
    assert "cloudrun.max_instances to 242" in reason


def test_the_reason_it_had_before_is_not_lost(chosen: Chosen) -> None:
    """Both are said: mending one would otherwise bring up the other."""
    reason = guarded(chosen(TOO_MANY, "it was not confirmed")).refused_because

    assert reason.startswith("it was not confirmed; and 1000 instances")


def test_it_is_not_exported_without_force(chosen: Chosen, tiny: Scenario) -> None:
    """With force the file says so in its head."""
    with pytest.raises(AdoptionRefused, match="clients of Redis") as refusal:
        export_text("run", tiny, chosen(TOO_MANY))
    assert "--force exports it all the same" in str(refusal.value)

    forced = export_text("run", tiny, chosen(TOO_MANY), force=True)
    assert "# REFUSED, AND FORCED: 1000 instances" in forced


def test_it_is_not_adopted_without_force(chosen: Chosen, terraform_dir: Path) -> None:
    """Nothing is written."""
    choice = chosen(TOO_MANY)

    with pytest.raises(AdoptionRefused, match=r"cloudrun\.max_instances to"):
        adopt(choice, text_of(choice), terraform_dir=terraform_dir)
    assert not (terraform_dir / "perfkit.auto.tfvars").exists()


@needs_terraform
def test_what_is_forced_is_adopted_with_terraform_s_warning(chosen: Chosen, terraform_dir: Path) -> None:
    """Force means force; terraform goes on warning at every plan."""
    choice = chosen(TOO_MANY)

    adoption = adopt(choice, text_of(choice), terraform_dir=terraform_dir, force=True)

    assert adoption.path.exists()
    assert "it warns: 1000 instances x 81 connections may be 81000 clients of Redis" in adoption.check.text


@needs_terraform
def test_terraform_says_nothing_of_a_choice_that_fits(chosen: Chosen, terraform_dir: Path) -> None:
    """No warning at the bound."""
    choice = chosen({"cloudrun.max_instances": 242})

    adoption = adopt(choice, text_of(choice), terraform_dir=terraform_dir)

    assert adoption.check.text == "accepted by terraform"


CASES: tuple[dict[str, object], ...] = (
    {},
    {"cloudrun.max_instances": 242},
    {"cloudrun.max_instances": 243},
    {"pools.partitioned": False, "cloudrun.max_instances": 800},
    {"pools.partitioned": False, "cloudrun.max_instances": 801},
    {"pools.partitioned": False, "pools.analytics.max_connections": 1000, "cloudrun.max_instances": 800},
    {"pools.cache.transport": "classic", "cloudrun.max_instances": 242},
    {"pools.cache.transport": "classic", "cloudrun.max_instances": 243},
    {"pools.cache.mux_connections": 64, "cloudrun.max_instances": 82},
    {"pools.cache.mux_connections": 64, "cloudrun.max_instances": 83},
    {"pools.server_max_clients": 424},
    {"pools.server_max_clients": 425},
    {"pools.server_max_clients": 426},
    {f"pools.{pool}.max_connections": 500 for pool in ("default", "read_heavy", "write_heavy", "analytics")},
)


@needs_terraform
def test_terraform_counts_as_we_do(terraform_dir: Path) -> None:
    """One `terraform test` over cases on both sides of the bound: the same verdict on each."""
    module = terraform_dir / "modules" / "settings"
    runs, verdicts = [], []
    for at, knobs in enumerate(CASES):
        settings = replaced(Settings(), knobs)
        fits = client_demand(settings.pools, instances=settings.cloudrun.max_instances).fits
        verdicts.append(fits)
        expected = "" if fits else "  expect_failures = [check.redis_clients]\n"
        runs.append(
            f'run "case_{at}" {{\n  command = plan\n  variables {{\n'
            f"    tuning = {_tuning(knobs)}\n  }}\n{expected}}}\n"
        )
    (module / "clients.tftest.hcl").write_text("\n".join(runs))
    found = subprocess.run(
        ["terraform", f"-chdir={module}", "test", "-no-color"], capture_output=True, text=True
    )

    assert set(verdicts) == {True, False}
    assert f"{len(CASES)} passed, 0 failed" in found.stdout, found.stdout[-3000:] + found.stderr[-2000:]


@needs_terraform
def test_a_file_changed_by_hand_is_warned_of_too(terraform_dir: Path) -> None:
    """The sum is over what the variables hold in the end, whoever wrote them."""
    file = terraform_dir / "hand.tfvars"
    file.write_text("tuning = { pools = { server_max_clients = 100 } }\n")

    check = check_tfvars(file, terraform_dir / "modules" / "settings")

    assert check.ok
    assert "four fifths of the 100 it admits" in check.text


def _tuning(knobs: Mapping[str, object]) -> str:
    """Nest dotted paths, as Terraform writes them."""
    areas: dict[str, list[str]] = {}
    sections: dict[tuple[str, str], list[str]] = {}
    for path, value in knobs.items():
        text = (
            {True: "true", False: "false"}[value]
            if isinstance(value, bool)
            else repr(value).replace("'", '"')
        )
        area, *section, leaf = path.split(".")
        home = sections.setdefault((area, section[0]), []) if section else areas.setdefault(area, [])
        home.append(f"{leaf} = {text}")
    for (area, section), lines in sections.items():
        areas.setdefault(area, []).append(f"{section} = {{ {', '.join(lines)} }}")
    return "{ " + ", ".join(f"{area} = {{ {', '.join(lines)} }}" for area, lines in areas.items()) + " }"
