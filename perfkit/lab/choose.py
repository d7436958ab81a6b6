"""From a comparison to a choice: the best arm within the guardrails, or the baseline, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from perfkit.knobs import Value, flat, replaced, value_words
from perfkit.lab.compare import Arm, Comparison, Effect
from perfkit.lab.metrics import find_metric
from perfkit.lab.results import BASELINE, Record
from perfkit.lab.scenario import Guardrail, Scenario
from perfkit.settings import Settings

__all__ = ["Choice", "GuardrailCheck", "choose", "in_words"]


class GuardrailCheck(Record):
    """One guardrail held against one arm."""

    arm: str
    metric: str
    at_most: float | None
    at_least: float | None
    value: float | None
    kept: bool


class Choice(Record):
    """What to run from now on, and why; kept in `choice.json`."""

    run_id: str
    arm: str
    kept_baseline: bool
    fingerprint: str
    knobs: dict[str, Value]
    """The knobs to change from the baseline; empty when the baseline is kept."""
    settings: dict[str, Value]
    """Every knob by dotted path: what `adopt` writes."""
    why: str
    """One sentence a person can repeat."""
    gains: tuple[Effect, ...]
    """Metrics that are better."""
    costs: tuple[Effect, ...]
    """Metrics that are worse."""
    guardrails: tuple[GuardrailCheck, ...]
    confirmed: bool
    """Whether a fresh process with a fresh seed agreed; only then is it exported without force."""
    refused_because: str = ""
    """Why it may not be exported; empty when it may."""


def choose(comparison: Comparison, scenario: Scenario) -> Choice:
    """Choose the best finalist that is better than the baseline and keeps every guardrail, or the baseline.

    Judgments fail closed: a metric that is missing breaks its guardrail, an objective without an interval is
    not better, and where the baseline differs from itself nothing is.
    """
    checks = tuple(
        _check(guardrail, arm, comparison)
        for arm in (comparison.baseline, *comparison.arms)
        for guardrail in scenario.guardrails
    )
    objective = {effect.arm: effect for effect in comparison.effects if effect.metric == comparison.objective}
    better = [
        arm for arm in comparison.arms if arm.name in objective and objective[arm.name].verdict == "better"
    ]
    fitting = [arm for arm in better if _keeps(checks, arm.name)]
    noisy = any(
        effect.metric == comparison.objective and effect.verdict in ("better", "worse")
        for effect in comparison.noise
    )
    chosen = None if noisy or not fitting else fitting[0]
    if chosen is None:
        why = _why_not(comparison, objective, better, checks, noisy=noisy)
        return _choice(comparison, scenario, comparison.baseline, checks, why, "the baseline was kept")
    effect = objective[chosen.name]
    why = f"{chosen.name} ({_setting_words(chosen)}) {in_words(effect)} and keeps every guardrail."
    why += _by_rtt_in_words(comparison, chosen.name)
    return _choice(comparison, scenario, chosen, checks, why, _refusal(comparison, scenario, chosen))


def in_words(effect: Effect) -> str:
    """Say what an effect is, with its interval, in half a sentence.

    Up or down is the number's direction; whether that is good is the metric's to say.
    """
    metric = find_metric(effect.metric)
    if effect.effect is None:
        return f"leaves {metric.title} unknown ({effect.note})"
    relative = metric.compared_by != "difference"
    scale, unit = (100.0, " %") if relative or not metric.unit else (1.0, f" {metric.unit}")
    if not relative and not metric.unit:
        unit = " points"
    verb = "raises" if effect.effect > 0 else "lowers"
    how_sure = f"{effect.rounds} {'round' if effect.rounds == 1 else 'rounds'}, {effect.how}"
    if effect.low is not None and effect.high is not None:
        ends = sorted((abs(effect.low), abs(effect.high))) if effect.low * effect.high > 0 else None
        low, high = ends or (effect.low, effect.high)
        how_sure = f"95 % interval {scale * low:.1f} to {scale * high:.1f}{unit}, {how_sure}"
    moved = f"{verb} {metric.title} by {abs(scale * effect.effect):.1f}{unit}"
    return f"{moved if effect.effect else f'leaves {metric.title} as it is'} ({how_sure})"


def _by_rtt_in_words(comparison: Comparison, arm: str) -> str:
    """The effect on the objective from the nearest Redis to the farthest, where there are several."""
    known = [
        (at.rtt_ms, effect.effect)
        for at in comparison.by_rtt
        for effect in at.effects
        if effect.arm == arm and effect.metric == comparison.objective and effect.effect is not None
    ]
    if len(known) < 2 or find_metric(comparison.objective).compared_by == "difference":
        return ""
    parts = [f"{100 * change:+.1f} % at {rtt_ms:g} ms" for rtt_ms, change in known]
    return f" By round trip: {', '.join(parts)}.".replace("-", "\N{MINUS SIGN}")


def _check(guardrail: Guardrail, arm: Arm, comparison: Comparison) -> GuardrailCheck:
    value = arm.metrics.get(comparison.how, {}).get(guardrail.metric)
    kept = (
        value is not None
        and (guardrail.at_most is None or value <= guardrail.at_most)
        and (guardrail.at_least is None or value >= guardrail.at_least)
    )
    return GuardrailCheck(
        arm=arm.name,
        metric=guardrail.metric,
        at_most=guardrail.at_most,
        at_least=guardrail.at_least,
        value=value,
        kept=kept,
    )


def _keeps(checks: Iterable[GuardrailCheck], arm: str) -> bool:
    return all(check.kept for check in checks if check.arm == arm)


def _why_not(
    comparison: Comparison,
    objective: Mapping[str, Effect],
    better: Sequence[Arm],
    checks: Sequence[GuardrailCheck],
    *,
    noisy: bool,
) -> str:
    title = find_metric(comparison.objective).title
    if noisy:
        return (
            f"The baseline stays: it differs from itself in {title}, so this machine is too noisy to judge."
        )
    if better:
        broken = next(check for check in checks if check.arm == better[0].name and not check.kept)
        value = "unknown" if broken.value is None else f"{broken.value:.4g}"
        limits = (("at most", broken.at_most), ("at least", broken.at_least))
        allowed = " and ".join(f"{words} {limit:g}" for words, limit in limits if limit is not None)
        return (
            f"The baseline stays: {better[0].name} {in_words(objective[better[0].name])}, but breaks the "
            f"guardrail {find_metric(broken.metric).title} ({value}, allowed is {allowed})."
        )
    doubt = f": {comparison.complaints[0]}" if comparison.complaints else ""
    if not objective:
        return f"The baseline stays, for no finalist gave a sound number{doubt}."
    nearest = objective[comparison.arms[0].name]
    nearly = f"no finalist is surely better; the nearest, {nearest.arm}, {in_words(nearest)}"
    return f"The baseline stays: {nearly}{doubt if nearest.low is None else ''}."


def _setting_words(arm: Arm) -> str:
    return ", ".join(f"{path} = {value_words(value)}" for path, value in arm.knobs.items())


def _refusal(comparison: Comparison, scenario: Scenario, chosen: Arm) -> str:
    """Why the choice may not be exported; empty when it may."""
    if comparison.how != "measured" or comparison.backend == "fakeredis":
        return "nothing was measured against a real server"
    last = {effect.metric: effect for effect in comparison.confirmed if effect.arm == chosen.name}
    if comparison.objective not in last:
        return "it was not confirmed in a fresh process"
    if last[comparison.objective].verdict != "better":
        return f"a fresh process did not confirm it: there it {in_words(last[comparison.objective])}"
    for guardrail in scenario.guardrails:
        effect = last.get(guardrail.metric)
        value = None if effect is None else effect.candidate
        too_high = value is not None and guardrail.at_most is not None and value > guardrail.at_most
        too_low = value is not None and guardrail.at_least is not None and value < guardrail.at_least
        if value is None or too_high or too_low:
            return f"in a fresh process it broke the guardrail {find_metric(guardrail.metric).title}"
    return ""


def _choice(
    comparison: Comparison,
    scenario: Scenario,
    arm: Arm,
    checks: tuple[GuardrailCheck, ...],
    why: str,
    refused_because: str,
) -> Choice:
    settings = replaced(Settings(), {**scenario.baseline, **arm.knobs})
    own = [effect for effect in comparison.effects if effect.arm == arm.name]
    return Choice(
        run_id=comparison.run_id,
        arm=arm.name,
        kept_baseline=arm.name == BASELINE,
        fingerprint=settings.fingerprint,
        knobs=arm.knobs,
        settings=flat(settings),
        why=why,
        gains=tuple(effect for effect in own if effect.verdict == "better"),
        costs=tuple(effect for effect in own if effect.verdict == "worse"),
        guardrails=checks,
        confirmed=not refused_because,
        refused_because=refused_because,
    )
