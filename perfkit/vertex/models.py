"""The models there are: what one request may hold, how long a vector is, what a text costs.

Prices are list prices and change; each row says when it was read. Sources: the quotas page of Google's Agent
Platform (formerly Vertex AI), and the price maps named in `docs/vertex.md`. Limits that turn out lower than
the table says heal by themselves (`perfkit.vertex.batching`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from perfkit.errors import ModelNotFound, did_you_mean

__all__ = [
    "ALIASES",
    "EMBEDDING_MODELS",
    "TEXT_MODELS",
    "EmbeddingSpec",
    "TextSpec",
    "embedding_spec",
    "text_spec",
]


@dataclass(frozen=True, slots=True)
class EmbeddingSpec:
    """What perfkit knows of an embedding model."""

    id: str
    method: Literal["predict", "embedContent"]
    """How it is asked: `embedContent` takes one text a request."""
    max_texts: int
    """Most texts in one request."""
    max_tokens: int
    """Most input tokens in one request."""
    max_text_tokens: int
    """What is longer is cut, or refused."""
    dimensions: int
    """Length of a vector unless a shorter one is asked for."""
    quota: str
    """The base model whose quota it draws on; models of one quota share its buckets."""
    dollars_per_million_characters: float = 0.0
    dollars_per_million_tokens: float = 0.0
    priced: str = ""
    """When the price was read."""
    retires: str = ""
    """The day Google has announced for its end; empty where there is none."""

    def dollars(self, *, characters: int = 0, tokens: int = 0) -> float:
        """Return what so much input costs at list price.

        >>> embedding_spec("text-embedding").dollars(characters=1_000_000)
        0.025
        """
        return (
            characters * self.dollars_per_million_characters + tokens * self.dollars_per_million_tokens
        ) / 1e6


@dataclass(frozen=True, slots=True)
class TextSpec:
    """What perfkit knows of a model that writes."""

    id: str
    dollars_per_million_input_tokens: float
    dollars_per_million_output_tokens: float
    priced: str
    retires: str = ""

    def dollars(self, *, input_tokens: int, output_tokens: int) -> float:
        """Return what a call costs at list price."""
        return (
            input_tokens * self.dollars_per_million_input_tokens
            + output_tokens * self.dollars_per_million_output_tokens
        ) / 1e6


_GECKO: Final = "textembedding-gecko"
_READ: Final = "2026-11-23"

EMBEDDING_MODELS: Final = {
    spec.id: spec
    for spec in (
        EmbeddingSpec(
            "text-embedding-005", "predict", 250, 20_000, 2_048, 768, _GECKO,
            dollars_per_million_characters=0.025, priced=_READ, retires="2027-04-01",
        ),
        EmbeddingSpec(
            "text-multilingual-embedding-002", "predict", 250, 20_000, 2_048, 768, _GECKO,
            dollars_per_million_characters=0.025, priced=_READ, retires="2027-04-01",
        ),
        EmbeddingSpec(
            "gemini-embedding-001", "predict", 250, 20_000, 2_048, 3_072, "gemini-embedding",
            dollars_per_million_tokens=0.15, priced=_READ, retires="2028-05-20",
        ),
        EmbeddingSpec(
            "gemini-embedding-2", "embedContent", 1, 8_192, 8_192, 3_072, "gemini-embedding-2",
            dollars_per_million_tokens=0.20, priced=_READ,
        ),
    )
}  # fmt: skip
"""Embedding models by their ids."""

TEXT_MODELS: Final = {
    spec.id: spec
    for spec in (
        TextSpec("gemini-3.8-flash", 0.75, 3.75, _READ),
        TextSpec("gemini-3.5-flash", 1.50, 9.00, _READ),
        TextSpec("gemini-3.5-flash-lite", 0.30, 2.50, _READ),
        TextSpec("gemini-3.1-flash-lite", 0.25, 1.50, _READ),
    )
}
"""Models that write, by their ids."""

ALIASES: Final = {
    "text-embedding": "text-embedding-005",
    "text-multilingual-embedding": "text-multilingual-embedding-002",
    "gemini-embedding": "gemini-embedding-001",
    "gemini-flash": "gemini-3.8-flash",
    "gemini-flash-lite": "gemini-3.5-flash-lite",
}
"""Short names; they move on when Google retires what they stand for."""


def embedding_spec(model_id: str) -> EmbeddingSpec:
    """Return what is known of an embedding model, by its id or a short name.

    >>> embedding_spec("text-embedding").id
    'text-embedding-005'

    Raises:
        ModelNotFound: perfkit knows no embedding model by that name.
    """
    spec = EMBEDDING_MODELS.get(ALIASES.get(model_id, model_id))
    if spec is None:
        raise _unknown(model_id, "embedding model", EMBEDDING_MODELS)
    return spec


def text_spec(model_id: str) -> TextSpec:
    """Return what is known of a model that writes, by its id or a short name.

    Raises:
        ModelNotFound: perfkit knows none by that name.
    """
    spec = TEXT_MODELS.get(ALIASES.get(model_id, model_id))
    if spec is None:
        raise _unknown(model_id, "text model", TEXT_MODELS)
    return spec


def _unknown(
    model_id: str, kind: str, known: dict[str, EmbeddingSpec] | dict[str, TextSpec]
) -> ModelNotFound:
    names = [*known, *(alias for alias, stands_for in ALIASES.items() if stands_for in known)]
    return ModelNotFound(
        f"perfkit knows no {kind} {model_id!r}.{did_you_mean(model_id, names)} It knows {', '.join(names)}.",
        model=model_id,
    )
