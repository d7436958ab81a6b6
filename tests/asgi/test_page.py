"""The middleware's page names what shows each behaviour, and each of those exists."""

import re
from pathlib import Path

import pytest

from tests.asgi.probe.table import TABLE

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "asgi.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.split("## Beside its peers")[1].splitlines() if line.count("|") == 5][2:]
SENTENCES = {check.sentence for checks in TABLE.values() for check in checks}


def test_the_page_answers_what_was_surveyed() -> None:
    assert len(ROWS) >= 40


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_a_behaviour_is_shown_by_something_that_exists(row: str) -> None:
    shown = row.split("|")[4]
    sentences = re.findall(r'"([^"]+)"', shown)
    tests = re.findall(r"`((?:response_cache/|fields/)?test_[a-z_]+\.py)(?:::(test_[a-z0-9_]+))?`", shown)

    assert sentences or tests
    assert set(sentences) <= SENTENCES
    for file, test in tests:
        source = (HERE / file).read_text(encoding="utf-8")
        assert f"def {test}(" in source if test else "def test_" in source
