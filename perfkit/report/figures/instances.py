"""What a fleet comes to by the number of its instances: reads of Redis and calls of the origin, modelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perfkit.report.figures.figure import Figure, drawn
from perfkit.report.tables import Table
from perfkit.report.theme import colour
from perfkit.report.words import level_words, metric_of

__all__ = ["instances"]

_READS, _CALLS = "redis_reads_per_request", "origin_calls_per_request"


def instances(rows: Sequence[Mapping[Any, Any]]) -> Figure:
    """Return the figure of rows with `arm`, `instances` and modelled metrics; the first arm is today's."""
    arms = list(dict.fromkeys(str(row["arm"]) for row in rows))
    own = [row for row in rows if row["arm"] == arms[0]]
    few, many = own[0], own[-1]
    title = (
        f"By the model, {metric_of(_READS).title} goes from {level_words(_READS, few[_READS])} at "
        f"{few['instances']} to {level_words(_READS, many[_READS])} at {many['instances']} instances"
    )
    note = "Solid: reads of Redis. Dashed: calls of the origin, which instances share through Redis."
    names = (_READS, _CALLS, "l1_hit_ratio")
    body = tuple(
        (str(row["arm"]), str(row["instances"]), *(level_words(name, row[name]) for name in names))
        for row in rows
    )
    head = ("arm", "instances", *(metric_of(name).title for name in names))
    table = Table("A fleet by its number of instances, modelled", head, body, frozenset({"arm"}))

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        for number, arm in enumerate(arms):
            line = [row for row in rows if row["arm"] == arm]
            xs = [row["instances"] for row in line]
            tone = colour("baseline") if number == 0 else colour("series-0")
            axes.plot(xs, [row[_READS] for row in line], "o-", color=tone, label=arm)
            axes.plot(xs, [row[_CALLS] for row in line], "--", color=tone)
        axes.set_xscale("log", base=2)
        axes.set_xticks(xs, [str(x) for x in xs])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel("instances")
        axes.set_ylabel("per request")
        canvas.legend(loc="outside upper left", ncols=4)

    return drawn("instances", title, note, (9, 3.8), table, ("modelled",), draw)
