"""What the guards of the house walk over: the checkout, its modules, its texts."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_NOT_OURS = {"__pycache__", "runs", "node_modules"}


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def files(root: Path) -> list[Path]:
    """Every file of the project: nothing hidden, installed, cached or made by a run."""
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file() and not _is_foreign(path.relative_to(root)) and path.name != "requirements.lock"
    ]


def _is_foreign(path: Path) -> bool:
    return any(part in _NOT_OURS or part.startswith(".") for part in path.parts)
