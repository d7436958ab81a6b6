"""How long the emulated Vertex AI takes to answer."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["PRESETS", "Fitted", "Latency", "fit_from", "read_samples"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The time of an answer: a base, something for each text and token, times a lognormal spread."""

    base_ms: float = 0.0
    per_text_ms: float = 0.0
    per_token_ms: float = 0.0
    spread: float = 0.0
    """Standard deviation of the logarithm of the base; the median is the base."""
    tail_share: float = 0.0
    """Of the requests that take `tail_times` as long."""
    tail_times: float = 10.0

    def drawn(self, rng: random.Random, texts: int, tokens: int) -> float:
        """Return the seconds of one answer."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Fitted:
    """A latency fitted to samples, and how well it fits."""

    latency: Latency
    samples: int
    r2: float
    """Share of the variance that texts and tokens explain."""


PRESETS: Final[dict[str, Latency]] = {}
"""`none`, `flat`, `milvus-2x`, `milvus-5x`, `gemini-001`, `study`."""


def fit_from(samples: Iterable[tuple[int, int, float]]) -> Fitted:
    """Return the latency that (texts, tokens, seconds) of real calls came from."""
    raise NotImplementedError


def read_samples(path: Path) -> list[tuple[int, int, float]]:
    """Read `texts,tokens,seconds` from a CSV or JSON file."""
    raise NotImplementedError
