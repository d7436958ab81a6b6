"""How much of a quota is ours, when refusals say that somebody else draws on it too."""

from __future__ import annotations

__all__ = ["Share"]


class Share:
    """The share of the quota to draw on, from a twentieth to 1: cut by refusals, recovering with time."""

    def __init__(self) -> None:
        self.value = 1.0

    def refused(self, now_s: float, sent_s: float | None = None) -> bool:
        """Hear of a refusal and return whether it cut the share: many of one burst cut it once."""
        raise NotImplementedError

    def recover(self, now_s: float) -> bool:
        """Let time pass and return whether the share has grown."""
        raise NotImplementedError
