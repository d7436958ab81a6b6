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

__all__ = ["Figure", "drawn"]


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
