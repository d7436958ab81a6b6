"""Response times by percentile, as far as the samples support them."""

from __future__ import annotations

from typing import Any

from perfkit.lab.histogram import merged, quantile_ms
from perfkit.lab.results import BASELINE, Histogram
from perfkit.report.figures.figure import Figure, drawn
from perfkit.report.tables import Table
from perfkit.report.theme import colour, marker
from perfkit.report.view import RunView
from perfkit.report.words import number_words

__all__ = ["responses"]


def responses(view: RunView) -> Figure | None:
    """Return the response times by percentile, as far as the samples support them."""
    arms = [BASELINE, *(arm.name for arm in view.comparison.arms)]
    pooled = {arm: merged(r.responses for r in view.played(arm) if r.how == "measured") for arm in arms}
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

    return drawn("responses", title, note, (9, 4), table, ("measured",), draw)


def _supported(histogram: Histogram, quantile: float) -> bool:
    return sum(histogram.counts) * (1 - quantile) >= 10 - 1e-6
