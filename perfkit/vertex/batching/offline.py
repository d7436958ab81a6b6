"""What the best possible schedule would have cost, knowing every arrival in advance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Optimum", "offline_optimum"]


class Optimum(NamedTuple):
    """The cheapest way to gather given callers into requests."""

    cost_s: float
    """Requests times their worth, and the waiting."""
    requests: int
    waited_s: float
    """All callers' waiting, added up."""


def offline_optimum(
    times_s: Sequence[float],
    tokens: Sequence[int] | None = None,
    *,
    worth_s: float,
    max_texts: int = 250,
    max_tokens: int = 20_000,
) -> Optimum:
    """Return the cheapest schedule for arrivals that are known in advance."""
    raise NotImplementedError
