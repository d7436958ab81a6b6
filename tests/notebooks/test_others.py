"""All notebooks but the cache's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebooks.running import NOTEBOOKS, executed

MINE = [notebook for notebook in NOTEBOOKS if "-cache-" not in notebook.stem]


@pytest.mark.filterwarnings("ignore")  # of jupyter's own packages, which are not ours to mend
@pytest.mark.parametrize("notebook", MINE, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end_and_leaves_a_run(notebook: Path, tmp_path: Path) -> None:
    """Every cell, as a person would run it."""
    executed(notebook, tmp_path)
