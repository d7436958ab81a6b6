"""A room leans only on lower floors, and the run-time wing stays light."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "perfkit"
MODULES = sorted(PACKAGE.rglob("*.py"))

FLOORS = [  # ground floor first; rooms on one floor do not know each other
    {"errors", "clock", "events", "lazy"},
    {"knobs", "tfvars"},
    {"resilience"},
    {"pools"},
    {"cache"},
    {"asgi", "vertex", "cloudrun"},
    {"settings"},
    {"stack"},
    {"lab"},
    {"report", "export"},
    {"apply"},
    {"handover"},
    {"notebook", "cli"},
    {"__init__", "__main__"},
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
BY_THE_CALLER = {
    "cache/codecs/vectors.py": {"numpy"}
}  # imported where its arrays are asked for, never before
ROOMS_WITH = {"vertex": {"numpy"}}
"""Rooms whose extra brings a heavy package; the door still loads none of it."""
HEAVY = {"dask", "distributed", "matplotlib", "numpy", "optuna", "pandas", "papermill"}


def room_of(module: Path) -> str:
    """The room of the package a file stands in."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(source: str) -> set[str]:
    """Every module a source imports, anywhere in it, as dotted names; relative imports begin with a dot."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            # `from perfkit import report` names a room, or something the front door offers.
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "perfkit" else {module}
    return names


def rooms_imported(source: str) -> set[str]:
    """The rooms of the package that a source leans on; the version is no room, anyone may read it."""
    rooms = {name.split(".")[1] for name in imports_of(source) if name.startswith("perfkit.")}
    return {room if room in FLOOR_OF else "__init__" for room in rooms - {"__version__"}}


def too_high(room: str, source: str) -> set[str]:
    """The rooms a source in `room` must not lean on, but does."""
    return {other for other in rooms_imported(source) - {room} if FLOOR_OF[other] >= FLOOR_OF[room]}


def heavy_in(source: str) -> set[str]:
    """The heavy packages a source imports."""
    return {name.split(".")[0] for name in imports_of(source)} & HEAVY


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_leans_only_on_lower_floors(module: Path) -> None:
    """What stands lower never knows what stands higher, so any room can be read without those above it."""
    assert too_high(room_of(module), module.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_are_absolute(module: Path) -> None:
    """A relative import would hide its room from the guard above."""
    relative = {name for name in imports_of(module.read_text(encoding="utf-8")) if name.startswith(".")}

    assert relative == set()


def test_the_run_time_wing_never_imports_the_laboratory_s_packages() -> None:
    """Not even inside a function: a service image does not have them."""
    found = {
        module.relative_to(PACKAGE).as_posix(): heavy
        for module in MODULES
        if FLOOR_OF[room_of(module)] < FLOOR_OF["lab"]
        and (
            heavy := heavy_in(module.read_text(encoding="utf-8"))
            - BY_THE_CALLER.get(module.relative_to(PACKAGE).as_posix(), set())
            - ROOMS_WITH.get(room_of(module), set())
        )
    }

    assert found == {}


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("cache", "from perfkit.lab.results import Trial"),
        ("cache", "from perfkit import settings"),
        ("asgi", "import perfkit.vertex.settings"),
        ("lab", "def late():\n    from perfkit.report import page"),
        ("pools", "from perfkit import Settings"),
    ],
)
def test_a_planted_import_of_a_higher_floor_is_found(room: str, line: str) -> None:
    """The guard can fail: each way to write the import is caught."""
    assert too_high(room, line)


def test_a_planted_heavy_import_is_found() -> None:
    """The guard can fail, also for an import inside a function."""
    assert heavy_in("def late():\n    import pandas.api as p") == {"pandas"}
