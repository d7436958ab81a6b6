"""A notebook, run headless as it would be by hand."""

from __future__ import annotations

from pathlib import Path

import nbformat
import papermill

from perfkit.lab.folder import list_runs

__all__ = ["NOTEBOOKS", "executed"]

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def executed(notebook: Path, tmp_path: Path) -> None:
    """Run a notebook to its end; it leaves a run, a report, and something below every cell."""
    papermill.execute_notebook(
        notebook,
        tmp_path / "executed.ipynb",
        {"quick": True, "out": str(tmp_path / "runs")},
        cwd=notebook.parent,
        progress_bar=False,
    )

    (folder,) = list_runs(tmp_path / "runs")
    assert (folder.path / "report.html").exists()
    cells = nbformat.read(tmp_path / "executed.ipynb", as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    silent = [cell.metadata.tags for cell in code if not cell.outputs]
    assert silent == [["parameters"], ["injected-parameters"]]
    assert folder.choice.why in str(cells)
