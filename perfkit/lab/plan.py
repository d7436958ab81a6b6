"""What to try: pure functions from a scenario, and what is known so far, to the next trials.

Looking gets dearer from stage to stage, so each looks at fewer settings: every combination of the modelled
axes in one pass; the best of them with every value of the other axes in virtual time; the best of those
against a real server; the leader once more in a fresh process.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from perfkit.errors import ScenarioError
from perfkit.knobs import Value, replaced
from perfkit.lab.metrics import find_metric, pooled_levels
from perfkit.lab.results import AGAIN, BASELINE, Stage, Trial, TrialResult
from perfkit.lab.scenario import Guardrail, Scenario, axis_values
from perfkit.settings import Settings

__all__ = ["Plan", "over_rounds"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The trials of one scenario.

    `modelled_knobs` are the rig's: the axes its model covers in one pass; `idle_knobs` names those that do
    nothing under given settings, and of which no more than one value is tried.
    """

    scenario: Scenario
    modelled_knobs: tuple[str, ...]
    idle_knobs: Callable[[Settings], frozenset[str]] = lambda _settings: frozenset()

    @property
    def baseline(self) -> Settings:
        """The settings in use today."""
        return replaced(Settings(), self.scenario.baseline)

    def settings(self, trial: Trial) -> Settings:
        """The whole settings a trial runs with."""
        return replaced(self.baseline, trial.knobs)

    def modelled(self) -> list[Trial]:
        """The baseline and every combination of the modelled axes."""
        axes = {path: axis for path, axis in self.scenario.axes.items() if path in self.modelled_knobs}
        return self._trials("modelled", [{}, *_combinations(self._values(axes))], rounds=1)

    def simulated(self, modelled: Sequence[TrialResult]) -> list[Trial]:
        """The baseline and the best modelled settings, each with every combination of the other axes.

        Where there are other axes, what runs today is a setting to combine them with like any other.
        """
        others = {path: axis for path, axis in self.scenario.axes.items() if path not in self.modelled_knobs}
        promote = self.scenario.simulate.promote
        best = [r.trial.knobs for r in self.best(modelled, promote, with_baseline=bool(others))]
        combinations = [
            {**knobs, **other}
            for knobs in best or [{}]  # no axis is modelled: the others are tried on what runs today
            for other in _combinations(self._values(others))
        ]
        return self._trials("simulated", [{}, *combinations], rounds=self.scenario.simulate.rounds)

    def finalists(self, simulated: Sequence[TrialResult]) -> list[dict[str, Value]]:
        """The best simulated settings, best first, as the knobs they change."""
        count = self.scenario.measure.finalists if self.scenario.measure else 0
        return [result.trial.knobs for result in self.best(simulated, count)]

    def measured(self, finalists: Sequence[Mapping[str, Value]]) -> list[Trial]:
        """Every arm in every round, the order of the arms drawn anew for each round."""
        if self.scenario.measure is None:
            return []
        arms: dict[str, Mapping[str, Value]] = {BASELINE: {}, AGAIN: {}}
        arms |= {f"c{number}": knobs for number, knobs in enumerate(finalists, 1)}
        return self._rounds("measured", arms, self.scenario.measure.rounds, self.scenario.seed)

    def confirmed(self, leader: str, knobs: Mapping[str, Value]) -> list[Trial]:
        """The leader and the baseline once more, from another seed."""
        arms = {BASELINE: {}, leader: knobs}
        return self._rounds("confirmed", arms, self.scenario.confirm.rounds, self.confirm_seed)

    @property
    def confirm_seed(self) -> int:
        """A seed no earlier stage has used."""
        return (self.scenario.seed + 1_000_003) % 2**32

    def best(
        self, results: Iterable[TrialResult], count: int, *, with_baseline: bool = False
    ) -> list[TrialResult]:
        """The best settings by the objective among those that keep every guardrail; the baseline if asked.

        Of settings that come to the same, the one that changes least stands for all: what does nothing is
        not worth measuring, and not worth changing. When none keeps every guardrail, the ones that come
        nearest are returned: better to measure a near miss and say so than to measure nothing.
        """
        objective = find_metric(self.scenario.objective.metric)
        sign = 1.0 if objective.goal == "lower" else -1.0
        own = self.baseline.fingerprint

        def worth(result: TrialResult) -> tuple[float, float]:
            value = result.metrics.get(objective.name, float("inf") * sign)
            return (_excess(result.metrics, self.scenario.guardrails), sign * value)

        candidates = [r for r in over_rounds(results) if with_baseline or r.trial.fingerprint != own]
        candidates.sort(key=lambda result: (worth(result), self._distance(result.trial)))
        best: dict[tuple[float, float], TrialResult] = {}
        for result in candidates:
            best.setdefault(worth(result), result)
        return list(best.values())[:count]

    def _distance(self, trial: Trial) -> tuple[int, float, str]:
        """How far a trial is from what runs today: knobs changed, then by what factors."""
        factors = 0.0
        for change in self.baseline.diff(self.settings(trial)):
            if isinstance(change.old, (int, float)) and isinstance(change.new, (int, float)):
                factors += abs(math.log((change.new or 1) / (change.old or 1)))
        return len(trial.knobs), factors, trial.fingerprint

    def _trials(
        self, stage: Stage, combinations: Iterable[Mapping[str, Value]], *, rounds: int
    ) -> list[Trial]:
        """Each setting so many times, or at least once at each round trip."""
        settings = {s.fingerprint: s for s in map(self._without_idle, combinations)}
        rounds = max(rounds, len(self.scenario.world.rtts_ms))
        return [
            self._trial(stage, arm, own, number, self.scenario.seed)
            for arm, own in settings.items()
            for number in range(rounds)
        ]

    def _without_idle(self, knobs: Mapping[str, Value]) -> Settings:
        """The settings of a combination, knobs that do nothing in it left as they are today."""
        idle = self.idle_knobs(replaced(self.baseline, knobs))
        return replaced(self.baseline, {path: value for path, value in knobs.items() if path not in idle})

    def _rounds(
        self, stage: Stage, arms: Mapping[str, Mapping[str, Value]], rounds: int, seed: int
    ) -> list[Trial]:
        settings = {arm: replaced(self.baseline, knobs) for arm, knobs in arms.items()}
        order = random.Random(seed)  # noqa: S311  # a repeatable order, not a secret
        trials = []
        for number in range(rounds):
            names = list(arms)
            order.shuffle(names)
            trials += [self._trial(stage, name, settings[name], number, seed) for name in names]
        return trials

    def _trial(self, stage: Stage, arm: str, settings: Settings, number: int, seed: int) -> Trial:
        knobs = {change.path: change.new for change in self.baseline.diff(settings)}
        rtts = self.scenario.world.rtts_ms
        return Trial(
            stage=stage,
            arm=arm,
            knobs=knobs,
            fingerprint=settings.fingerprint,
            round=number,
            seed=seed,
            rtt_ms=rtts[number % len(rtts)] if rtts else None,
        )

    def _values(self, axes: Mapping[str, object]) -> dict[str, tuple[Value, ...]]:
        return {path: axis_values(path, self.scenario.axes[path]) for path in axes}

    def check_length(self, requests: int) -> None:
        """Refuse a workload too short for what the scenario wants to count, or rounds too short for a fault.

        Raises:
            ScenarioError: naming what to lower, or to raise.
        """
        for name in ("simulate", "measure"):
            stage = getattr(self.scenario, name)
            if stage is None:
                continue
            times = max(stage.rounds, len(self.scenario.world.rtts_ms)) if name == "simulate" else 1
            if stage.warmup + stage.requests * times > requests:
                raise ScenarioError(
                    f"The workload has {requests} requests; {name} wants {stage.warmup} to warm up and "
                    f"{stage.requests * times} to count. Lower {name}.warmup or {name}.requests.",
                    path=name,
                )
        measure, traffic = self.scenario.measure, self.scenario.traffic
        if measure is None or traffic is None:
            return
        round_s = measure.requests // measure.rounds / measure.asked_per_s
        if traffic.faults and traffic.quiet_after_s >= round_s:
            raise ScenarioError(
                f"The last fault is over {traffic.quiet_after_s:g} s into a round, but a measured round "
                f"ends after {round_s:.3g} s: nobody would see the recovery. Raise measure.requests.",
                path="traffic.faults",
            )


def over_rounds(results: Iterable[TrialResult]) -> list[TrialResult]:
    """Return one result a setting: its sound trials put together, where there are several round trips."""
    by_setting: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.status == "ok":
            by_setting.setdefault(result.trial.fingerprint, []).append(result)
    return [
        rows[0].model_copy(update={"metrics": pooled_levels([row.metrics for row in rows])})
        for rows in by_setting.values()
    ]


def _combinations(axes: Mapping[str, Sequence[Value]]) -> list[dict[str, Value]]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _excess(metrics: Mapping[str, float], guardrails: Sequence[Guardrail]) -> float:
    """By how much the guardrails are broken in all, relatively; 0 when all are kept."""
    excess = 0.0
    for guardrail in guardrails:
        value = metrics.get(guardrail.metric)
        if value is None:
            continue  # a stage that cannot tell leaves the judgment to the next, which can
        if guardrail.at_most is not None and value > guardrail.at_most:
            excess += (value - guardrail.at_most) / max(abs(guardrail.at_most), 1e-12)
        if guardrail.at_least is not None and value < guardrail.at_least:
            excess += (guardrail.at_least - value) / max(abs(guardrail.at_least), 1e-12)
    return excess
