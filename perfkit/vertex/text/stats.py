"""What calls for text have come to."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TextStats"]


@dataclass(frozen=True, slots=True)
class TextStats:
    """What was done since the start.

    Each call ended in exactly one way, or is `open`: answered, `failed` or `cancelled`. An answer came from
    the cache (`cache_hits`), from a call under way (`coalesced`), or from a request of its own.
    """

    calls: int
    answered: int
    failed: int
    cancelled: int
    coalesced: int
    cache_hits: int
    streams: int
    """Calls that were streams."""
    requests: int
    """Requests sent, retries included."""
    retries: int
    refused_quota: int
    """Requests refused because the quota was spent (429)."""
    retries_denied: int
    """Retries that the budget did not allow."""
    inflight: int
    waiting: int
    limit: int
    """How many requests may be under way now, over all models asked so far."""
    input_tokens: int
    output_tokens: int
    dollars: float
    """At list price; 0 for models perfkit knows no price of."""
    dollars_saved: float
    """What answers from the cache and from calls under way would have cost."""
    e2e_p50_ms: float
    """Of calls that were answered, cache included; a stream ends with its last piece."""
    e2e_p95_ms: float
    e2e_p99_ms: float
    first_piece_p50_ms: float
    """Of streams, until the first piece."""
    first_piece_p95_ms: float
