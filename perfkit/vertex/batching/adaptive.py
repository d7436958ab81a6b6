"""How long to wait for company, learned from the gaps between callers and bounded by what it costs."""

from __future__ import annotations

from perfkit.vertex.batching.policy import Reason

__all__ = ["AdaptivePolicy"]


class AdaptivePolicy:
    """Waits for the next caller as long as that is likely to pay."""

    def __init__(self, worth_s: float, *, guarded: bool = True) -> None:
        """Take how many seconds of one caller's waiting a saved request is worth."""
        self.worth_s = worth_s

    def arrived(self, at_s: float) -> None:
        """Learn the gap since the last caller."""
        raise NotImplementedError

    def due(self, now_s: float, callers: int, waited_s: float, price: float) -> tuple[float, Reason]:
        """Say until when to wait for the next caller, and why."""
        raise NotImplementedError
