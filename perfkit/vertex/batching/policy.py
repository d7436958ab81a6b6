"""What the batcher asks of a policy: how long what waits should go on waiting for company.

A policy knows when callers came and nothing else: neither texts, nor quota, nor what is under way. The
batcher (`perfkit.vertex.batching.batcher`) knows those, and asks again whenever somebody comes.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

__all__ = ["BatchPolicy", "Reason"]

Reason: TypeAlias = Literal[
    "at_once", "gap", "greedy", "window", "full", "tokens", "deadline", "bulk", "part"
]
"""Why a request was sent when it was: nobody was worth waiting for (`at_once`), nobody came in time (`gap`),
the callers had waited for as long as a request is worth (`greedy`), the window was over, the request was full
by texts or by tokens, a deadline came near, the bulk lane had its turn, or its texts are part of a request
that was refused."""


class BatchPolicy(Protocol):
    """Decides when what waits is sent, if nobody else comes."""

    def arrived(self, at_s: float) -> None:
        """Hear that a caller came."""
        ...

    def due(self, now_s: float, callers: int, waited_s: float, price: float) -> tuple[float, Reason]:
        """Say until when to wait for the next caller, and why; now or earlier means: send at once.

        Args:
            now_s: The time, which is also when the last caller came.
            callers: How many wait, the last one counted.
            waited_s: How long they have waited, added up.
            price: What a request is worth against its usual worth, 1 or more: it rises as quota runs out.
        """
        ...
