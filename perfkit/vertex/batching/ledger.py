"""What the waiting of late cost, to be held against the least it could have cost.

A policy learns of callers as they come; whoever had known them all beforehand would have done better. The
ledger keeps what is needed to say by how much: when each text came and when it left. `offline_optimum` plays
the same arrivals with hindsight.
"""

from __future__ import annotations

from collections import deque

from perfkit.vertex.batching.offline import offline_optimum

__all__ = ["Ledger"]

_KEPT = 4_096


class Ledger:
    """The last few thousand single queries."""

    __slots__ = ("_lines", "_request")

    def __init__(self) -> None:
        self._lines: deque[tuple[float, int, float, int]] = deque(maxlen=_KEPT)
        self._request = 0

    def sent(self, texts: list[tuple[float, int]], at_s: float) -> None:
        """Write down a request: when each of its texts came, its tokens, and when all left."""
        self._request += 1
        for came_s, tokens in texts:
            self._lines.append((came_s, tokens, at_s, self._request))

    def regret(self, *, worth_s: float, max_texts: int, max_tokens: int) -> float | None:
        """Return the cost of requests and waiting over the least possible; None where too little is known."""
        lines = sorted(self._lines)
        if len(lines) < 2:
            return None
        paid_s = worth_s * len({number for *_rest, number in lines})
        paid_s += sum(sent_s - came_s for came_s, _tokens, sent_s, _number in lines)
        least = offline_optimum(
            [came_s for came_s, *_rest in lines],
            [tokens for _came_s, tokens, *_rest in lines],
            worth_s=worth_s,
            max_texts=max_texts,
            max_tokens=max_tokens,
        )
        return paid_s / least.cost_s
