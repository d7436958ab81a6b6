"""Model and measurement of the same requests, side by side: whether the model may be believed."""

from __future__ import annotations

from typing import Any

from perfkit.report.figures.figure import Figure, drawn
from perfkit.report.tables import Table
from perfkit.report.theme import colour
from perfkit.report.view import RunView
from perfkit.report.words import change_words, fits_finding, metric_of, number_words

__all__ = ["fits"]


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

    return drawn(
        "fits", title, note, (9, 1.2 + 0.28 * len(shown)), table, ("modelled", view.comparison.how), draw
    )
