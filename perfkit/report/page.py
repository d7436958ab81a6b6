"""The page: everything a run has to say, in one HTML file, the same bytes for the same run.

The order is the reader's: the question, the answer, what to change, what it costs, how sure, the evidence,
how to do it again. A number never stands without the way it was obtained.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2

from perfkit.lab.compare import Effect
from perfkit.lab.folder import write_whole
from perfkit.lab.results import Stage
from perfkit.lab.yaml12 import dumped
from perfkit.report import tables, words
from perfkit.report.figures import ABSENT, FIGURES
from perfkit.report.theme import DARK, LIGHT, css_variables
from perfkit.report.view import RunView

__all__ = ["render", "write"]

_STAGES: tuple[Stage, ...] = ("modelled", "simulated", "measured", "confirmed")


def render(view: RunView) -> str:
    """Return the page: self-contained HTML without scripts, about 300 kB for a usual sweep."""
    comparison = view.comparison
    figures = {name: draw(view) for name, draw in FIGURES.items()}
    trials = [tables.trials_table(view.results, stage, view.scenario) for stage in _STAGES]
    return _template().render(
        view=view,
        badge=words.badge(view.choice),
        how_words=words.HOW_WORDS,
        light=css_variables(LIGHT),
        dark=css_variables(DARK),
        changes=tables.changes_table(view),
        verdicts=_by_verdict(view),
        arms=tables.arms_table(comparison),
        effects=[tables.effects_table(comparison, arm.name) for arm in comparison.arms],
        distances=[t for arm in comparison.arms if (t := tables.distances_table(comparison, arm.name))],
        guardrails=tables.guardrails_table(view) if view.choice.guardrails else None,
        validity=tables.validity_table(view.results),
        figures=[figure for figure in figures.values() if figure],
        absent=[ABSENT[name] for name, figure in figures.items() if figure is None],
        trials=[table for table in trials if table],
        environment=tables.environment_table(view.environment),
        scenario_yaml=dumped(view.scenario),
    )


def write(view: RunView, path: Path) -> Path:
    """Write the page, whole or not at all, and return where it is.

    Raises:
        RunError: the folder cannot be written or the disk is full; the message says what to do.
    """
    return write_whole(path, render(view))


def _by_verdict(view: RunView) -> dict[str, list[Effect]]:
    """The effects of the chosen arm, or of the best finalist when the baseline is kept."""
    arms = view.comparison.arms
    arm = view.choice.arm if not view.choice.kept_baseline else (arms[0].name if arms else "")
    own = [effect for effect in view.comparison.effects if effect.arm == arm]
    return {verdict: [e for e in own if e.verdict == verdict] for verdict in ("equivalent", "inconclusive")}


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("perfkit.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "effect_words": words.effect_words,
        "level_words": words.level_words,
        "listed": words.listed,
        "metric_of": words.metric_of,
        "undecided_words": words.undecided_words,
    }
    return environment.get_template("page.html.j2")
