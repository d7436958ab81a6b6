"""The modelled objective over two axes, with the chosen and the present setting framed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perfkit.knobs import Value, value_words
from perfkit.lab.metrics import Metric
from perfkit.lab.scenario import Scenario, axis_values
from perfkit.report.figures.figure import Figure, drawn
from perfkit.report.tables import Table, baseline_values
from perfkit.report.theme import RAMP_STEPS, colour
from perfkit.report.view import RunView
from perfkit.report.words import listed, metric_of, number_words

__all__ = ["surface"]

_MOST_VALUES = 24
_PRINTED_CELLS = 200


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
    return drawn("surface", title, note, (9, height), table, ("modelled",), draw)


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
        if len(numeric) < 2 or not rows or view.scenario.world.rtts_ms:
            return None  # several round trips are a curve each (perfkit.report.figures.curve)
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
        if min(len({place[axis] for place in cells}) for axis in (0, 1)) < 2:
            return None  # a line is no surface: one knob matters only where the other one does not
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


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Value) -> float:
    return float(value)
