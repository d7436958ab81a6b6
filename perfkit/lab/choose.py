"""From a comparison to a choice: the best arm within the guardrails, or the baseline, with the reason."""

from __future__ import annotations

from perfkit.knobs import Value
from perfkit.lab.compare import Effect
from perfkit.lab.results import Record


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
