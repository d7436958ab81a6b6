"""What a request's time is made of: a base, so much a text, so much a token."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FittedLatency", "LatencyFit"]


class FittedLatency(NamedTuple):
    """Seconds of a request = base + texts x per_text + tokens x per_token. None where it cannot be told."""

    base_s: float | None = None
    per_text_s: float | None = None
    per_token_s: float | None = None
    r2: float | None = None
    """The share of the variance that the fit explains."""
    requests: int = 0
    """How many it was fitted to."""


class LatencyFit:
    """Least squares on requests as they come back; old ones fade."""

    def __init__(self, *, half_life: float = 500.0) -> None:
        """Take after how many requests one counts for half as much."""

    def add(self, texts: int, tokens: int, seconds: float) -> None:
        """Count a request that was answered."""
        raise NotImplementedError

    def fitted(self) -> FittedLatency:
        """Return the fit as it stands."""
        raise NotImplementedError
