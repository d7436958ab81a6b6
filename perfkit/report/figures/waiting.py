"""Waiting against requests: what each way of gathering texts gives for what, and the bound none can pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perfkit.knobs import Value
from perfkit.lab.plan import over_rounds
from perfkit.lab.results import How, TrialResult
from perfkit.report.figures.figure import Figure, drawn, logarithmic
from perfkit.report.tables import Table, baseline_values
from perfkit.report.theme import colour
from perfkit.report.view import RunView
from perfkit.report.words import listed, metric_of, number_words

__all__ = ["waiting"]

_REQUESTS, _WAIT, _COST = "requests_per_text", "added_wait_mean_ms", "cost_vs_offline"
_POLICY = "vertex.batch_policy"
_GOES_BY = {"adaptive": "vertex.request_worth_ms", "fixed": "vertex.batch_window_ms"}
_LOOKS = {"adaptive": ("series-0", "o"), "fixed": ("series-1", "s"), "off": ("series-2", "^")}
_MOST_LABELS = 24


@dataclass(frozen=True, slots=True)
class _Mark:
    """One setting as it came out, modelled or simulated."""

    policy: str
    goes_by: float | None
    """The number its policy goes by, in milliseconds; `off` has none."""
    how: How
    requests: float
    """For a thousand texts."""
    wait_ms: float
    cost: float
    today: bool
    chosen: bool
    knobs: Mapping[str, Value]

    @property
    def words(self) -> str:
        return self.policy if self.goes_by is None else f"{self.policy} {self.goes_by:g} ms"


def waiting(view: RunView) -> Figure | None:
    """Return mean added wait against requests for a thousand texts: a mark a setting, the bound as a line."""
    marks = _marks(view)
    bound = [
        (float(point["requests_per_text"]) * 1_000, float(point["added_wait_mean_ms"]), point["worth_ms"])
        for point in view.calibration.get("offline", ())
    ]
    if not marks or not bound:
        return None
    note = (
        "Down and to the left is better. The line is the best possible: the schedule of somebody who knows "
        "all arrivals in advance and has no quota. A number is the window of a fixed policy, or what a saved "
        "request is worth to the adaptive one, in ms. Filled: modelled, without quota; hollow: simulated, "
        "with the quota there is."
    )
    rows = tuple(
        (
            *(mark.words, mark.how, number_words(mark.requests, 1), number_words(mark.wait_ms, 2)),
            *(number_words(mark.cost, 3), "today" if mark.today else "chosen" if mark.chosen else ""),
        )
        for mark in marks
    ) + tuple(
        (f"the best possible, {worth:g} ms a request", "modelled", number_words(requests, 1),
         number_words(wait_ms, 2), "", "")
        for requests, wait_ms, worth in bound
    )  # fmt: skip
    head = (
        "setting",
        "how",
        "requests for 1,000 texts",
        f"{metric_of(_WAIT).title}, ms",
        metric_of(_COST).title,
        "",
    )
    table = Table("Waiting against requests", head, rows, frozenset({"setting", "how"}))

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        _paint(axes, marks, bound)
        axes.set_xlabel("requests for 1,000 texts")
        axes.set_ylabel(f"{metric_of(_WAIT).title}, ms")
        canvas.legend(loc="outside upper left", ncols=5)

    how = tuple(dict.fromkeys(mark.how for mark in marks))
    return drawn("waiting", _finding(marks), note, (9, 4.6), table, how, draw)


def _marks(view: RunView) -> list[_Mark]:
    today = baseline_values(view.scenario)
    chosen = None if view.choice.kept_baseline else view.choice.fingerprint
    marks = [
        _mark(row, today | row.trial.knobs, chosen)
        for stage in ("modelled", "simulated")
        for row in over_rounds(r for r in view.results if r.trial.stage == stage)
        if all(name in row.metrics for name in (_REQUESTS, _WAIT, _COST))
    ]
    return sorted(marks, key=lambda mark: (mark.policy, mark.how, mark.requests, mark.wait_ms))


def _mark(row: TrialResult, values: Mapping[str, Value], chosen: str | None) -> _Mark:
    policy = str(values.get(_POLICY, _usual(_POLICY)))
    path = _GOES_BY.get(policy)
    return _Mark(
        policy=policy,
        goes_by=None if path is None else float(values.get(path, _usual(path))),
        how=row.how,
        requests=row.metrics[_REQUESTS] * 1_000,
        wait_ms=row.metrics[_WAIT],
        cost=row.metrics[_COST],
        today=not row.trial.knobs,
        chosen=row.trial.fingerprint == chosen,
        knobs=row.trial.knobs,
    )


def _usual(path: str) -> Value:
    from perfkit.knobs import flat
    from perfkit.settings import Settings

    return flat(Settings())[path]


def _finding(marks: Sequence[_Mark]) -> str:
    """The best of each policy, dearest last, by what they cost against the best possible."""
    how: How = "modelled" if any(mark.how == "modelled" for mark in marks) else "simulated"
    best: dict[str, _Mark] = {}
    for mark in sorted((m for m in marks if m.how == how), key=lambda mark: mark.cost):
        best.setdefault(mark.policy, mark)
    first, *others = [f"{number_words(mark.cost, 2)} times" for mark in best.values()]
    words = [mark.words for mark in best.values()]
    costs = [
        f"{first} the best possible with {words[0]}",
        *map(" with ".join, zip(others, words[1:], strict=True)),
    ]
    by = "By the model" if how == "modelled" else "In the simulation"
    return f"{by}, waiting and requests come to {listed(costs)}"


def _paint(axes: Any, marks: Sequence[_Mark], bound: Sequence[tuple[float, float, float]]) -> None:
    axes.plot(
        [x for x, _, _ in bound], [y for _, y, _ in bound], "-", color=colour("ink"), linewidth=1.4,
        label="the best possible", zorder=1,
    )  # fmt: skip
    for policy in dict.fromkeys(mark.policy for mark in marks):
        role, shape = _LOOKS.get(policy, ("series-3", "D"))
        for how, face, size in (("modelled", colour(role), 6), ("simulated", "none", 9)):
            own = [mark for mark in marks if (mark.policy, mark.how) == (policy, how)]
            axes.plot(
                [m.requests for m in own], [m.wait_ms for m in own], shape, color=colour(role),
                markerfacecolor=face, markersize=size, label=policy if how == "modelled" else None, zorder=3,
            )  # fmt: skip
    if any(mark.how == "simulated" for mark in marks):
        axes.plot([], [], "o", color=colour("quiet"), mfc="none", markersize=9, label="hollow: simulated")
    for word, offset in (("today", (11, 8)), ("chosen", (-11, -22))):
        named = [mark for mark in marks if (mark.today if word == "today" else mark.chosen)]
        for mark in named[:1]:  # modelled, where it was
            axes.plot(
                mark.requests, mark.wait_ms, "o", mfc="none", mec=colour("ink"), ms=15, mew=1.4, zorder=4
            )
            axes.annotate(
                word, (mark.requests, mark.wait_ms), xytext=offset, textcoords="offset points", fontsize=9.5,
                fontweight="bold", ha="left" if word == "today" else "right", color=colour("ink"),
            )  # fmt: skip
    labelled = [mark for mark in marks if mark.how == "modelled" and mark.goes_by is not None]
    for mark in labelled[:_MOST_LABELS]:
        axes.annotate(
            f"{mark.goes_by:g}", (mark.requests, mark.wait_ms), xytext=(0, -12), textcoords="offset points",
            fontsize=7.5, ha="center", color=colour("quiet"),
        )  # fmt: skip
    xs = [mark.requests for mark in marks]
    axes.set_xlim(min(xs) * 0.8, max(xs) * 1.15)
    axes.set_ylim(-0.05 * max(m.wait_ms for m in marks), max(m.wait_ms for m in marks) * 1.12)
    logarithmic(axes.xaxis)
