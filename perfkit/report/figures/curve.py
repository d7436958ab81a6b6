"""The model along one axis: how much of it is enough, at each round trip to Redis."""

from __future__ import annotations

from typing import Any

from perfkit.knobs import Value, value_words
from perfkit.lab.metrics import Metric
from perfkit.lab.results import TrialResult
from perfkit.report.figures.figure import Figure, drawn, logarithmic
from perfkit.report.tables import Table, baseline_values
from perfkit.report.theme import colour
from perfkit.report.view import RunView
from perfkit.report.words import listed, metric_of, number_words, rtt_words

__all__ = ["curve"]

Key = tuple[float, str]
"""A round trip and the value of the axis in words, such as the transport, that tells lines apart."""

_ENOUGH = 1.05
_DASHES = ("solid", (0, (4, 2)), (0, (1, 1.5)))


def curve(view: RunView) -> Figure | None:
    """Return the modelled objective along the first numeric axis: a line a round trip and worded choice.

    Other axes are held at their values of today. Without several round trips there is a surface instead.
    """
    today = baseline_values(view.scenario)
    numeric = [path for path in view.scenario.axes if _is_number(today[path])]
    worded = [path for path in view.scenario.axes if isinstance(today[path], str)][:1]
    rows = [r for r in view.results if r.trial.stage == "modelled" and r.trial.rtt_ms is not None]
    if not numeric or not rows or view.comparison.objective not in rows[0].metrics:
        return None
    metric, x = metric_of(view.comparison.objective), numeric[0]
    held = {path: today[path] for path in view.scenario.axes if path not in (x, *worded)}
    rows = [r for r in rows if all(r.trial.knobs.get(path, today[path]) == v for path, v in held.items())]
    lines = _lines(rows, today, x, worded, metric)
    xs = sorted({at for line in lines.values() for at in line})
    if len(xs) < 2:
        return None
    leaf = x.rpartition(".")[2]
    note = "A colour is a round trip to Redis" + (f", a dash is {_leaf(worded[0])}" if worded else "")
    note += ". The point is what runs today."
    note += f" With {listed(f'{_leaf(p)} = {value_words(v)}' for p, v in held.items())}." if held else ""
    head = (*(["round trip"]), *([_leaf(worded[0])] if worded else []), *(value_words(at) for at in xs))
    body = tuple(
        (
            rtt_words(rtt),
            *([word] if worded else []),
            *(number_words(line.get(at), metric.decimals) for at in xs),
        )
        for (rtt, word), line in lines.items()
    )
    table = Table(f"{metric.title} by {leaf}, modelled", head, body, frozenset(head[: 1 + len(worded)]))
    own = str(today[worded[0]]) if worded else ""

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        _paint(axes, lines, float(today[x]), own)
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xticks(xs, [value_words(at) for at in xs])
        logarithmic(axes.yaxis)
        axes.set_xlabel(leaf)
        axes.set_ylabel(f"{metric.title}{f', {metric.unit}' if metric.unit else ''}")
        canvas.legend(loc="outside upper left", ncols=4)

    return drawn("curve", _finding(lines, own, leaf, metric), note, (9, 4), table, ("modelled",), draw)


def _lines(
    rows: list[TrialResult], today: dict[str, Value], x: str, worded: list[str], metric: Metric
) -> dict[Key, dict[float, float]]:
    lines: dict[Key, dict[float, float]] = {}
    for row in rows:
        values = today | row.trial.knobs
        key = (row.trial.rtt_ms or 0.0, str(values[worded[0]]) if worded else "")
        lines.setdefault(key, {})[float(values[x])] = row.metrics[metric.name]
    return {key: dict(sorted(lines[key].items())) for key in sorted(lines)}


def _paint(axes: Any, lines: dict[Key, dict[float, float]], today: float, own: str) -> None:
    rtts = sorted({rtt for rtt, _word in lines})
    words = sorted({word for _rtt, word in lines}, key=lambda word: (word != own, word))
    for (rtt, word), line in lines.items():
        label = f"{rtt_words(rtt)}{f', {word}' if word else ''}"
        tone, dash = colour(f"series-{rtts.index(rtt) % 4}"), _DASHES[words.index(word) % len(_DASHES)]
        axes.plot(list(line), list(line.values()), color=tone, linestyle=dash, linewidth=1.8, label=label)
        if word == own and today in line:
            axes.plot(today, line[today], "o", color=tone)


def _finding(lines: dict[Key, dict[float, float]], own: str, leaf: str, metric: Metric) -> str:
    """How much of the axis comes within five per cent of the best, at the nearest and the farthest."""
    enough = {}
    for (rtt, word), line in lines.items():
        best = min(line.values()) if metric.goal == "lower" else max(line.values())
        if word == own:
            enough[rtt] = next(at for at, value in line.items() if best / _ENOUGH <= value <= best * _ENOUGH)
    near, far = min(enough), max(enough)
    kind = f", {own}" if own else ""
    return (
        f"By the model, {leaf} = {value_words(enough[near])} is enough at {rtt_words(near)} and "
        f"{value_words(enough[far])} at {rtt_words(far)}{kind}"
    )


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
