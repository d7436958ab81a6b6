"""What the pages promise is true: examples run, commands exist, links lead somewhere."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "reports/README.md"]
FENCE = re.compile(r"^```python\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
COMMAND = re.compile(r"\bperfkit ([a-z]+)\b")


def examples(page: Path) -> doctest.DocTest:
    """Every `>>>` of a page's python fences, as one session."""
    fences = FENCE.findall(page.read_text(encoding="utf-8"))
    return doctest.DocTestParser().get_doctest("\n".join(fences), {}, page.name, str(page), 0)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_examples_give_what_they_show(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's python fences are run as one session; what they print is what stands there."""
    monkeypatch.delenv("PERFKIT_REDIS_URL", raising=False)
    monkeypatch.chdir(ROOT)
    told: list[str] = []

    failed, _tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples(page), out=told.append)

    assert failed == 0, "".join(told)


def test_the_readme_shows_code_with_its_output() -> None:
    """There is something to run, so the test above is about something."""
    session = examples(ROOT / "README.md").examples

    assert len(session) >= 5
    assert any(example.want for example in session)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_that_exist(page: Path) -> None:
    """Links between pages are relative, and followed here."""
    links = LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))  # `Cache[User](…)` is no link

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_commands_it_names_exist(page: Path) -> None:
    """`perfkit WORD` in code is a command of the command line."""
    from perfkit.cli import cli

    text = page.read_text(encoding="utf-8")
    code = [
        *re.findall(r"`([^`\n]+)`", text),
        *re.findall(r"^```(?:bash|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL),
    ]
    named = {word for piece in code for word in COMMAND.findall(piece)}

    assert named - set(cli.commands) == set()
