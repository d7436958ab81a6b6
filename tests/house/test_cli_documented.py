"""Every command is explained where a newcomer looks."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from perfkit.cli import cli


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_a_command_is_named_where_newcomers_look(name: str, root: Path) -> None:
    """README.md or docs/first-run.md shows it."""
    pages = [(root / page).read_text(encoding="utf-8") for page in ("README.md", "docs/first-run.md")]

    assert any(f"perfkit {name}" in page for page in pages)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_a_command_and_its_options_explain_themselves(name: str) -> None:
    """`perfkit NAME --help` answers, and no option is left without a word."""
    answer = CliRunner().invoke(cli, [name, "--help"])
    options = [param for param in cli.commands[name].params if isinstance(param, click.Option)]

    assert answer.exit_code == 0
    assert cli.commands[name].help
    assert [option.name for option in options if not option.help] == []
