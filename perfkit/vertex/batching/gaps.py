"""What the gaps between callers say of how long to wait for the next."""

from __future__ import annotations

__all__ = ["GapHistogram"]


class GapHistogram:
    """Gaps between callers in logarithmic buckets; old ones fade."""

    def __init__(self, *, half_life: float = 400.0, share: float = 0.7) -> None:
        raise NotImplementedError

    def observe(self, gap_s: float) -> None:
        """Count a gap between two callers."""
        raise NotImplementedError

    def silence_s(self, callers: int, worth_s: float) -> float:
        """Return how long a silence so many callers should bear for one more, when a request is worth so much."""
        raise NotImplementedError
