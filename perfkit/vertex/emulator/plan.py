"""What the emulated Vertex AI is like: as plain data, so that YAML and flags can say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from perfkit.vertex.emulator.faults import PlannedFault
from perfkit.vertex.emulator.latency import Latency
from perfkit.vertex.models import EmbeddingSpec

__all__ = ["EmulatorPlan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorPlan:
    """Limits, quotas, latency and faults of an emulator; the default refuses nothing and answers at once.

    >>> EmulatorPlan.from_data({"latency": "study", "requests_per_minute": 1500}).requests_per_minute
    1500
    """

    latency: str | Latency = "none"
    """Of embeddings: a preset's name or a fit of your own."""
    requests_per_minute: int = 0
    """Of each base model of embeddings, in fixed minutes; 0 refuses nothing."""
    tokens_per_minute: int = 0
    """Input tokens of each base model of embeddings; 0 refuses nothing."""
    project_requests_per_minute: int = 0
    """Of all models together; 0 refuses nothing."""
    quotas: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By base model (`textembedding-gecko`): `requests_per_minute` and `tokens_per_minute` of its own."""
    minute_phase_s: float | None = None
    """Where in a minute the clock starts; None draws it by the seed, as nobody knows Google's."""
    retry_info: bool = False
    """Whether a refusal for quota says when the minute ends; Google's say nothing."""
    limits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By model id: `max_texts`, `max_tokens`, `max_text_tokens`, `dimensions` that differ from the table."""
    capacity: int = 0
    """How many requests are served at once, others queue; 0 serves all."""
    text_latency: str | Latency = "none"
    """Of generated text until its first token."""
    text_token_ms: float = 0.0
    """For each further token."""
    text_capacity: int = 0
    """How many generations may be under way, others are refused as by dynamic shared quota; 0 refuses none."""
    text_requests_per_minute: int = 0
    vectors: Literal["semantic", "cheap"] = "semantic"
    """`cheap` vectors are told apart and nothing more, for sweeps where only time counts."""
    faults: tuple[PlannedFault, ...] = ()
    seed: int = 0

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> EmulatorPlan:
        """Return the plan that plain data spells; unknown names and kinds are refused.

        Raises:
            SettingsError: a name or a value is wrong.
        """
        raise NotImplementedError

    def to_data(self) -> dict[str, Any]:
        """Return what `from_data` reads: every field that is not its default."""
        raise NotImplementedError

    def spec(self, model: str) -> EmbeddingSpec | None:
        """Return an embedding model's limits in this plan, or None where there is no such model."""
        raise NotImplementedError
