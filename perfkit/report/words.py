"""Numbers and verdicts in plain English: every figure title and table cell is worded here.

Nothing is computed but what a reader would do in the head: a change in per cent, the count of a verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from perfkit.lab.choose import Choice, GuardrailCheck
from perfkit.lab.compare import Comparison, Effect, Fit, Verdict
from perfkit.lab.metrics import METRICS, Metric
from perfkit.lab.results import How

__all__ = [
    "Badge",
    "badge",
    "change_words",
    "counted",
    "distance_finding",
    "effect_words",
    "effects_finding",
    "fits_finding",
    "guardrail_words",
    "interval_words",
    "level_words",
    "listed",
    "metric_of",
    "number_words",
    "rounds_finding",
    "rtt_words",
    "undecided_words",
    "verdict_words",
]

_MINUS = "\N{MINUS SIGN}"
_NARROW = "\N{NO-BREAK SPACE}"
_MANY_ROUNDS = 1_000
_VERDICTS: dict[Verdict, str] = {
    "better": "better",
    "worse": "worse",
    "equivalent": "no difference",
    "inconclusive": "undecided",
}


class Badge(NamedTuple):
    """The state of a choice in two or three words, and how good that is."""

    text: str
    tone: Literal["good", "bad", "doubt", "quiet"]


def badge(choice: Choice) -> Badge:
    """Return what may be done with a choice.

    >>> badge(Choice.model_construct(kept_baseline=True, confirmed=False, refused_because="")).text
    'baseline kept'
    """
    if choice.kept_baseline:
        return Badge("baseline kept", "quiet")
    if not choice.confirmed:
        return Badge("not confirmed", "doubt")
    if choice.refused_because:
        return Badge("refused", "bad")
    return Badge("confirmed, may be adopted", "good")


def metric_of(name: str) -> Metric:
    """Return the metric, or a plain one for a name of another version of perfkit."""
    return METRICS.get(name) or Metric(name, name, "", "lower", "ratio", 4, "")


def number_words(value: float | None, decimals: int) -> str:
    """Return a number with a true minus sign and grouped digits; a dash when there is none.

    >>> number_words(-1234.5, 1), number_words(None, 1)
    ('−1,234.5', '–')
    """
    if value is None or value != value:  # not a number is not equal to itself
        return "\N{EN DASH}"
    text = f"{value:,.{decimals}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text.replace("-", _MINUS)


def level_words(name: str, value: float | None) -> str:
    """Return a metric's level with its unit.

    >>> level_words("response_p99_ms", 21.337)
    '21.34\xa0ms'
    """
    metric = metric_of(name)
    text = number_words(value, metric.decimals)
    return f"{text}{_NARROW}{metric.unit}" if metric.unit and value is not None else text


def change_words(name: str, change: float | None) -> str:
    """Return an effect: per cent for a ratio, points for a share, the metric's unit for other differences.

    >>> change_words("response_p99_ms", -0.312), change_words("hit_ratio", 0.021)
    ('−31.2\xa0%', '+2.10\xa0points')
    """
    if change is None:
        return "\N{EN DASH}"
    return f"{_signed(name, change)}{_NARROW}{_scale(name)[1]}"


def interval_words(name: str, low: float | None, high: float | None) -> str:
    """Return an interval, or an empty text when there is none.

    >>> interval_words("response_p99_ms", -0.34, -0.28)
    '−34.0 to −28.0\xa0%'
    """
    if low is None or high is None:
        return ""
    return f"{_signed(name, low)} to {_signed(name, high)}{_NARROW}{_scale(name)[1]}"


def effect_words(effect: Effect) -> str:
    """Return an effect with its 95 % interval, or why there is none."""
    if effect.effect is None:
        return effect.note or "not estimable"
    interval = interval_words(effect.metric, effect.low, effect.high)
    return change_words(effect.metric, effect.effect) + (f" ({interval})" if interval else "")


def verdict_words(effect: Effect) -> str:
    """Return a verdict as the report prints it."""
    return _VERDICTS[effect.verdict]


def undecided_words(effects: Iterable[Effect]) -> str:
    """Return the undecided metrics, each with about how many rounds would settle it."""
    return listed(
        metric_of(effect.metric).title + _rounds_needed_words(effect.rounds_needed) for effect in effects
    )


def _rounds_needed_words(rounds: int | None) -> str:
    if rounds is None:
        return ""
    return f" (about {rounds} rounds would tell)" if rounds <= _MANY_ROUNDS else " (far too many rounds away)"


def guardrail_words(check: GuardrailCheck) -> str:
    """Return a guardrail's limit.

    >>> check = GuardrailCheck(arm="c1", metric="hit_ratio", at_most=None, at_least=0.5, value=0.6, kept=True)
    >>> guardrail_words(check)
    'at least 0.5000'
    """
    limits = (("at most", check.at_most), ("at least", check.at_least))
    return " and ".join(
        f"{words} {level_words(check.metric, limit)}" for words, limit in limits if limit is not None
    )


def counted(number: int, noun: str) -> str:
    """Return a count with its noun.

    >>> counted(1, "round"), counted(12, "round")
    ('1 round', '12 rounds')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def listed(items: Iterable[str]) -> str:
    """Return items as an English list.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    *most, last = list(items) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def effects_finding(comparison: Comparison) -> str:
    """Return in one sentence how the best finalist stands over all metrics."""
    leader = comparison.arms[0].name
    counts = Counter(effect.verdict for effect in comparison.effects if effect.arm == leader)
    parts = [f"{_VERDICTS[verdict]} on {counts[verdict]}" for verdict in _VERDICTS if counts[verdict]]
    return f"Of {counted(counts.total(), 'metric')}, {leader} is {listed(parts)}"


def rounds_finding(objective: str, arm: str, improved: int, rounds: int) -> str:
    """Return in one sentence how steadily an arm differs from the baseline."""
    metric = metric_of(objective)
    better = "lower" if metric.goal == "lower" else "higher"
    return f"{arm} had the {better} {metric.title} in {improved} of {counted(rounds, 'round')}"


def fits_finding(fits: Sequence[Fit]) -> str:
    """Return in one sentence how far model and measurement are apart at the most."""
    shares = [fit for fit in fits if metric_of(fit.metric).compared_by == "difference"]
    if shares:
        worst = max(abs(fit.modelled - fit.measured) for fit in shares) * 100
        return f"The model's hit ratios are within {worst:.2f} points of those played"
    worst = max(abs(fit.measured - fit.modelled) for fit in fits)
    metric = metric_of(fits[0].metric)
    apart = level_words(metric.name, worst) if metric.unit != "ms" else f"{worst:.2f} ms"
    return f"Model and measurement differ by at most {apart} in {metric.title}"


def rtt_words(rtt_ms: float) -> str:
    """Return a round trip to Redis as figures and tables name it.

    >>> rtt_words(0.0), rtt_words(0.5)
    ('0\xa0ms', '0.5\xa0ms')
    """
    return f"{rtt_ms:g}{_NARROW}ms"


def distance_finding(comparison: Comparison, arm: str) -> str:
    """Return in one sentence what an arm does to the objective, from the nearest Redis to the farthest."""
    metric = metric_of(comparison.objective)
    known = [
        f"{change_words(effect.metric, effect.effect)} at {rtt_words(at.rtt_ms)}"
        for at in comparison.by_rtt
        for effect in at.effects
        if effect.arm == arm and effect.metric == metric.name and effect.effect is not None
    ]
    ends = listed(dict.fromkeys((known[0], known[-1]))) if known else "unknown"
    return f"{arm} changes {metric.title} by {ends}"


def _scale(name: str) -> tuple[float, str, int]:
    """How a change of that metric is written: factor, unit, decimals."""
    metric = metric_of(name)
    if metric.compared_by != "difference":
        return 100.0, "%", 1
    return (1.0, metric.unit, metric.decimals) if metric.unit else (100.0, "points", 2)


def _signed(name: str, change: float) -> str:
    factor, _unit, decimals = _scale(name)
    text = number_words(change * factor, decimals)
    return f"+{text}" if change > 0 and float(text.replace(",", "")) else text


HOW_WORDS: dict[How, str] = {
    "modelled": "computed by a model; nothing ran",
    "simulated": "the shipping classes in virtual time, without a real server",
    "measured": "the shipping classes on the wall clock, with a real server",
}
"""What each tag means, for the legend of the page."""
