"""A finished figure, and the one way to finish it.

matplotlib is imported when the first figure is drawn, and only its figure class: no window, no global list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perfkit.lab.results import How
from perfkit.report.tables import Table
from perfkit.report.theme import drawing, svg_of

__all__ = ["Figure", "drawn", "logarithmic"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A finished figure: its finding, its picture, the numbers behind it."""

    name: str
    title: str
    note: str
    svg: str
    table: Table
    how: tuple[How, ...]


def drawn(
    name: str,
    title: str,
    note: str,
    size: tuple[float, float],
    table: Table,
    how: tuple[How, ...],
    draw: Callable[[Any], None],
) -> Figure:
    """Return a figure drawn on a fresh canvas; `draw` is handed the canvas."""
    from matplotlib.figure import Figure as Canvas

    with drawing():
        canvas = Canvas(figsize=size)
        draw(canvas)
        svg = svg_of(canvas, prefix=f"fig-{name}", title=title, description=note)
    return Figure(name, title, note, svg, table, how)


def logarithmic(axis: Any) -> None:
    """Make an axis whose data is drawn logarithmic, with plain numbers at one, two and five of every ten."""
    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    low, high = axis.get_view_interval()
    ticks = [float(f"{step}e{power}") for power in range(-4, 8) for step in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)
