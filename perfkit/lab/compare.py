"""From trials to a comparison: each finalist against the baseline, metric by metric, with its uncertainty."""

from __future__ import annotations

from typing import Literal, TypeAlias

from perfkit.knobs import Value
from perfkit.lab.results import How, Record

Verdict: TypeAlias = Literal["better", "worse", "equivalent", "inconclusive"]


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
    how: How
    """How the rounds were obtained: measured, or simulated when no real server was to be had."""
    backend: str
    complaints: tuple[str, ...] = ()
    """What should make a reader doubt: invalid rounds, a noisy A/A, a fit that is off. Empty is good."""
