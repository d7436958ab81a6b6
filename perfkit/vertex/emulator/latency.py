"""How long the emulated Vertex AI takes: a base with a lognormal spread, and more for each text and token.

Evidence of the real one is thin and disagrees, so there are presets, and a fit to your own calls:

    flat         250 ms however many texts: single calls of text-embedding-004 took 200 to 300 ms in 2024
                 (BerriAI/litellm issue 5993)
    gemini-001   1.7 s however many: 1 text 2.11 s, 100 texts 1.72 s in us-central1 in 2026
                 (GoogleCloudPlatform/generative-ai pull request 3040)
    milvus-2x,   ten texts take twice or five times as long as one, the ends of what a benchmark of
    milvus-5x    twenty embedding services saw in 2025 (Milvus's blog)
    study        60 ms, 0.8 ms a text and 0.04 ms a token: a guess of a near and quick server, on which the
                 batching policies were compared
    none         no time at all

Nobody has published a trustworthy 99th percentile; the spreads are guesses, and `tail_share` is off.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

from perfkit.errors import SettingsError, did_you_mean

__all__ = ["PRESETS", "Latency", "latency_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The time of an answer: (base × lognormal) + texts + tokens.

    >>> Latency(base_ms=60, per_text_ms=0.8, per_token_ms=0.04).drawn(random.Random(1), texts=10, tokens=200)
    0.076

    Raises:
        SettingsError: a time is negative, or a share is none.
    """

    base_ms: float = 0.0
    """Its median."""
    per_text_ms: float = 0.0
    per_token_ms: float = 0.0
    spread: float = 0.0
    """Standard deviation of the base's logarithm."""
    tail_share: float = 0.0
    """Of the requests, those that take `tail_times` as long."""
    tail_times: float = 10.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not (0 <= value < math.inf) or (name == "tail_share" and value > 1):
                raise SettingsError(
                    f"A latency's {name} cannot be {value!r}: the emulator could draw no time from it. "
                    "Write a number of 0 or more, and a share of 1 at the most.",
                    path=f"latency.{name}",
                    value=value,
                )

    def drawn(self, rng: random.Random, texts: int, tokens: int) -> float:
        """Return the seconds of one answer to so many texts of so many tokens in all."""
        base_ms = self.base_ms * math.exp(self.spread * rng.gauss(0.0, 1.0)) if self.spread else self.base_ms
        taken_ms = base_ms + self.per_text_ms * texts + self.per_token_ms * tokens
        if self.tail_share and rng.random() < self.tail_share:
            taken_ms *= self.tail_times
        return taken_ms / 1e3


PRESETS: Final = {
    "none": Latency(),
    "flat": Latency(base_ms=250, per_text_ms=0.5, per_token_ms=0.01, spread=0.2),
    "gemini-001": Latency(base_ms=1_700, spread=0.2),
    "milvus-2x": Latency(base_ms=200, per_text_ms=22, spread=0.2),
    "milvus-5x": Latency(base_ms=200, per_text_ms=88, spread=0.2),
    "study": Latency(base_ms=60, per_text_ms=0.8, per_token_ms=0.04, spread=0.25),
}
"""Latencies by name."""


def latency_of(named: str | Latency) -> Latency:
    """Return a preset by its name, or the latency itself.

    Raises:
        SettingsError: no preset has that name.
    """
    if isinstance(named, Latency):
        return named
    if named not in PRESETS:
        raise SettingsError(
            f"The emulator has no latency {named!r}.{did_you_mean(named, PRESETS)} It has "
            f"{', '.join(PRESETS)}; or give the numbers themselves.",
            path="latency",
            value=named,
            allowed=", ".join(PRESETS),
        )
    return PRESETS[named]
