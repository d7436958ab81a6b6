"""The house rules that a reader would notice: names, sizes, leftovers, notebooks."""

from __future__ import annotations

import ast
import re
from importlib.metadata import packages_distributions
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

LONGEST_FILE = 450
WRITTEN = {".cfg", ".html", ".ipynb", ".md", ".py", ".sh", ".tf", ".toml", ".yaml", ".yml"}
VAGUE = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
# Put together here, so that this file does not find itself.
LEFTOVERS = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")
SOMEONES_MACHINE = re.compile(r"(?<![\w.])/(?:" + "|".join(["home", "work", "root", "Users"]) + r")/\w")
NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def written(files: list[Path]) -> list[Path]:
    """The files a person wrote."""
    return [path for path in files if path.suffix in WRITTEN]


def test_no_module_has_a_name_that_says_nothing(files: list[Path]) -> None:
    """A module is a noun of the domain."""
    assert [path for path in files if path.suffix == ".py" and path.stem in VAGUE] == []


def test_no_file_is_too_long_to_read(files: list[Path]) -> None:
    """A file that makes you scroll for the second idea wants to be two."""
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in files if path.suffix == ".py"
    }

    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_nothing_is_left_for_later_in_the_text(files: list[Path]) -> None:
    """What is not done is an issue, not a remark."""
    assert _found(LEFTOVERS, files) == []


def test_no_file_names_someone_s_machine(files: list[Path]) -> None:
    """A path of the machine it was written on works nowhere else."""
    assert _found(SOMEONES_MACHINE, files) == []


@pytest.mark.parametrize(
    ("pattern", "planted"),
    [(LEFTOVERS, "# TO" + "DO: later"), (SOMEONES_MACHINE, "see /ho" + "me/ada/notes")],
)
def test_a_planted_leftover_is_found(pattern: re.Pattern[str], planted: str) -> None:
    """The guards can fail."""
    assert pattern.search(planted)


def test_no_folder_bears_the_name_of_an_installed_package(root: Path, files: list[Path]) -> None:
    """A folder `redis` beside a script would be imported in place of the client."""
    folders = {
        part
        for path in files
        if path.suffix == ".py"
        for part in path.relative_to(root).parent.parts
        if part != "perfkit"
    }
    assert folders & set(packages_distributions()) == set()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    """A notebook asks one question, in prose, and holds no machinery."""

    def test_is_valid_and_was_committed_without_outputs(self, path: Path) -> None:
        """Results belong to run folders."""
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)

        run = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell for cell in run if cell.outputs or cell.execution_count is not None] == []
        assert notebook.metadata.kernelspec.name == "python3"

    def test_defines_nothing(self, path: Path) -> None:
        """A function wanted in a notebook belongs in the package."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        trees = [ast.parse(source) for source in _code(path)]

        assert [node for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)] == []
        assert sum(len(source.splitlines()) for source in _code(path)) < 40

    def test_has_one_cell_of_typed_and_explained_parameters(self, path: Path) -> None:
        """Papermill replaces them, and refuses a name that is not there."""
        cells = nbformat.read(path, as_version=4).cells
        (parameters,) = (cell for cell in cells if "parameters" in cell.metadata.get("tags", []))
        body = ast.parse(parameters.source).body

        assert all(isinstance(node, ast.AnnAssign) for node in body)
        assert {node.target.id for node in body} == {"scenario", "out", "quick", "seed"}
        assert all("  # " in line for line in parameters.source.splitlines())

    def test_has_more_prose_than_code(self, path: Path) -> None:
        """Each code cell follows a cell that says what to look for."""
        kinds = [cell.cell_type for cell in nbformat.read(path, as_version=4).cells]

        assert kinds.count("markdown") > kinds.count("code")
        assert [pair for pair in pairwise(kinds) if pair == ("code", "code")] == []


def _found(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()}"
        for path in written(files)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]


def _code(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
