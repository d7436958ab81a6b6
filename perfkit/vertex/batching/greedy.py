"""Wait until the waiting has cost as much as a request is worth."""

from __future__ import annotations

from perfkit.vertex.batching.policy import Reason

__all__ = ["Greedy"]


class Greedy:
    """Sends when what the callers have waited, added up, comes to what a request is worth.

    >>> Greedy(0.025).due(10.0, 2, 0.005, 1.0)
    (10.01, 'greedy')
    """

    def __init__(self, worth_s: float) -> None:
        """Take how many seconds of one caller's waiting a saved request is worth."""
        self.worth_s = worth_s

    def arrived(self, at_s: float) -> None:
        """Learn nothing."""

    def due(self, now_s: float, callers: int, waited_s: float, price: float) -> tuple[float, Reason]:
        """Return when the waiting comes to the worth."""
        return now_s + (self.worth_s * price - waited_s) / callers, "greedy"
