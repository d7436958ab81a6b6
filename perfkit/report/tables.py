"""The tables of a report: rows of worded cells, each result with the way it was obtained."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perfkit.knobs import Value, find_knob, flat, replaced, value_words
from perfkit.lab.compare import Comparison, Effect
from perfkit.lab.metrics import METRICS
from perfkit.lab.results import AGAIN, BASELINE, How, Stage, TrialResult
from perfkit.lab.scenario import Scenario
from perfkit.report.view import RunView
from perfkit.report.words import (
    change_words,
    counted,
    effect_words,
    guardrail_words,
    interval_words,
    level_words,
    metric_of,
    number_words,
    rtt_words,
    verdict_words,
)
from perfkit.settings import Settings

__all__ = [
    "SHOWN_TRIALS",
    "Cell",
    "Table",
    "arms_table",
    "baseline_values",
    "changes_table",
    "distances_table",
    "effects_table",
    "environment_table",
    "guardrails_table",
    "trials_table",
    "validity_table",
]

SHOWN_TRIALS = 400
"""How many trials of a stage a page shows; the rest stay in `trials.jsonl`, and the page says so."""

_TONES = {"better": "good", "worse": "bad", "equivalent": "quiet", "inconclusive": "doubt"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A worded value; `how` becomes a tag beside it, `tone` a colour."""

    text: str
    how: How | None = None
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table ready to be shown; columns named in `texts` are set left, the others as numbers."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    texts: frozenset[str] = frozenset()


def baseline_values(scenario: Scenario) -> dict[str, Value]:
    """Return every knob of the settings in use today, by dotted path."""
    return flat(replaced(Settings(), scenario.baseline))


def changes_table(view: RunView) -> Table:
    """Return the knobs to change, and where each lands."""
    today = baseline_values(view.scenario)
    rows = []
    for path, value in view.choice.knobs.items():
        info = find_knob(Settings(), path)
        change = (value_words(today[path]), value_words(value), info.knob.unit or "–")
        rows.append((path, *change, info.knob.trades, f"tuning.{path}", info.env_name))
    head = ("knob", "from", "to", "unit", "what it trades", "in Terraform", "in the environment")
    return Table("Knobs to change", head, tuple(rows), frozenset({head[0], *head[3:]}))


def arms_table(comparison: Comparison) -> Table:
    """Return which settings hide behind the short names of the arms."""
    rows = [
        (arm.name, arm.fingerprint, ", ".join(f"{p} = {value_words(v)}" for p, v in arm.knobs.items()) or "–")
        for arm in (comparison.baseline, *comparison.arms)
    ]
    head = ("arm", "fingerprint", "differs from the baseline in")
    return Table("The settings compared", head, tuple(rows), frozenset(head))


def effects_table(comparison: Comparison, arm: str) -> Table:
    """Return every metric of one finalist: levels, change with intervals, noise, verdict."""
    noise = {effect.metric: effect for effect in comparison.noise}
    again = {effect.metric: effect for effect in comparison.confirmed if effect.arm == arm}
    rows = tuple(
        _effect_row(effect, noise.get(effect.metric), again.get(effect.metric))
        for effect in comparison.effects
        if effect.arm == arm
    )
    head: tuple[str, ...] = (
        "metric", "baseline", arm, "change", "95 % interval", "verdict", "how", "confirmation",
        "equal settings (A/A)", "95 % for all arms at once", "rounds",
    )  # fmt: skip
    if not again:
        head, rows = head[:7] + head[8:], tuple(row[:7] + row[8:] for row in rows)
    return Table(f"{arm} against the baseline", head, rows, frozenset({"metric", "verdict", "how"}))


def _effect_row(effect: Effect, noise: Effect | None, again: Effect | None) -> tuple[str | Cell, ...]:
    name = effect.metric
    note = f": {effect.note}" if effect.note else ""
    return (
        metric_of(name).title,
        level_words(name, effect.baseline),
        level_words(name, effect.candidate),
        change_words(name, effect.effect),
        interval_words(name, effect.low, effect.high) or "–",
        Cell(verdict_words(effect) + note, tone=_TONES[effect.verdict]),
        Cell("", how=effect.how),
        effect_words(again) if again else "–",
        effect_words(noise) if noise else "–",
        interval_words(name, effect.family_low, effect.family_high) or "–",
        str(effect.rounds),
    )


def distances_table(comparison: Comparison, arm: str) -> Table | None:
    """Return every metric of one finalist at each round trip to Redis, or None where there is only one."""
    if not comparison.by_rtt:
        return None
    at = {
        here.rtt_ms: {effect.metric: effect for effect in here.effects if effect.arm == arm}
        for here in comparison.by_rtt
    }
    names = [name for name in METRICS if any(name in effects for effects in at.values())]
    rows = tuple(
        (metric_of(name).title, *(_at_one(effects.get(name)) for effects in at.values())) for name in names
    )
    head = ("metric", *(rtt_words(rtt_ms) for rtt_ms in at))
    caption = (
        f"{arm} against the baseline at each round trip; a change without an interval had too few rounds"
    )
    return Table(caption, head, rows, frozenset({"metric"}))


def _at_one(effect: Effect | None) -> str | Cell:
    if effect is None:
        return "–"
    levels = f"{level_words(effect.metric, effect.baseline)} → {level_words(effect.metric, effect.candidate)}"
    known = effect.effect is not None
    text = f"{levels}, {effect_words(effect)}" if known else levels
    return Cell(text, tone=_TONES[effect.verdict] if effect.verdict in ("better", "worse") else "")


def guardrails_table(view: RunView) -> Table:
    """Return every limit held against every arm."""
    rows = tuple(
        (
            check.arm,
            metric_of(check.metric).title,
            guardrail_words(check),
            level_words(check.metric, check.value),
            Cell("kept" if check.kept else "broken", tone="good" if check.kept else "bad"),
            Cell("", how=view.comparison.how),
        )
        for check in view.choice.guardrails
    )
    head = ("arm", "metric", "limit", "value", "guardrail", "how")
    return Table("Guardrails", head, rows, frozenset({"arm", "metric", "guardrail", "how"}))


def validity_table(results: Sequence[TrialResult]) -> Table:
    """Return, stage by stage, how the trials went and the worst the load generator did."""
    head = (
        "stage", "trials", "ok", "invalid", "failed", "least of planned rate", "dropped",
        "latest start, p99", "waited for a processor", "how",
    )  # fmt: skip
    rows = [_validity_row(stage, of_stage) for stage, of_stage in _by_stage(results).items()]
    return Table("How the trials went", head, tuple(rows), frozenset({"stage", "how"}))


def _validity_row(stage: Stage, results: Sequence[TrialResult]) -> tuple[str | Cell, ...]:
    kept = [result.validity for result in results if result.validity is not None]
    share = min((v.achieved_per_s / v.planned_per_s for v in kept if v.planned_per_s), default=None)
    lag = max((v.lag_p99_ms for v in kept), default=None)
    waited = max((v.run_queue_share for v in kept), default=None)
    return (
        stage,
        str(len(results)),
        *(str(sum(result.status == status for result in results)) for status in ("ok", "invalid", "failed")),
        _percent(share),
        str(sum(v.dropped for v in kept)) if kept else "–",
        f"{number_words(lag, 2)} ms" if lag is not None else "–",
        _percent(waited),
        Cell("", how=results[0].how),
    )


def trials_table(results: Sequence[TrialResult], stage: Stage, scenario: Scenario) -> Table | None:
    """Return one row for each trial of a stage, or None when it has none."""
    own = _by_stage(results).get(stage, [])
    if not own:
        return None
    shown = own[:SHOWN_TRIALS]
    names = [name for name in METRICS if any(name in result.metrics for result in shown)]
    knobs = tuple(scenario.axes)
    today = baseline_values(scenario)
    many = own[-1].trial.arm != own[-1].trial.fingerprint or any(result.trial.round for result in own)
    places = ("arm", "round") if many else ("arm",)
    far = any(result.trial.rtt_ms is not None for result in own)
    rows: tuple[tuple[str | Cell, ...], ...] = tuple(
        (
            *(str(getattr(result.trial, place)) for place in places),
            *([f"{result.trial.rtt_ms or 0:g}"] if far else []),
            *(value_words(result.trial.knobs.get(path, today[path])) for path in knobs),
            *(number_words(result.metrics.get(name), METRICS[name].decimals) for name in names),
            _status(result),
            Cell(result.backend, how=result.how),
        )
        for result in shown
    )
    heads = (
        f"{METRICS[name].title}{f', {METRICS[name].unit}' if METRICS[name].unit else ''}" for name in names
    )
    leaves = (path.rpartition(".")[2] for path in knobs)
    caption = f"{stage}: {counted(len(own), 'trial')}"
    if len(own) > len(shown):
        caption += f", the first {len(shown)} shown; all are in trials.jsonl"
    head = (*places, *(["round trip, ms"] if far else []), *leaves, *heads, "status", "how")
    return Table(caption, head, rows, frozenset({"arm", "status", "how"}))


def environment_table(environment: Mapping[str, Any]) -> Table:
    """Return what is known of the machine, nested values by dotted name."""
    rows = tuple(_flattened(environment))
    return Table("Environment", ("what", "value"), rows, frozenset({"what", "value"}))


def _flattened(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name in sorted(values):
        value = values[name]
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            plain = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
            yield f"{prefix}{name}", plain


def _by_stage(results: Sequence[TrialResult]) -> dict[Stage, list[TrialResult]]:
    stages: tuple[Stage, ...] = ("modelled", "simulated", "measured", "confirmed")
    order = {BASELINE: 0, AGAIN: 1}
    found: dict[Stage, list[TrialResult]] = {}
    for stage in stages:
        own = [result for result in results if result.trial.stage == stage]
        if own:
            own.sort(key=lambda r: (r.trial.round, order.get(r.trial.arm, 2), r.trial.arm))
            found[stage] = own
    return found


def _status(result: TrialResult) -> Cell:
    why = result.error or (result.validity.complaint if result.validity else "")
    tone = "" if result.status == "ok" else "bad"
    return Cell(f"{result.status}: {why}" if why else result.status, tone=tone)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{number_words(share * 100, 1)} %"
