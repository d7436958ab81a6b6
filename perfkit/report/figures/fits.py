"""Model and measurement of the same requests, side by side: whether the model may be believed."""

from __future__ import annotations

from typing import Any

from perfkit.lab.compare import Fit
from perfkit.lab.results import How
from perfkit.report.figures.figure import Figure, drawn, logarithmic
from perfkit.report.tables import Table
from perfkit.report.theme import colour
from perfkit.report.view import RunView
from perfkit.report.words import change_words, fits_finding, metric_of, number_words, rtt_words

__all__ = ["fits"]


def fits(view: RunView) -> Figure | None:
    """Return what the model says of the requests that were played, beside how they were."""
    shown = view.comparison.fits
    if not shown:
        return None
    metric = metric_of(shown[0].metric)
    by_ratio = metric.compared_by != "difference"
    names = [_name(fit) for fit in shown]
    note = (
        "Hollow circle: modelled. Filled square: as played. A long line between them is a model to distrust."
    )
    rows = tuple(
        (fit.arm, metric_of(fit.metric).title, *([rtt_words(fit.rtt_ms)] if fit.rtt_ms is not None else []),
         number_words(fit.modelled, 4), number_words(fit.measured, 4),
         change_words(fit.metric, _gap(fit)))
        for fit in shown
    )  # fmt: skip
    far = ["round trip"] if shown[0].rtt_ms is not None else []
    head = ("arm", "metric", *far, "modelled", view.comparison.how, "gap")
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
        if by_ratio:
            logarithmic(axes.xaxis)
        axes.set_xlabel(f"{metric.title}, {metric.unit}" if by_ratio else "share of requests")
        canvas.legend(loc="outside upper left", ncols=2)

    title = fits_finding(shown)
    how: tuple[How, ...] = ("modelled", view.comparison.how)
    return drawn("fits", title, note, (9, 1.3 + 0.28 * len(shown)), table, how, draw)


def _gap(fit: Fit) -> float:
    if metric_of(fit.metric).compared_by == "difference":
        return fit.modelled - fit.measured
    return fit.measured / fit.modelled - 1


def _name(fit: Fit) -> str:
    where = f", {rtt_words(fit.rtt_ms)} away" if fit.rtt_ms is not None else ""
    return f"{metric_of(fit.metric).title}, {fit.arm}{where}"
