"""The page shows all of a run, needs nothing else, and trusts no text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from perfkit.errors import RunError
from perfkit.report import RunView, render, write

MakeView = Callable[..., RunView]
HOSTILE = '<script>alert("x")</script> & $\\frac{ {{ 7*7 }}'


@pytest.fixture(scope="session")
def page(make_view: MakeView) -> str:
    return render(make_view())


def test_the_same_view_gives_the_same_bytes(page: str, make_view: MakeView) -> None:
    """Nothing of the clock, the process or the order of a set reaches the page."""
    assert render(make_view()) == page


def test_the_page_needs_no_network_and_no_script(page: str) -> None:
    """No address, no script, no handler; and a policy that would forbid them."""
    assert "://" not in page
    assert not re.search(r"<script|\son\w+=|javascript:|@import", page)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page


def test_a_usual_sweep_fits_into_400_kilobytes(page: str) -> None:
    """The surface of 144 cells and twelve rounds are in it."""
    assert 50_000 < len(page.encode()) <= 400_000


def test_the_sections_come_in_the_readers_order(page: str) -> None:
    """Question and answer first, evidence after, reproduction last."""
    order = ["<h1>", "30.8 % less often", "What to change", "What it costs", "How sure", "What was seen"]
    places = [page.index(mark) for mark in [*order, "Every trial", "How to reproduce"]]
    assert places == sorted(places)


def test_a_change_names_where_it_lands(page: str) -> None:
    """From, to, Terraform path and environment variable stand in one row."""
    row = next(line for line in page.splitlines() if "<td" in line and "tuning.cache.l1_ttl_seconds" in line)
    assert ">30<" in row
    assert ">90<" in row
    assert "PERFKIT_CACHE__L1_TTL_SECONDS" in row


def test_a_run_at_several_round_trips_shows_each(far_view: RunView) -> None:
    """A table for each finalist, a column for each round trip; a change without an interval still stands."""
    page = render(far_view)
    assert page.count("against the baseline at each round trip") == 4  # caption and label, for two finalists
    assert re.search(r"<th[^>]*>0\xa0ms</th><th[^>]*>1\xa0ms</th><th[^>]*>5\xa0ms</th>", page)
    assert "0.5200 reads → 0.3598 reads, −30.8\xa0%" in page.replace("\xa0reads", " reads")


def test_every_id_is_unique_and_every_reference_is_found(page: str) -> None:
    """Figures do not share clip paths by accident."""
    ids = re.findall(r'\sid="([^"]+)"', page)
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)
    assert len(ids) == len(set(ids))
    assert {one or other for one, other in used} <= set(ids)


def test_a_kept_baseline_is_a_full_answer(make_view: MakeView) -> None:
    """It says so plainly and asks for no change."""
    page = render(make_view(kept=True))
    assert "baseline kept" in page
    assert "Nothing. The settings in use today stay" in page
    assert "tuning.cache.l1_ttl_seconds" not in page


def test_an_unconfirmed_choice_says_why_it_is_not_exported(make_view: MakeView) -> None:
    """Simulated rounds confirm nothing and show no response times."""
    page = render(make_view(how="simulated"))
    assert ">not confirmed<" in page
    assert "nothing was confirmed" in page
    assert "No response times are drawn" in page


def test_hostile_text_is_shown_and_not_obeyed(make_view: MakeView) -> None:
    """Question, reason, tfvars, complaints, environment and errors come from files others may write."""
    view = make_view()
    question = view.scenario.model_copy(update={"question": HOSTILE})
    choice = view.choice.model_copy(update={"why": HOSTILE, "refused_because": HOSTILE})
    comparison = view.comparison.model_copy(update={"complaints": (HOSTILE,), "backend": HOSTILE})
    failed = view.results[-1].model_copy(update={"status": "failed", "error": HOSTILE})
    page = render(
        replace(
            view, scenario=question, choice=choice, comparison=comparison, tfvars=HOSTILE, command=HOSTILE,
            run_id=HOSTILE, results=(*view.results[:-1], failed), environment={HOSTILE: {HOSTILE: HOSTILE}},
        )
    )  # fmt: skip
    assert "<script" not in page
    assert "{{ 7*7 }}" in page
    assert page.count("&lt;script&gt;") >= 10


def test_a_hostile_arm_name_does_not_break_a_drawing(make_view: MakeView) -> None:
    """A name with dollar signs and tags reaches the legends of the figures."""
    view = make_view()
    arms = (view.comparison.arms[0].model_copy(update={"name": HOSTILE}), *view.comparison.arms[1:])
    effects = tuple(
        e.model_copy(update={"arm": HOSTILE}) if e.arm == "c1" else e for e in view.comparison.effects
    )
    comparison = view.comparison.model_copy(update={"arms": arms, "effects": effects})
    page = render(replace(view, comparison=comparison))
    assert "<script" not in page


def test_a_run_without_trials_still_has_a_page(make_view: MakeView) -> None:
    """Each missing figure is replaced by a sentence."""
    view = make_view(kept=True)
    empty = view.comparison.model_copy(
        update={"arms": (), "effects": (), "noise": (), "fits": (), "confirmed": ()}
    )
    page = render(replace(view, results=(), comparison=empty))
    assert "<svg" not in page
    assert "No trial was finished" in page
    assert "No surface is drawn" in page


def test_writing_leaves_one_whole_file(make_view: MakeView, page: str, tmp_path: Path) -> None:
    """No temporary file stays beside it."""
    path = write(make_view(), tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == page
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_says_what_to_do(make_view: MakeView, tmp_path: Path) -> None:
    """The error is perfkit's own."""
    with pytest.raises(RunError, match="make the folder writable or make room"):
        write(make_view(), tmp_path / "absent" / "report.html")


def test_a_full_disk_keeps_the_old_page(
    make_view: MakeView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is replaced whole or not at all."""
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        write(make_view(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
