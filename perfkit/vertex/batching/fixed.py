"""The simplest policies: a fixed window, and none."""

from __future__ import annotations

from perfkit.vertex.batching.policy import Reason

__all__ = ["AtOnce", "FixedWindow"]


class FixedWindow:
    """Sends a fixed time after the first caller came."""

    def __init__(self, window_s: float) -> None:
        """Take how long the first caller waits."""
        self.window_s = window_s

    def arrived(self, at_s: float) -> None:
        """Learn nothing."""

    def due(self, now_s: float, callers: int, waited_s: float, price: float) -> tuple[float, Reason]:
        """Return the end of the window."""
        raise NotImplementedError


class AtOnce:
    """Never waits.

    >>> AtOnce().due(10.0, 1, 0.0, 1.0)
    (10.0, 'at_once')
    """

    def arrived(self, at_s: float) -> None:
        """Learn nothing."""

    def due(self, now_s: float, callers: int, waited_s: float, price: float) -> tuple[float, Reason]:
        """Return now."""
        return now_s, "at_once"
