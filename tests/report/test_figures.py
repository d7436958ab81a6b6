"""Each figure says what it found, carries its numbers, and takes its colours from the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from perfkit.report import RunView
from perfkit.report.figures import ABSENT, FIGURES, Figure
from perfkit.report.figures.instances import instances
from perfkit.report.theme import DARK, LIGHT, RAMP_STEPS, contrast

MakeView = Callable[..., RunView]


def drawn(view: RunView) -> dict[str, Figure]:
    return {name: figure for name, draw in FIGURES.items() if (figure := draw(view))}


@pytest.fixture(scope="session")
def far_figures(far_view: RunView) -> dict[str, Figure]:
    return drawn(far_view)


@pytest.fixture(scope="session")
def figures(make_view: MakeView, far_figures: dict[str, Figure], waiting_view: RunView) -> dict[str, Figure]:
    """Those of a run at one round trip, what only several have, and what only Vertex AI has."""
    waiting = FIGURES["waiting"](waiting_view)
    assert waiting is not None
    return far_figures | drawn(make_view()) | {"waiting": waiting}


def test_a_measured_run_has_every_figure(make_view: MakeView, far_figures: dict[str, Figure]) -> None:
    """The surface at one round trip, curve and distance at several; absent, each has a sentence."""
    assert set(FIGURES) == set(ABSENT)
    assert set(drawn(make_view())) == set(FIGURES) - {"curve", "distance", "waiting"}
    assert set(far_figures) == set(FIGURES) - {"surface", "waiting"}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_can_be_read_without_being_seen(figures: dict[str, Figure], name: str) -> None:
    """Role, title, description and table stand for the picture."""
    figure = figures[name]
    assert 'role="img"' in figure.svg
    assert f'<title id="fig-{name}-title">' in figure.svg
    assert f'<desc id="fig-{name}-desc">' in figure.svg
    assert figure.table.rows
    assert all(len(row) == len(figure.table.head) for row in figure.table.rows)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_no_colour_of_its_own(figures: dict[str, Figure], name: str) -> None:
    """Every colour is the page's, with the light one as fallback; text is the page's ink."""
    bare = re.sub(r"var\(--[a-z0-9-]+, #[0-9a-f]{6}\)", "", figures[name].svg)
    assert not re.search(r"(fill|stroke|color): ?#", bare)
    assert "currentColor" in bare


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("effects", "Of 31 metrics, c1 is better on"),
        ("waiting", "1.31 times the best possible with adaptive 25 ms, 1.48 times with fixed 10 ms"),
        ("rounds", "c1 had the lower Redis reads per request in 12 of 12 rounds"),
        ("fits", "within 0.50 points of those played"),
        ("settings", "l1_policy = s3fifo comes to 0.3600"),
        ("responses", "99 % of requests were answered within"),
    ],
)
def test_a_title_is_the_finding(figures: dict[str, Figure], name: str, finding: str) -> None:
    """A sentence with the values, not the names of the axes."""
    assert finding in figures[name].title


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("curve", "By the model, l1_max_entries = "),
        ("distance", "c1 changes Redis reads per request by −30.8\xa0% at 0\xa0ms"),
        ("fits", "Model and measurement differ by at most 0.20 ms in p95 response"),
        ("responses", "at a round trip of 5\xa0ms"),
    ],
)
def test_with_several_round_trips_a_title_says_where_it_holds(
    far_figures: dict[str, Figure], name: str, finding: str
) -> None:
    assert finding in far_figures[name].title


def test_the_rounds_of_one_round_trip_stand_together(far_figures: dict[str, Figure]) -> None:
    """Four rounds each at three round trips, not one after the other as they were played."""
    order = [int(str(row[0])) for row in far_figures["rounds"].table.rows]
    assert order == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
    assert "rounds, by their round trip to Redis" in far_figures["rounds"].svg


def test_a_difference_is_drawn_in_its_own_unit(make_view: MakeView) -> None:
    """Shares in points, times in milliseconds, each on an axis of its own."""
    view = make_view()
    figure = FIGURES["effects"](view)
    assert figure is not None
    for label in ("change against the baseline", "change in percentage points", "change in ms"):
        assert figure.svg.count(label) == 1


def test_waiting_shows_every_setting_and_the_bound(figures: dict[str, Figure]) -> None:
    """Eight modelled, three of them simulated, four points of the bound; today's and the choice are named."""
    figure = figures["waiting"]
    last = [str(row[-1]) for row in figure.table.rows]
    assert len(last) == 8 + 3 + 4
    assert (last.count("today"), last.count("chosen")) == (2, 2)
    assert figure.how == ("modelled", "simulated")
    assert "the best possible" in figure.svg


def test_waiting_is_not_drawn_without_the_bound(waiting_view: RunView) -> None:
    assert FIGURES["waiting"](replace(waiting_view, calibration={})) is None


def test_the_surface_holds_every_modelled_cell(figures: dict[str, Figure]) -> None:
    """Twelve by twelve values stand in its table, none missing."""
    rows = figures["surface"].table.rows
    assert (len(rows), len(rows[0])) == (12, 13)
    assert all("–" not in row for row in rows)


def test_invalid_rounds_are_not_drawn(make_view: MakeView) -> None:
    """A number from an invalid trial is never compared."""
    view = make_view()
    spoilt = tuple(
        r.model_copy(update={"status": "invalid"}) if r.trial.arm == "c1" and r.trial.round == 3 else r
        for r in view.results
    )
    figure = FIGURES["rounds"](replace(view, results=spoilt))
    assert figure is not None
    assert "11 of 11 rounds" in figure.title


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_has_a_contrast_of_at_least_four_and_a_half(palette: dict[str, str]) -> None:
    """Ink on page and panel, text on every step of the ramp (WCAG 2.2, level AA)."""
    texts = ("ink", "quiet", "good", "bad", "doubt")
    assert (
        min(contrast(palette[text], palette[under]) for text in texts for under in ("page", "panel")) >= 4.5
    )
    steps = range(RAMP_STEPS)
    assert min(contrast(palette[f"ramp-{step}"], palette[f"on-ramp-{step}"]) for step in steps) >= 4.5


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_lines_and_markers_have_a_contrast_of_at_least_three(palette: dict[str, str]) -> None:
    """Graphics need less than text (WCAG 2.2, 1.4.11)."""
    roles = ("baseline", "noise", "series-0", "series-1", "series-2", "series-3")
    assert min(contrast(palette[role], palette["page"]) for role in roles) >= 3


def test_a_fleet_is_drawn_by_its_number_of_instances() -> None:
    rows = [
        {
            "arm": arm,
            "instances": number,
            "redis_reads_per_request": 0.2 + number / 20,
            "origin_calls_per_request": 0.1,
            "l1_hit_ratio": 0.8 - number / 20,
        }
        for arm in ("today", "chosen")
        for number in (1, 2, 4)
    ]
    figure = instances(rows)

    assert "from 0.2500\xa0reads at 1 to 0.4000\xa0reads at 4 instances" in figure.title
    assert len(figure.table.rows) == 6
