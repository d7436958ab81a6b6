"""One word for an area, the same in every folder."""

from __future__ import annotations

from pathlib import Path

import pytest

AREAS = ("pools", "cache", "asgi", "vertex", "cloudrun")
ROOMS = {
    "the package": "perfkit/{}/__init__.py",
    "the settings": "perfkit/{}/settings.py",
    "the rig": "perfkit/lab/rigs/{}.py",
    "a scenario": "scenarios/{}-*.yaml",
    "a notebook": "notebooks/[0-9][0-9]-{}-*.ipynb",
    "the page": "docs/{}.md",
    "the tests": "tests/{}/test_*.py",
    "the benchmark": "benchmarks/{}.py",
}
NOT_YET = {  # shrinks until it is empty
    "cloudrun": {"the rig", "a scenario", "a notebook", "the tests", "the benchmark"},
}


def missing(root: Path, area: str) -> set[str]:
    """What an area lacks."""
    return {what for what, pattern in ROOMS.items() if not any(root.glob(pattern.format(area)))}


@pytest.mark.parametrize("area", AREAS)
def test_an_area_has_its_place_in_every_folder(area: str, root: Path) -> None:
    """Exactly what NOT_YET names is missing: furnishing a room means striking it from the table."""
    assert missing(root, area) == NOT_YET.get(area, set())


def test_an_area_that_is_nowhere_lacks_everything(root: Path) -> None:
    """The guard can fail: a word no folder knows is missed in each of them."""
    assert missing(root, "attic") == set(ROOMS)


def test_settings_are_composed_of_exactly_the_areas() -> None:
    """The fields of Settings are the areas, by the same words."""
    from perfkit.settings import Settings

    assert tuple(Settings.model_fields) == AREAS
