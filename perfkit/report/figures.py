"""The figures of a report, each titled by what it shows and followed by its numbers.

A figure function takes the whole view and returns None when the run has nothing for it. matplotlib is
imported when the first figure is drawn, and only its figure class: no window, no global figure list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.knobs import Value, value_words
from perfkit.lab.compare import Effect
from perfkit.lab.histogram import merged, quantile_ms
from perfkit.lab.metrics import Metric
from perfkit.lab.results import AGAIN, BASELINE, Histogram, How, TrialResult
from perfkit.lab.scenario import Scenario, axis_values
from perfkit.report.tables import Table, baseline_values
from perfkit.report.theme import RAMP_STEPS, colour, drawing, marker, svg_of
from perfkit.report.words import (
    change_words,
    effects_finding,
    fits_finding,
    interval_words,
    listed,
    metric_of,
    number_words,
    rounds_finding,
)

if TYPE_CHECKING:
    from perfkit.report.page import RunView

__all__ = ["ABSENT", "FIGURES", "Figure"]

_MOST_VALUES = 24
_PRINTED_CELLS = 200
_TICKS = (-0.99, -0.95, -0.9, -0.8, -0.65, -0.5, -0.35, -0.2, -0.1, -0.05, -0.02, 0, 0.02, 0.05, 0.1, 0.25)
_TICKS_UP = (0.5, 1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Figure:
    """A finished figure: its finding, its picture, the numbers behind it."""

    name: str
    title: str
    note: str
    svg: str
    table: Table
    how: tuple[How, ...]


def _drawn(
    name: str,
    title: str,
    note: str,
    size: tuple[float, float],
    table: Table,
    how: tuple[How, ...],
    draw: Callable[[Any], None],
) -> Figure:
    """Draw on a fresh canvas; `draw` is handed the canvas."""
    from matplotlib.figure import Figure as Canvas

    with drawing():
        canvas = Canvas(figsize=size)
        draw(canvas)
        svg = svg_of(canvas, prefix=f"fig-{name}", title=title, description=note)
    return Figure(name, title, note, svg, table, how)


def surface(view: RunView) -> Figure | None:
    """Return the modelled objective over the first two numeric axes."""
    grid = _Grid.of(view)
    if grid is None:
        return None
    metric = metric_of(view.comparison.objective)
    held = [f"{path.rpartition('.')[2]} = {value_words(value)}" for path, value in grid.held.items()]
    low, high = (number_words(pick(grid.cells.values()), metric.decimals) for pick in (min, max))
    title = f"By the model, {metric.title} ranges from {low} to {high}, guardrails aside"
    note = "Solid frame: chosen. Dashed frame: baseline. Stronger colour is better."
    note += f" With {listed(held)}." if held else ""
    rows = tuple(
        (value_words(y), *(number_words(grid.cells.get((x, y)), metric.decimals) for x in grid.xs))
        for y in grid.ys
    )
    leaf_x, leaf_y = (path.rpartition(".")[2] for path in (grid.x, grid.y))
    head = (f"{leaf_y} ↓  {leaf_x} →", *(value_words(x) for x in grid.xs))
    table = Table(f"{metric.title}, modelled", head, rows)

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.grid(visible=False)
        _paint_cells(canvas, axes, grid, metric)
        axes.set_xticks(range(len(grid.xs)), [value_words(x) for x in grid.xs])
        axes.set_yticks(range(len(grid.ys)), [value_words(y) for y in grid.ys])
        axes.set_xlabel(leaf_x)
        axes.set_ylabel(leaf_y)
        _frame(axes, grid, grid.baseline, dashed=True)
        if not view.choice.kept_baseline:
            _frame(axes, grid, grid.chosen, dashed=False)

    height = 1.3 + 0.34 * len(grid.ys)
    return _drawn("surface", title, note, (9, height), table, ("modelled",), draw)


@dataclass(frozen=True, slots=True)
class _Grid:
    """A slice of the modelled surface, at the chosen values of the axes it does not show."""

    x: str
    y: str
    xs: list[float]
    ys: list[float]
    cells: dict[tuple[float, float], float]
    held: dict[str, Value]
    baseline: tuple[float, float]
    chosen: tuple[float, float]

    @classmethod
    def of(cls, view: RunView) -> _Grid | None:
        today = baseline_values(view.scenario)
        chosen = today | view.choice.knobs
        numeric = [path for path in view.scenario.axes if _is_number(today[path])]
        rows = [r for r in view.results if r.trial.stage == "modelled" and r.status == "ok"]
        if len(numeric) < 2 or not rows:
            return None
        y, x = numeric[:2]
        held: dict[str, Value] = {}
        for path in (path for path in view.scenario.axes if path not in (x, y)):
            present = {r.trial.knobs.get(path, today[path]) for r in rows}
            held[path] = chosen[path] if chosen[path] in present else today[path]
            rows = [r for r in rows if r.trial.knobs.get(path, today[path]) == held[path]]
        at = {path: (_number(today[path]), _number(chosen[path])) for path in (x, y)}
        xs, ys = (_axis(view.scenario, path, keep=at[path][1]) for path in (x, y))
        cells = {
            (_number(r.trial.knobs.get(x, today[x])), _number(r.trial.knobs.get(y, today[y]))): r.metrics[
                name
            ]
            for r in rows
            if (name := view.comparison.objective) in r.metrics
        }
        cells = {place: value for place, value in cells.items() if place[0] in xs and place[1] in ys}
        if len(xs) < 2 or len(ys) < 2 or not cells:
            return None
        return cls(x, y, xs, ys, cells, held, (at[x][0], at[y][0]), (at[x][1], at[y][1]))


def _axis(scenario: Scenario, path: str, *, keep: float) -> list[float]:
    values = sorted(_number(value) for value in axis_values(path, scenario.axes[path]))
    step = math.ceil(len(values) / _MOST_VALUES)
    return [v for i, v in enumerate(values) if i % step == 0 or v in (keep, values[-1])]


def _paint_cells(canvas: Any, axes: Any, grid: _Grid, metric: Metric) -> None:
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.ticker import MaxNLocator

    low, high = min(grid.cells.values()), max(grid.cells.values())
    edges = MaxNLocator(RAMP_STEPS).tick_values(low, high if high > low else low + abs(low) * 0.1 + 1e-9)
    levels = [round(i * (RAMP_STEPS - 1) / max(len(edges) - 2, 1)) for i in range(len(edges) - 1)]
    levels = levels[::-1] if metric.goal == "lower" else levels
    norm = BoundaryNorm(edges, len(levels))
    values = [[grid.cells.get((x, y), math.nan) for x in grid.xs] for y in grid.ys]
    tones = ListedColormap([colour(f"ramp-{level}") for level in levels])
    painted = axes.pcolormesh(range(len(grid.xs)), range(len(grid.ys)), values, cmap=tones, norm=norm)
    painted.set_edgecolor(colour("page"))
    axes.set_xlim(-0.5, len(grid.xs) - 0.5)
    axes.set_ylim(-0.5, len(grid.ys) - 0.5)
    bar = canvas.colorbar(painted, ax=axes, pad=0.015, fraction=0.04)
    bar.outline.set_visible(False)
    bar.set_label(f"{metric.title}{f', {metric.unit}' if metric.unit else ''}")
    if len(grid.cells) > _PRINTED_CELLS:
        return
    for (x, y), value in grid.cells.items():
        level = levels[min(int(norm(value)), len(levels) - 1)]
        place = (grid.xs.index(x), grid.ys.index(y))
        text = f"{value:.3g}"
        axes.text(*place, text, ha="center", va="center", fontsize=7.5, color=colour(f"on-ramp-{level}"))


def _frame(axes: Any, grid: _Grid, place: tuple[float, float], *, dashed: bool) -> None:
    """Frame the cell at a place, or where it would lie between two."""
    from matplotlib.patches import Rectangle

    x, y = _between(grid.xs, place[0]), _between(grid.ys, place[1])
    style: dict[str, Any] = {
        "linestyle": (0, (3, 2)) if dashed else "solid",
        "linewidth": 1.6 if dashed else 2.4,
    }
    frame = Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=colour("ink"), clip_on=False, **style)
    axes.add_patch(frame)


def _between(values: Sequence[float], value: float) -> float:
    import numpy as np

    return float(np.interp(math.log(max(value, 1e-9)), np.log(np.maximum(values, 1e-9)), range(len(values))))


def effects(view: RunView) -> Figure | None:
    """Return every finalist's effect on every metric, with the margin and the noise beside it."""
    arms = [arm.name for arm in view.comparison.arms]
    shown = [e for e in view.comparison.effects if e.effect is not None and e.arm in arms]
    if not shown:
        return None
    ratios = [e for e in shown if metric_of(e.metric).compared_by != "difference"]
    panels = [panel for panel in (ratios, [e for e in shown if e not in ratios]) if panel]
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
    return _drawn(
        "effects", effects_finding(view.comparison), note, size, table, (view.comparison.how,), draw
    )


def _forest(axes: Any, shown: Sequence[Effect], noise: Mapping[str, Effect], arms: Sequence[str]) -> None:
    names = list(dict.fromkeys(effect.metric for effect in shown))
    by_ratio = metric_of(names[0]).compared_by != "difference"
    place: Callable[[float], float] = (
        (lambda v: math.log1p(max(v, -0.995))) if by_ratio else (lambda v: v * 100)
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
    axes.set_xlabel("change against the baseline" if by_ratio else "change in percentage points")


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


def responses(view: RunView) -> Figure | None:
    """Return the response times by percentile, as far as the samples support them."""
    arms = [BASELINE, *(arm.name for arm in view.comparison.arms)]
    pooled = {arm: merged(r.responses for r in _played(view, arm) if r.how == "measured") for arm in arms}
    pooled = {arm: histogram for arm, histogram in pooled.items() if sum(histogram.counts) >= 100}
    if BASELINE not in pooled or len(pooled) < 2:
        return None
    known = [q for q in (0.5, 0.9, 0.95, 0.99, 0.999) if _supported(pooled[BASELINE], q)]
    leader = next(arm for arm in pooled if arm != BASELINE)
    at = 0.99 if 0.99 in known else known[-1]
    ours, theirs = (quantile_ms(pooled[arm], at) for arm in (leader, BASELINE))
    title = f"{at * 100:g} % of requests were answered within {ours:.2f} ms by {leader}, "
    title += f"{theirs:.2f} ms by the baseline"
    note = (
        "Each curve ends where fewer than ten answers lie beyond it; time counts from when a request was due."
    )
    rows = tuple(
        (arm, *(number_words(quantile_ms(h, q) if _supported(h, q) else None, 3) for q in known))
        for arm, h in pooled.items()
    )
    head = ("arm", *(f"p{q * 100:g}, ms" for q in known))
    table = Table("Response times", head, rows, frozenset({"arm"}))

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        for number, (arm, histogram) in enumerate(pooled.items()):
            tone, shape = (colour("baseline"), "o") if arm == BASELINE else marker(number - 1)
            tails = [10 ** (i / 24) for i in range(97) if 10 ** (i / 24) <= sum(histogram.counts) / 10]
            curve = [quantile_ms(histogram, 1 - 1 / tail) for tail in tails]
            axes.plot(tails, curve, color=tone, marker=shape, markevery=(number, 8), label=arm, linewidth=1.7)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks([1, 2, 10, 20, 100, 1000], ["0", "50", "90", "95", "99", "99.9"])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _position: f"{value:g}")
        axes.set_xlabel("per cent of requests answered within")
        axes.set_ylabel("response, ms")
        axes.legend()

    return _drawn("responses", title, note, (9, 4), table, ("measured",), draw)


def _played(view: RunView, arm: str) -> list[TrialResult]:
    rows = (r for r in view.results if r.trial.stage == "measured" and r.trial.arm == arm)
    return [row for row in rows if row.status == "ok"]


def _supported(histogram: Histogram, quantile: float) -> bool:
    return sum(histogram.counts) * (1 - quantile) >= 10 - 1e-6


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
    numbers = sorted({number for values in paired.values() for number in values})
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
            axes.plot(list(values), list(values.values()), shape, color=tone, label=label, linestyle="none")
        axes.set_xticks(numbers[:: max(1, len(numbers) // 16)])
        axes.set_xlabel("round")
        axes.set_ylabel(f"{unit} the baseline")
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1.16), ncols=4)

    return _drawn("rounds", title, note, (9, 3.4), table, (view.comparison.how,), draw)


def _by_round(view: RunView, arm: str, metric: str) -> dict[int, float]:
    return {r.trial.round: r.metrics[metric] for r in _played(view, arm) if metric in r.metrics}


def fits(view: RunView) -> Figure | None:
    """Return modelled hit ratios beside those of the same requests as they were played."""
    shown = view.comparison.fits
    if not shown:
        return None
    names = [f"{metric_of(fit.metric).title}, {fit.arm}" for fit in shown]
    title = fits_finding([fit.modelled - fit.measured for fit in shown])
    note = (
        "Hollow circle: modelled. Filled square: as played. A long line between them is a model to distrust."
    )
    rows = tuple(
        (fit.arm, metric_of(fit.metric).title, number_words(fit.modelled, 4), number_words(fit.measured, 4),
         change_words("hit_ratio", fit.modelled - fit.measured))
        for fit in shown
    )  # fmt: skip
    head = ("arm", "metric", "modelled", view.comparison.how, "gap")
    table = Table("Model and measurement", head, rows, frozenset({"arm", "metric"}))

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        for row, fit in enumerate(shown):
            axes.plot([fit.modelled, fit.measured], [row, row], color=colour("quiet"), linewidth=1.2)
        places = range(len(shown))
        axes.plot(
            [f.measured for f in shown], places, "s", color=colour("series-0"), label=view.comparison.how
        )
        axes.plot(
            [f.modelled for f in shown], places, "o", mfc="none", mec=colour("ink"), ms=9, label="modelled"
        )
        axes.set_yticks(places, names)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel("share of requests")
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1.22), ncols=2)

    return _drawn(
        "fits", title, note, (9, 1.2 + 0.28 * len(shown)), table, ("modelled", view.comparison.how), draw
    )


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Value) -> float:
    return float(value)


FIGURES: Mapping[str, Callable[[RunView], Figure | None]] = {
    "surface": surface,
    "effects": effects,
    "responses": responses,
    "rounds": rounds,
    "fits": fits,
}
"""Every figure by name, in the order the page shows them."""

ABSENT: Mapping[str, str] = {
    "surface": "No surface is drawn: it needs modelled trials over at least two numeric axes.",
    "effects": "No effects are drawn: no finalist was compared with the baseline.",
    "responses": "No response times are drawn: they are only worth showing measured, with a real server.",
    "rounds": "No rounds are drawn: no finalist and baseline were played in the same rounds.",
    "fits": "Model and measurement are not compared: no measured arm was modelled on the same requests.",
}
"""What the page says in place of a figure that has nothing to show."""
