"""The cache's page names a test for each behaviour, and each of them exists."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "cache.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.split("## Beside its peers")[1].splitlines() if line.count("|") == 5][2:]


def test_the_page_answers_every_behaviour_that_was_surveyed() -> None:
    assert len(ROWS) >= 35


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_a_behaviour_is_shown_by_a_test_that_exists(row: str) -> None:
    named = re.findall(r"`((?:coherence/)?test_[a-z_]+\.py)(?:::(test_[a-z0-9_]+))?`", row)

    assert named
    for file, test in named:
        source = (HERE / file).read_text(encoding="utf-8")
        assert f"def {test}(" in source if test else "def test_" in source
