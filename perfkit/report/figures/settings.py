"""Every simulated setting by the objective, best first: what the axes that no model knows come to."""

from __future__ import annotations

from typing import Any

from perfkit.knobs import Value, value_words
from perfkit.lab.plan import over_rounds
from perfkit.lab.results import TrialResult
from perfkit.lab.scenario import Guardrail
from perfkit.report.figures.figure import Figure, drawn
from perfkit.report.tables import Table, baseline_values
from perfkit.report.theme import colour
from perfkit.report.view import RunView
from perfkit.report.words import level_words, metric_of

__all__ = ["settings"]

_MOST = 24


def settings(view: RunView) -> Figure | None:
    """Return the simulated objective of every setting that was simulated, what runs today among them."""
    metric = metric_of(view.comparison.objective)
    rows = over_rounds(r for r in view.results if r.trial.stage == "simulated")
    rows = [row for row in rows if metric.name in row.metrics]
    if len(rows) < 3:
        return None
    rows.sort(key=lambda row: row.metrics[metric.name], reverse=metric.goal == "higher")
    rails = view.scenario.guardrails
    today = next((row for row in rows if not row.trial.knobs), None)
    shown = rows[:_MOST]
    if today is not None and today not in shown:
        shown = [*shown[:-1], today]
    kept = [row for row in rows if row.trial.knobs and _keeps(row, rails)]
    title = f"In the simulation no setting keeps every guardrail; the best has {_level(rows[0], metric.name)}"
    if kept:
        title = f"Simulated, {_label(kept[0], view)} comes to {_level(kept[0], metric.name)}"
        title += f"; today it is {_level(today, metric.name)}" if today is not None else ""
    note = "Hollow: breaks a guardrail. The square is what runs today, with " + _held(view) + "."
    names = [metric.name, *(rail.metric for rail in rails if rail.metric in rows[0].metrics)]
    body = tuple(
        (_label(row, view), *(_level(row, name) for name in names), "yes" if _keeps(row, rails) else "no")
        for row in shown
    )
    head = ("setting", *(metric_of(name).title for name in names), "keeps the guardrails")
    table = Table("Simulated settings, best first", head, body, frozenset({"setting"}))

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        for place, row in enumerate(shown):
            own = not row.trial.knobs
            tone = colour("baseline") if own else colour("series-0")
            face = tone if _keeps(row, rails) else colour("page")
            shape = "s" if own else "o"
            axes.plot(row.metrics[metric.name], place, shape, color=tone, markerfacecolor=face)
        axes.set_yticks(range(len(shown)), [_label(row, view) for row in shown])
        axes.invert_yaxis()
        axes.margins(x=0.08)
        axes.set_xlabel(f"{metric.title}{f', {metric.unit}' if metric.unit else ''}")

    return drawn("settings", title, note, (9, 1.1 + 0.27 * len(shown)), table, ("simulated",), draw)


def _keeps(row: TrialResult, rails: tuple[Guardrail, ...]) -> bool:
    for rail in rails:
        value = row.metrics.get(rail.metric)
        if value is None:
            continue
        if rail.at_most is not None and value > rail.at_most:
            return False
        if rail.at_least is not None and value < rail.at_least:
            return False
    return True


def _label(row: TrialResult, view: RunView) -> str:
    """What a setting changes, knob by knob."""
    if not row.trial.knobs:
        return "baseline"
    changed: dict[str, Value] = {path: row.trial.knobs[path] for path in sorted(row.trial.knobs)}
    order = [path for path in view.scenario.axes if path in changed]
    return ", ".join(f"{path.rpartition('.')[2]} = {value_words(changed[path])}" for path in order)


def _held(view: RunView) -> str:
    today = baseline_values(view.scenario)
    return ", ".join(f"{path.rpartition('.')[2]} = {value_words(today[path])}" for path in view.scenario.axes)


def _level(row: TrialResult, name: str) -> str:
    return level_words(name, row.metrics.get(name))
