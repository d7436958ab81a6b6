"""A learned policy, watched: whichever of it and greedy has cost less lately decides."""

from __future__ import annotations

__all__ = ["Shadow"]


class Shadow:
    """What a policy would have cost, reckoned beside the one that decides."""
