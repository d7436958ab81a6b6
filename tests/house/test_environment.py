"""pyproject.toml is the only list of dependencies; everything beside it agrees with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

EXTRAS_OF_ALL = ("lab", "vertex", "dask", "apply", "server", "metrics", "test")


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    """The `[project]` table."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def direct(project: dict) -> list[Requirement]:
    """What pyproject.toml names itself: the base and every extra of `all`."""
    lines = list(project["dependencies"])
    for extra in EXTRAS_OF_ALL:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


@pytest.fixture(scope="module")
def conda(root: Path) -> dict:
    """environment.yml as conda reads it."""
    return yaml.safe_load((root / "environment.yml").read_text(encoding="utf-8"))


def locked(root: Path) -> list[Requirement]:
    """The pins of requirements.lock."""
    return [
        Requirement(line) for line in (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    ]


def test_all_is_made_of_every_extra_but_the_peers(project: dict) -> None:
    """A new extra is either part of `all` or, like the peers, kept out on purpose."""
    (everything,) = project["optional-dependencies"]["all"]

    assert Requirement(everything).extras == set(EXTRAS_OF_ALL)
    assert set(project["optional-dependencies"]) == {*EXTRAS_OF_ALL, "all", "peers"}


def test_conda_asks_for_the_python_that_pyproject_asks_for(project: dict, conda: dict) -> None:
    """The lower bounds are the same."""
    (python,) = (
        line for line in conda["dependencies"] if isinstance(line, str) and line.startswith("python ")
    )
    lower = {str(part) for part in SpecifierSet(python.removeprefix("python ")) if part.operator == ">="}

    assert lower == {project["requires-python"]}


def test_conda_leaves_every_package_to_pip(conda: dict, project: dict) -> None:
    """Python, pip, and one editable install of an extra that exists."""
    names = [line.split()[0] for line in conda["dependencies"] if isinstance(line, str)]
    (pip,) = (line["pip"] for line in conda["dependencies"] if isinstance(line, dict))

    assert (names, pip) == (["python", "pip"], ["-e .[all]"])
    assert "all" in project["optional-dependencies"]
    assert conda["channels"] == ["conda-forge", "nodefaults"]


def test_environment_yml_says_what_every_package_is_for(root: Path, direct: list[Requirement]) -> None:
    """Its comment names exactly the direct dependencies, each with its purpose."""
    text = (root / "environment.yml").read_text(encoding="utf-8")
    told = dict(re.findall(r"^#   (\S+) +(\S.*)$", text, flags=re.MULTILINE))

    assert sorted(told) == sorted({canonicalize_name(requirement.name) for requirement in direct})


def test_docs_say_why_every_package_is_there(root: Path, direct: list[Requirement]) -> None:
    """docs/dependencies.md has a row for each."""
    page = (root / "docs/dependencies.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `([a-z0-9-]+)`", page, flags=re.MULTILINE))

    assert rows == {canonicalize_name(requirement.name) for requirement in direct}


def test_the_lock_names_no_host(root: Path) -> None:
    """Where packages come from is the reader's affair."""
    assert "://" not in (root / "requirements.lock").read_text(encoding="utf-8")


@pytest.mark.parametrize("python", ["3.11.9", "3.12.7", "3.13.1"])
def test_the_lock_pins_every_direct_dependency_within_bounds(
    root: Path, direct: list[Requirement], python: str
) -> None:
    """On each supported Python exactly one pin applies, and pyproject.toml admits its version."""
    there = default_environment() | {
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
    }
    pins: dict[str, list[str]] = {}
    for requirement in locked(root):
        if requirement.marker is None or requirement.marker.evaluate(there):
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            pins.setdefault(canonicalize_name(requirement.name), []).append(pin.version)

    refused = {
        requirement.name: pins.get(canonicalize_name(requirement.name), [])
        for requirement in direct
        if [requirement.specifier.contains(v) for v in pins.get(canonicalize_name(requirement.name), [])]
        != [True]
    }
    assert refused == {}
