"""Generated files are committed, and fresh."""

from __future__ import annotations

from pathlib import Path

from perfkit.export.variables import GENERATED, stale, write_generated


def test_no_generated_file_is_stale(root: Path) -> None:
    """A knob that changed has changed its page, its Terraform variable and the schema too.

    `python -m perfkit.export` writes them again.
    """
    assert stale(root) == []


def test_a_changed_file_is_stale_until_it_is_written_again(tmp_path: Path) -> None:
    """The guard can fail: missing and edited files are both named."""
    assert stale(tmp_path) == list(GENERATED)

    assert write_generated(tmp_path) == list(GENERATED)
    assert stale(tmp_path) == []

    edited = next(iter(GENERATED))
    (tmp_path / edited).write_text("edited by hand\n", encoding="utf-8")
    assert stale(tmp_path) == [edited]
