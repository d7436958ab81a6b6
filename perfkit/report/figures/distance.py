"""How an effect depends on how far away Redis is: each arm's objective at each round trip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfkit.lab.compare import Effect
from perfkit.lab.results import BASELINE
from perfkit.report.figures.figure import Figure, drawn, logarithmic
from perfkit.report.tables import Table
from perfkit.report.theme import colour, marker
from perfkit.report.view import RunView
from perfkit.report.words import (
    change_words,
    distance_finding,
    interval_words,
    level_words,
    metric_of,
    rtt_words,
    verdict_words,
)

__all__ = ["distance"]


def distance(view: RunView) -> Figure | None:
    """Return the objective of every arm at each round trip to Redis, where the scenario names several."""
    comparison = view.comparison
    metric = metric_of(comparison.objective)
    arms = [arm.name for arm in comparison.arms]
    at = {
        here.rtt_ms: {e.arm: e for e in here.effects if e.metric == metric.name} for here in comparison.by_rtt
    }
    at = {rtt_ms: effects for rtt_ms, effects in at.items() if effects}
    if len(at) < 2 or not arms:
        return None
    note = "Each point is an arm's level in the rounds at that round trip; the change stands beside it."
    rows = tuple(
        (rtt_words(rtt_ms), arm, level_words(metric.name, e.baseline), level_words(metric.name, e.candidate),
         change_words(metric.name, e.effect), interval_words(metric.name, e.low, e.high) or "–",
         verdict_words(e), str(e.rounds))
        for rtt_ms, effects in at.items()
        for arm, e in effects.items()
    )  # fmt: skip
    head = ("round trip", "arm", "baseline", "then", "change", "95 % interval", "verdict", "rounds")
    table = Table(f"{metric.title} at each round trip", head, rows, frozenset({"arm", "verdict"}))

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        places = range(len(at))
        base = [next(iter(effects.values())).baseline for effects in at.values()]
        axes.plot(places, base, "o-", color=colour("baseline"), label=BASELINE, linewidth=1.7)
        for number, arm in enumerate(arms):
            _line(axes, number, arm, list(at.values()))
        if metric.compared_by != "difference" and min(base) > 0:
            logarithmic(axes.yaxis)
        axes.set_xticks(places, [rtt_words(rtt_ms) for rtt_ms in at])
        axes.set_xlim(-0.35, len(at) - 0.45)
        axes.margins(y=0.15)
        axes.set_xlabel("round trip to Redis")
        axes.set_ylabel(f"{metric.title}{f', {metric.unit}' if metric.unit else ''}")
        canvas.legend(loc="outside upper left", ncols=4)

    title = distance_finding(comparison, arms[0])
    return drawn("distance", title, note, (9, 3.8), table, (comparison.how,), draw)


def _line(axes: Any, number: int, arm: str, at: list[Mapping[str, Effect]]) -> None:
    tone, shape = marker(number)
    known = [(place, effects[arm]) for place, effects in enumerate(at) if arm in effects]
    levels = [effect.candidate for _place, effect in known]
    axes.plot([place for place, _ in known], levels, f"{shape}-", color=tone, label=arm, linewidth=1.7)
    for place, effect in known:
        below = (effect.effect or 0) < 0
        axes.annotate(
            change_words(effect.metric, effect.effect),
            (place, effect.candidate),
            xytext=(7, -11 if below else 7),
            textcoords="offset points",
            fontsize=8.5,
            color=tone,
        )
