"""The simplest policies: a fixed window, and none."""

from __future__ import annotations

from perfkit.vertex.batching.policy import Reason

__all__ = ["AtOnce", "FixedWindow"]


class FixedWindow:
    """Sends a fixed time after the first caller came.

    >>> window = FixedWindow(0.010)
    >>> window.due(5.0, 1, 0.0, 1.0)
    (5.01, 'window')
    >>> window.due(5.004, 2, 0.004, 1.0)
    (5.01, 'window')
    """

    def __init__(self, window_s: float) -> None:
        """Take how long the first caller waits."""
        self.window_s = window_s
        self._callers = 1  # so that the first one opens a window
        self._ends_s = 0.0

    def arrived(self, at_s: float) -> None:
        """Learn nothing."""

    def due(self, now_s: float, callers: int, waited_s: float, price: float) -> tuple[float, Reason]:
        """Return the end of the window that the first of the callers opened."""
        if callers <= self._callers:  # others than before: a request was sent, or somebody left
            self._ends_s = now_s + self.window_s - waited_s / callers
        self._callers = callers
        return self._ends_s, "window"


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
