"""Response times by percentile, as far as the samples support them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perfkit.lab.histogram import merged, quantile_ms
from perfkit.lab.results import BASELINE, Histogram, TrialResult
from perfkit.report.figures.figure import Figure, drawn, logarithmic
from perfkit.report.tables import Table
from perfkit.report.theme import colour, marker
from perfkit.report.view import RunView
from perfkit.report.words import number_words, rtt_words

__all__ = ["responses"]


def responses(view: RunView) -> Figure | None:
    """Return the response times by percentile, as far as the samples support them; a panel a round trip."""
    arms = [BASELINE, *(arm.name for arm in view.comparison.arms)]
    rows = {arm: [r for r in view.played(arm) if r.how == "measured"] for arm in arms}
    rtts = sorted({r.trial.rtt_ms for r in rows[BASELINE]}, key=lambda rtt_ms: rtt_ms or 0.0)
    panels = {rtt_ms: _pooled(rows, rtt_ms) for rtt_ms in rtts}
    panels = {rtt: pooled for rtt, pooled in panels.items() if BASELINE in pooled and len(pooled) > 1}
    if not panels:
        return None
    farthest = list(panels)[-1]
    pooled = panels[farthest]
    known = [q for q in (0.5, 0.9, 0.95, 0.99, 0.999) if _supported(pooled[BASELINE], q)]
    leader = next(arm for arm in pooled if arm != BASELINE)
    at = 0.99 if 0.99 in known else known[-1]
    ours, theirs = (quantile_ms(pooled[arm], at) for arm in (leader, BASELINE))
    where = f" at a round trip of {rtt_words(farthest)}" if farthest is not None else ""
    title = f"{at * 100:g} % of requests were answered within {ours:.2f} ms by {leader}, "
    title += f"{theirs:.2f} ms by the baseline{where}"
    note = (
        "Each curve ends where fewer than ten answers lie beyond it; time counts from when a request was due."
    )
    far = ["round trip"] if farthest is not None else []
    body = tuple(
        (*([rtt_words(rtt_ms)] if rtt_ms is not None else []), arm,
         *(number_words(quantile_ms(h, q) if _supported(h, q) else None, 3) for q in known))
        for rtt_ms, of_arm in panels.items()
        for arm, h in of_arm.items()
    )  # fmt: skip
    head = (*far, "arm", *(f"p{q * 100:g}, ms" for q in known))
    table = Table("Response times", head, body, frozenset({"arm"}))

    def draw(canvas: Any) -> None:
        grid = canvas.subplots(1, len(panels), sharey=True, squeeze=False)
        for axes, (rtt_ms, of_arm) in zip(grid[0], panels.items(), strict=True):
            _curves(axes, of_arm, few_ticks=len(panels) > 2)
            if rtt_ms is not None:
                axes.set_title(rtt_words(rtt_ms), fontsize=10, color=colour("quiet"))
        logarithmic(grid[0, 0].yaxis)
        grid[0, 0].set_ylabel("response, ms")
        canvas.supxlabel("per cent of requests answered within", fontsize=10, color=colour("quiet"))
        canvas.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=4)

    return drawn("responses", title, note, (9, 4), table, ("measured",), draw)


def _pooled(rows: Mapping[str, Sequence[TrialResult]], rtt_ms: float | None) -> dict[str, Histogram]:
    pooled = {
        arm: merged(row.responses for row in own if row.trial.rtt_ms == rtt_ms) for arm, own in rows.items()
    }
    return {arm: histogram for arm, histogram in pooled.items() if sum(histogram.counts) >= 100}


def _curves(axes: Any, pooled: Mapping[str, Histogram], *, few_ticks: bool) -> None:
    for number, (arm, histogram) in enumerate(pooled.items()):
        tone, shape = (colour("baseline"), "o") if arm == BASELINE else marker(number - 1)
        tails = [10 ** (i / 24) for i in range(97) if 10 ** (i / 24) <= sum(histogram.counts) / 10]
        curve = [quantile_ms(histogram, 1 - 1 / tail) for tail in tails]
        axes.plot(tails, curve, color=tone, marker=shape, markevery=(number, 8), label=arm, linewidth=1.7)
    axes.set_xscale("log")
    ticks = {1: "0", 2: "50", 10: "90", 20: "95", 100: "99", 1000: "99.9"}
    ticks = {at: ticks[at] for at in ([1, 10, 100] if few_ticks else ticks)}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.minorticks_off()


def _supported(histogram: Histogram, quantile: float) -> bool:
    return sum(histogram.counts) * (1 - quantile) >= 10 - 1e-6
