"""Every effect with its interval, the margin that matters and the noise beside it: a forest plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from perfkit.lab.compare import Effect
from perfkit.lab.results import AGAIN
from perfkit.report.figures.figure import Figure, drawn
from perfkit.report.tables import Table
from perfkit.report.theme import colour, marker
from perfkit.report.view import RunView
from perfkit.report.words import change_words, effects_finding, interval_words, metric_of

__all__ = ["effects"]

_TICKS = (-0.99, -0.95, -0.9, -0.8, -0.65, -0.5, -0.35, -0.2, -0.1, -0.05, -0.02, 0, 0.02, 0.05, 0.1, 0.25)
_TICKS_UP = (0.5, 1, 2, 4, 8, 16, 32, 64)


def effects(view: RunView) -> Figure | None:
    """Return every finalist's effect on every metric, with the margin and the noise beside it."""
    arms = [arm.name for arm in view.comparison.arms]
    shown = [e for e in view.comparison.effects if e.effect is not None and e.arm in arms]
    if not shown:
        return None
    panels = _by_unit(shown)
    counts = [len({effect.metric for effect in panel}) for panel in panels]
    noise = {effect.metric: effect for effect in view.comparison.noise if effect.effect is not None}
    note = (
        "Lines are 95 % intervals; the shaded band is the change too small to matter; grey is the A/A noise."
    )
    note += " Relative changes are drawn on a logarithmic scale, so that half and double are equally far."
    rows = tuple(
        (e.arm, metric_of(e.metric).title, change_words(e.metric, e.effect),
         interval_words(e.metric, e.low, e.high) or "–",
         change_words(e.metric, noise[e.metric].effect) if e.metric in noise else "–")
        for e in shown
    )  # fmt: skip
    head = ("arm", "metric", "change", "95 % interval", "equal settings (A/A)")
    table = Table("Effects against the baseline", head, rows, frozenset({"arm", "metric"}))

    def draw(canvas: Any) -> None:
        grid = canvas.subplots(len(panels), 1, height_ratios=counts, squeeze=False)
        for axes, effects_of_panel in zip(grid[:, 0], panels, strict=True):
            _forest(axes, effects_of_panel, noise, arms)
        canvas.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=4)

    size = (9, 1.3 + sum(counts) * (0.2 + 0.14 * (len(arms) + 1)))
    return drawn("effects", effects_finding(view.comparison), note, size, table, (view.comparison.how,), draw)


def _by_unit(shown: Sequence[Effect]) -> list[list[Effect]]:
    """One panel for what is compared by ratio, one for shares, one for each other unit."""
    panels: dict[str, list[Effect]] = {}
    for effect in shown:
        metric = metric_of(effect.metric)
        kind = "ratio" if metric.compared_by != "difference" else metric.unit or "points"
        panels.setdefault(kind, []).append(effect)
    order = {"ratio": -2, "points": -1}
    return [panels[kind] for kind in sorted(panels, key=lambda kind: order.get(kind, 0))]


def _forest(axes: Any, shown: Sequence[Effect], noise: Mapping[str, Effect], arms: Sequence[str]) -> None:
    names = list(dict.fromkeys(effect.metric for effect in shown))
    by_ratio, unit = metric_of(names[0]).compared_by != "difference", metric_of(names[0]).unit
    scale = 1 if unit else 100
    place: Callable[[float], float] = (
        (lambda v: math.log1p(max(v, -0.995))) if by_ratio else (lambda v: v * scale)
    )
    spread = 0.7 / (len(arms) + 1)
    for row, name in enumerate(names):
        margin = metric_of(name).margin
        band = (place(-margin), place(margin) - place(-margin))
        axes.broken_barh([band], (row - 0.45, 0.9), color=colour("line"), alpha=0.7, linewidth=0)
    for number, arm in enumerate([*arms, AGAIN]):
        tone, shape = (colour("noise"), "D") if arm == AGAIN else marker(number)
        own = noise if arm == AGAIN else {e.metric: e for e in shown if e.arm == arm}
        label: str | None = "baseline again (A/A)" if arm == AGAIN else arm
        for row, name in enumerate(names):
            if (effect := own.get(name)) is None or effect.effect is None:
                continue
            height = row - 0.35 + spread * (number + 0.5)
            if effect.low is not None and effect.high is not None:
                axes.plot([place(effect.low), place(effect.high)], [height] * 2, color=tone, linewidth=1.6)
            axes.plot(place(effect.effect), height, shape, color=tone, label=label, linestyle="none")
            label = None
    axes.axvline(0, color=colour("quiet"), linewidth=0.9)
    axes.set_yticks(range(len(names)), [metric_of(name).title for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    if by_ratio:
        _label_ratios(axes)
    absolute = f"change in {unit or 'percentage points'}"
    axes.set_xlabel("change against the baseline" if by_ratio else absolute)


def _label_ratios(axes: Any) -> None:
    low, high = axes.get_xlim()
    ticks: list[float] = []
    wanted = sorted((t for t in _TICKS + _TICKS_UP if low <= math.log1p(t) <= high), key=abs)
    for tick in wanted:
        if all(abs(math.log1p(tick) - math.log1p(other)) > (high - low) / 14 for other in ticks):
            ticks.append(tick)
    axes.set_xticks(
        [math.log1p(t) for t in ticks], [f"{t * 100:+.0f} %".replace("-", "−") if t else "0 %" for t in ticks]
    )
