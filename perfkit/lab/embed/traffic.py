"""What a scenario about Vertex AI asks of the model, how long that takes, and what the project grants.

The workload says when calls come and how large their texts are; this says the rest. What the emulated
project grants stands here, what the client believes of it in the knobs: the two differ where a quota is
misconfigured.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from perfkit.errors import ModelNotFound, did_you_mean
from perfkit.lab.results import Record
from perfkit.vertex.models import embedding_spec

__all__ = ["AnswerTime", "Vertex"]


class AnswerTime(Record):
    """How long the model takes to answer a request: a spread base, and something for each text and token."""

    base_ms: Annotated[float, Field(ge=0, le=600_000)] = 0.0
    """Median, of a request with nothing in it."""
    sigma: Annotated[float, Field(ge=0, le=3)] = 0.0
    """Spread of the lognormal base."""
    per_text_ms: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    per_token_ms: Annotated[float, Field(ge=0, le=1_000)] = 0.0


class Vertex(Record):
    """What is asked, of which model, and what the project really grants."""

    model: str = "text-embedding-005"
    """Which model is asked, by its id or a short name."""
    latency: str | AnswerTime = "flat"
    """How long it takes: a preset of the emulator by its name, or numbers of your own."""
    requests_per_minute: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """The quota the project has; 0 is none. The knob of that name says what the client believes."""
    tokens_per_minute: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """The same for input tokens."""
    deadline_ms: Annotated[float, Field(gt=0, le=600_000)] = 5_000.0
    """How long a caller waits; a call that fails counts with this time, or its own if that was longer."""
    texts_per_call: Annotated[int, Field(ge=1, le=32)] = 1
    """How many texts a caller brings at once."""
    duplicate_share: Annotated[float, Field(ge=0, le=0.95)] = 0.0
    """Share of the calls that bring the texts of one of the eight calls before, beside what the workload's
    own objects repeat."""
    request_worth_ms: Annotated[float, Field(gt=0, le=10_000)] = 25.0
    """How much waiting of one caller a saved request is worth, where the costs of settings are compared. The
    knob of that name says what the client goes by."""

    @field_validator("model")
    @classmethod
    def _known_model(cls, model: str) -> str:
        try:
            return embedding_spec(model).id
        except ModelNotFound as refusal:
            raise ValueError(str(refusal)) from None

    @field_validator("latency")
    @classmethod
    def _known_preset(cls, latency: str | AnswerTime) -> str | AnswerTime:
        from perfkit.vertex.emulator.latency import PRESETS

        if isinstance(latency, str) and latency not in PRESETS:
            raise ValueError(
                f"there is no preset {latency!r}.{did_you_mean(latency, PRESETS)} "
                f"There are {', '.join(PRESETS)}; or write base_ms, sigma, per_text_ms, per_token_ms"
            )
        return latency
