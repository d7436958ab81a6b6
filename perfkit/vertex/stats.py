"""What the service did, as a value to print, compare and keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["BatchStats", "Spread"]


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the tail of something measured."""

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class BatchStats:
    """What a service did since it was made (`get_batch_stats`)."""

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        raise NotImplementedError
