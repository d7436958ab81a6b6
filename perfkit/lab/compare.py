"""From trials to a comparison: each finalist against the baseline, metric by metric, with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from perfkit.errors import MeasurementError
from perfkit.knobs import Value
from perfkit.lab import stats
from perfkit.lab.histogram import as_matrix, merged, quantile_ms
from perfkit.lab.metrics import METRICS, Metric, find_metric, pooled_levels
from perfkit.lab.plan import over_rounds
from perfkit.lab.results import AGAIN, BASELINE, How, Record, Trial, TrialResult
from perfkit.lab.scenario import Scenario
from perfkit.lab.stats import Verdict

__all__ = ["Arm", "AtRtt", "Comparison", "Effect", "Fit", "Verdict", "compare"]

Bounds: TypeAlias = tuple[float, float]


class Effect(Record):
    """One metric of one arm against the baseline, over paired rounds.

    For a metric compared by ratio, `effect low high` are relative changes (−0.31 is 31 % less); for one
    compared by difference they are in the metric's own unit. `low` and `high` bound the 95 % interval;
    `family_low` and `family_high` the interval that holds for all arms of the comparison at once.
    """

    metric: str
    arm: str
    how: How
    baseline: float
    candidate: float
    effect: float | None
    low: float | None
    high: float | None
    family_low: float | None
    family_high: float | None
    verdict: Verdict
    rounds: int
    rounds_needed: int | None = None
    """About how many rounds would settle an inconclusive verdict; None when settled or not estimable."""
    note: str = ""
    """Why there is no interval, or why the verdict is what it is, when that is not plain."""


class Arm(Record):
    """One setting that reached the measurement, and what each way of looking at it said."""

    name: str
    fingerprint: str
    knobs: dict[str, Value]
    """The knobs that differ from the baseline's."""
    metrics: dict[How, dict[str, float]]
    """Each metric's level, by how it was obtained; measured levels are pooled over rounds."""


class Fit(Record):
    """One metric of one arm: what the model said of the measured requests, and what was measured."""

    metric: str
    arm: str
    modelled: float
    measured: float
    rtt_ms: float | None = None
    """The round trip it holds for, where the scenario names several."""

    @property
    def is_off(self) -> bool:
        """Whether the model is to be distrusted: half a point off a share, a quarter off anything else. A
        time must be off by half a millisecond too, since less is the processor's, which no model knows.
        """
        gap, metric = abs(self.modelled - self.measured), METRICS[self.metric]
        if metric.compared_by == "difference":
            return gap > 0.005
        return gap > 0.25 * self.modelled and (gap > 0.5 or metric.unit != "ms")


class AtRtt(Record):
    """What the rounds at one round trip to Redis say; as many as there are, so often without an interval."""

    rtt_ms: float
    effects: tuple[Effect, ...]


class Comparison(Record):
    """All that a report or a choice needs, computed once and kept in `comparison.json`."""

    run_id: str
    scenario: str
    question: str
    objective: str
    """The metric to improve."""
    baseline: Arm
    arms: tuple[Arm, ...]
    """The finalists, best first by the objective's measured effect."""
    effects: tuple[Effect, ...]
    """Every metric of every finalist, from the measured rounds."""
    noise: tuple[Effect, ...]
    """The baseline against itself: how much two equal things differ here (A/A)."""
    confirmed: tuple[Effect, ...]
    """The leading finalist again, in a fresh process with a fresh seed; empty when nothing was confirmed."""
    fits: tuple[Fit, ...]
    by_rtt: tuple[AtRtt, ...] = ()
    """The same at each round trip, where the scenario names several; `effects` are over all of them."""
    how: How
    """How the rounds were obtained: measured, or simulated when no real server was to be had."""
    backend: str
    complaints: tuple[str, ...] = ()
    """What should make a reader doubt: invalid rounds, a noisy A/A, a fit that is off. Empty is good."""


def compare(
    results: Iterable[TrialResult], *, scenario: Scenario, run_id: str, fits: Sequence[Fit] = ()
) -> Comparison:
    """Compare each finalist with the baseline, metric by metric, over the rounds both played.

    Where no trial of the baseline is sound, as on a machine too busy to measure, nothing is compared: there
    are no finalists and no effects, and the complaints say why.

    Raises:
        MeasurementError: the baseline was not played yet.
    """
    rows = sorted(results, key=lambda row: (row.trial.stage, row.trial.arm, row.trial.round))
    raced = [row for row in rows if row.trial.stage == "measured"]
    raced = raced or _named([row for row in rows if row.trial.stage == "simulated"])
    first = next((row for row in raced if row.trial.arm == BASELINE), None)
    if first is None:
        raise MeasurementError(
            f"Run {run_id} has not played the baseline yet, so nothing can be compared. "
            f"Go on with: perfkit run --resume {run_id}"
        )
    sound = _by_arm(raced)
    if BASELINE not in sound:
        sound = {}
    finalists = [arm for arm in sound if arm not in (BASELINE, AGAIN)]
    judge = _Judge(sound.get(BASELINE, ()), family=max(len(finalists), 1))
    effects = tuple(effect for arm in finalists for effect in judge.effects(arm, sound[arm]))
    noise = judge.effects(AGAIN, sound[AGAIN]) if AGAIN in sound else ()
    last = _by_arm([row for row in rows if row.trial.stage == "confirmed"])
    leaders = [arm for arm in last if arm != BASELINE]
    confirmed: tuple[Effect, ...] = ()
    if BASELINE in last and leaders:
        confirmed = _Judge(last[BASELINE], family=1).effects(leaders[0], last[leaders[0]])
    of_setting = _levels_by_setting(rows)
    arms = [_arm(sound[name][0].trial, sound[name], of_setting) for name in finalists]
    objective = find_metric(scenario.objective.metric)
    sign = 1.0 if objective.goal == "lower" else -1.0
    reached = {e.arm: sign * e.effect for e in effects if e.metric == objective.name and e.effect is not None}
    ranked = sorted(arms, key=lambda arm: reached.get(arm.name, 9e9))
    by_rtt = tuple(_by_rtt(sound, finalists))
    return Comparison(
        run_id=run_id,
        scenario=scenario.name,
        question=scenario.question,
        objective=objective.name,
        baseline=_arm(first.trial, sound.get(BASELINE, ()), of_setting),
        arms=tuple(ranked),
        effects=effects,
        noise=noise,
        confirmed=confirmed,
        fits=tuple(fits),
        by_rtt=by_rtt,
        how=first.how,
        backend=first.backend,
        complaints=tuple(_complaints(raced, noise, fits, by_rtt, objective)),
    )


class _Judge:
    """Holds arms against one baseline."""

    def __init__(self, baseline: Sequence[TrialResult], *, family: int) -> None:
        self._baseline = {row.trial.round: row for row in baseline}
        self._family_confidence = 1 - 0.05 / family

    def effects(self, arm: str, rows: Sequence[TrialResult]) -> tuple[Effect, ...]:
        """Every metric that both have, over the rounds that both played."""
        pairs = [(self._baseline[row.trial.round], row) for row in rows if row.trial.round in self._baseline]
        return tuple(
            self._effect(metric, arm, pairs)
            for metric in METRICS.values()
            if pairs and all(metric.name in row.metrics for pair in pairs for row in pair)
        )

    def _effect(self, metric: Metric, arm: str, pairs: Sequence[tuple[TrialResult, TrialResult]]) -> Effect:
        old = _level(metric, [pair[0] for pair in pairs])
        new = _level(metric, [pair[1] for pair in pairs])
        point, interval, family, note = self._interval(metric, pairs)
        family_low, family_high = family or (None, None)
        judged = stats.verdict(family_low, family_high, metric.margin, metric.goal)
        needed = None
        if judged == "inconclusive" and family is not None:
            needed = stats.rounds_needed(len(pairs), *family, metric.margin)
        low, high = interval or (None, None)
        return Effect(
            metric=metric.name,
            arm=arm,
            how=pairs[0][1].how,
            baseline=old,
            candidate=new,
            effect=point,
            low=low,
            high=high,
            family_low=family_low,
            family_high=family_high,
            verdict=judged,
            rounds=len(pairs),
            rounds_needed=needed,
            note=note,
        )

    def _interval(
        self, metric: Metric, pairs: Sequence[tuple[TrialResult, TrialResult]]
    ) -> tuple[float | None, Bounds | None, Bounds | None, str]:
        """The change, its 95 % interval, the family's interval, and why there is none."""
        if metric.compared_by == "tail" and len({row.trial.rtt_ms for row, _ in pairs}) <= 1:
            return self._tail(metric, pairs)
        if metric.quantile is not None and not _each_estimable(metric.quantile, pairs):
            return (
                None,
                None,
                None,
                "not estimable: a round has too few requests to compare at each round trip",
            )
        old = np.array([pair[0].metrics[metric.name] for pair in pairs])
        new = np.array([pair[1].metrics[metric.name] for pair in pairs])
        if metric.compared_by != "difference":
            if (old == new).all():
                old = new = np.ones(len(pairs))
            if (old <= 0).any() or (new <= 0).any():
                return None, None, None, "a level is zero, so there is no ratio"
            differences, scale = np.log(new / old), math.expm1
        else:
            differences, scale = new - old, float
        point = scale(stats.hodges_lehmann(differences))
        intervals = [stats.signed_rank_interval(differences, level) for level in self._levels]
        if intervals[0] is None:
            note = f"no interval from {len(pairs)} of the 6 rounds it takes"
            return point, None, None, note
        bounds = [(scale(i[0]), scale(i[1])) if i is not None else None for i in intervals]
        note = "" if bounds[1] else "too few rounds for an interval that holds for all finalists at once"
        return point, bounds[0], bounds[1], note

    def _tail(
        self, metric: Metric, pairs: Sequence[tuple[TrialResult, TrialResult]]
    ) -> tuple[float | None, Bounds | None, Bounds | None, str]:
        assert metric.quantile is not None  # noqa: S101  # every tail metric has one
        buckets, (old, new) = as_matrix([p[0].responses for p in pairs], [p[1].responses for p in pairs])
        found = [
            stats.tail_ratio_interval(buckets, old, new, metric.quantile, confidence=level)
            for level in self._levels
        ]
        if found[0] is None or found[1] is None:
            return (
                None,
                None,
                None,
                f"not estimable from {len(pairs)} rounds of {int(old.sum())} requests in all",
            )
        point, low, high = found[0]
        return point - 1, (low - 1, high - 1), (found[1][1] - 1, found[1][2] - 1), ""

    @property
    def _levels(self) -> tuple[float, float]:
        return 0.95, self._family_confidence


def _each_estimable(quantile: float, pairs: Iterable[tuple[TrialResult, TrialResult]]) -> bool:
    """Whether each round alone supports a quantile, as it must where rounds differ in their round trip."""
    return all(stats.estimable(quantile, sum(row.responses.counts)) for pair in pairs for row in pair)


def _by_rtt(sound: Mapping[str, Sequence[TrialResult]], finalists: Sequence[str]) -> Iterator[AtRtt]:
    """Each finalist against the baseline in the rounds of one round trip, where rounds differ in it."""
    rtts = sorted(
        {row.trial.rtt_ms for rows in sound.values() for row in rows if row.trial.rtt_ms is not None}
    )
    for rtt_ms in rtts:
        here = {arm: [row for row in rows if row.trial.rtt_ms == rtt_ms] for arm, rows in sound.items()}
        judge = _Judge(here[BASELINE], family=max(len(finalists), 1))
        effects = [effect for arm in finalists for effect in judge.effects(arm, here[arm])]
        yield AtRtt(rtt_ms=rtt_ms, effects=tuple(map(_with_its_point, effects)))


def _with_its_point(effect: Effect) -> Effect:
    """An effect of too few rounds for an interval still has the ratio of its levels."""
    if effect.effect is not None or effect.baseline <= 0:
        return effect
    return effect.model_copy(update={"effect": effect.candidate / effect.baseline - 1})


def _by_arm(rows: Iterable[TrialResult]) -> dict[str, list[TrialResult]]:
    arms: dict[str, list[TrialResult]] = {}
    for row in rows:
        if row.status == "ok":
            arms.setdefault(row.trial.arm, []).append(row)
    return arms


def _named(simulated: Sequence[TrialResult]) -> list[TrialResult]:
    """Simulated trials under the names of a race: the one that changes nothing is the baseline."""
    arms = {row.trial.fingerprint: row.trial.arm for row in simulated if row.trial.knobs}
    names = {fingerprint: f"c{number}" for number, fingerprint in enumerate(arms, 1)}
    return [
        row.model_copy(
            update={"trial": row.trial.model_copy(update={"arm": names.get(row.trial.fingerprint, BASELINE)})}
        )
        for row in simulated
    ]


def _levels_by_setting(rows: Iterable[TrialResult]) -> dict[str, dict[How, dict[str, float]]]:
    levels: dict[str, dict[How, dict[str, float]]] = {}
    for stage in ("modelled", "simulated"):
        for row in over_rounds(row for row in rows if row.trial.stage == stage):
            levels.setdefault(row.trial.fingerprint, {})[row.how] = dict(row.metrics)
    return levels


def _arm(
    trial: Trial, rows: Sequence[TrialResult], of_setting: Mapping[str, dict[How, dict[str, float]]]
) -> Arm:
    levels = dict(of_setting.get(trial.fingerprint, {}))
    if trial.stage == "measured" and rows:
        known = [metric for metric in METRICS.values() if all(metric.name in row.metrics for row in rows)]
        levels[rows[0].how] = {metric.name: _level(metric, rows) for metric in known}
    return Arm(name=trial.arm, fingerprint=trial.fingerprint, knobs=trial.knobs, metrics=levels)


def _level(metric: Metric, rows: Sequence[TrialResult]) -> float:
    """A tail is read off the pooled responses; anything else, and all over several round trips, is a mean."""
    if len({row.trial.rtt_ms for row in rows}) > 1:
        return pooled_levels([{metric.name: row.metrics[metric.name]} for row in rows])[metric.name]
    if metric.quantile is not None:
        pooled = quantile_ms(merged(row.responses for row in rows), metric.quantile)
        if math.isfinite(pooled):
            return pooled
    return sum(row.metrics[metric.name] for row in rows) / len(rows)


def _complaints(
    rows: Sequence[TrialResult],
    noise: Sequence[Effect],
    fits: Sequence[Fit],
    by_rtt: Sequence[AtRtt],
    objective: Metric,
) -> Iterator[str]:
    for status in ("invalid", "failed"):
        broken = [row for row in rows if row.status == status]
        if broken:
            validity = broken[0].validity
            why = broken[0].error or (validity.complaint if validity else "")
            yield f"{len(broken)} of {len(rows)} trials are {status}, the first because {why}"
    for effect in noise:
        if effect.verdict in ("better", "worse"):
            yield f"the baseline differs from itself in {METRICS[effect.metric].title}"
    off = [fit for fit in fits if fit.is_off]
    times = [fit for fit in off if METRICS[fit.metric].compared_by != "difference"]
    worst = max(times, key=lambda fit: abs(fit.measured - fit.modelled), default=None)
    yield from (_off_in_words(fit) for fit in off if fit not in times or fit is worst)
    for at in by_rtt:
        for effect in at.effects:
            if effect.metric == objective.name and effect.verdict == "worse":
                yield f"{effect.arm} is worse in {objective.title} at a round trip of {at.rtt_ms:g} ms"


def _off_in_words(fit: Fit) -> str:
    of_arm = f"{METRICS[fit.metric].title} of {fit.arm}"
    if METRICS[fit.metric].compared_by == "difference":
        return f"{of_arm} was measured {100 * (fit.measured - fit.modelled):+.2f} points off the model"
    where = "" if fit.rtt_ms is None else f" at a round trip of {fit.rtt_ms:g} ms"
    unit = METRICS[fit.metric].unit
    measured, modelled = (
        f"{value:.2f} {unit}" if unit == "ms" else f"{value:.4g} {unit}"
        for value in (fit.measured, fit.modelled)
    )
    return f"{of_arm}{where} was measured {measured}, the model says {modelled}"
