"""A policy on given arrivals, event by event: what it would have sent, and who would have waited how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perfkit.vertex.batching.policy import BatchPolicy, Reason

__all__ = ["Replayed", "replay"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a policy."""

    requests: int
    waits_s: list[float]
    """How long each caller waited, in the order of arrival."""
    reasons: dict[Reason, int]

    def cost_s(self, worth_s: float) -> float:
        """Return the waiting and the requests, at so much a request."""
        return sum(self.waits_s) + self.requests * worth_s


def replay(
    policy: BatchPolicy,
    times_s: Sequence[float],
    tokens: Sequence[int] | None = None,
    *,
    max_texts: int = 250,
    max_tokens: int = 20_000,
    price: float = 1.0,
) -> Replayed:
    """Let a policy decide on arrivals as the batcher's interactive lane would, without quota or time in flight."""
    raise NotImplementedError
