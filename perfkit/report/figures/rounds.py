"""The objective in each round, paired with the baseline's: whether an effect is steady or one round's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perfkit.lab.results import AGAIN, BASELINE
from perfkit.report.figures.figure import Figure, drawn
from perfkit.report.tables import Table
from perfkit.report.theme import colour, marker
from perfkit.report.view import RunView
from perfkit.report.words import metric_of, number_words, rounds_finding, rtt_words

__all__ = ["rounds"]


def rounds(view: RunView) -> Figure | None:
    """Return the objective of every finalist in each round, paired with the baseline's."""
    metric = metric_of(view.comparison.objective)
    by_ratio = metric.compared_by != "difference"
    base = _by_round(view, BASELINE, metric.name)
    arms = [arm.name for arm in view.comparison.arms]
    paired = {
        arm: {
            number: value / base[number] if by_ratio else value - base[number]
            for number, value in _by_round(view, arm, metric.name).items()
            if number in base and (base[number] or not by_ratio)
        }
        for arm in (*arms, AGAIN)
    }
    if not arms or not paired[arms[0]]:
        return None
    centre = 1.0 if by_ratio else 0.0
    sign = 1 if metric.goal == "higher" else -1
    improved = sum(sign * (value - centre) > 0 for value in paired[arms[0]].values())
    title = rounds_finding(metric.name, arms[0], improved, len(paired[arms[0]]))
    unit = "ratio to" if by_ratio else "difference from"
    note = (
        f"Each mark is one round: {metric.title}, {unit} the baseline in that round. Grey is the A/A noise."
    )
    rtts = {r.trial.round: r.trial.rtt_ms for r in view.played(BASELINE)}
    numbers = sorted({n for values in paired.values() for n in values}, key=lambda n: (rtts.get(n) or 0.0, n))
    table = Table(
        f"{metric.title}, {unit} the baseline",
        ("round", *paired),
        tuple((str(n), *(number_words(paired[arm].get(n), 4) for arm in paired)) for n in numbers),
    )

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.axhline(centre, color=colour("quiet"), linewidth=0.9)
        for number, (arm, values) in enumerate(paired.items()):
            tone, shape = (colour("noise"), "D") if arm == AGAIN else marker(number)
            label = "baseline again (A/A)" if arm == AGAIN else arm
            places = [numbers.index(number) for number in values]
            axes.plot(places, list(values.values()), shape, color=tone, label=label, linestyle="none")
        _name_places(axes, [(n, rtts.get(n)) for n in numbers])
        axes.set_ylabel(f"{unit} the baseline")
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1.16), ncols=4)

    return drawn("rounds", title, note, (9, 3.4), table, (view.comparison.how,), draw)


def _name_places(axes: Any, places: Sequence[tuple[int, float | None]]) -> None:
    """Name each round, or where rounds differ in their round trip each group of them."""
    groups = list(dict.fromkeys(rtt_ms for _number, rtt_ms in places))
    if len(groups) < 2:
        step = max(1, len(places) // 16)
        axes.set_xticks(range(0, len(places), step), [str(number) for number, _rtt in places[::step]])
        axes.set_xlabel("round")
        return
    of_group = [[at for at, (_n, rtt) in enumerate(places) if rtt == group] for group in groups]
    for own in of_group[1:]:
        axes.axvline(own[0] - 0.5, color=colour("line"), linewidth=1.2)
    axes.set_xticks([(own[0] + own[-1]) / 2 for own in of_group], [rtt_words(rtt or 0.0) for rtt in groups])
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("rounds, by their round trip to Redis")


def _by_round(view: RunView, arm: str, metric: str) -> dict[int, float]:
    return {r.trial.round: r.metrics[metric] for r in view.played(arm) if metric in r.metrics}
