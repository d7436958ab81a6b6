"""What the service did, as a value to print, compare and keep.

*Requests saved are not money saved.* Vertex AI bills embeddings by the character or the token, so a batch
costs what its texts cost alone: it saves quota, processor time and waiting. Money is saved by answers that
were not asked for, because they were cached or shared; the two are never added up here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from perfkit.vertex.digest import Digest
from perfkit.vertex.latency_fit import FittedLatency

__all__ = ["BatchStats", "Spread"]


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the tail of something measured; all 0 where nothing was.

    >>> digest = Digest()
    >>> for seconds in (0.010, 0.020, 0.030):
    ...     digest.add(seconds)
    >>> Spread.of(digest, 1_000).mean
    20.0
    """

    mean: float
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, digest: Digest, scale: float = 1.0) -> Spread:
        """Return what a digest holds, in units of its own divided by `scale`."""
        mean, p50, p95, p99 = (
            float(f"{value * scale:.6g}") for value in (digest.mean, *map(digest.quantile, (0.5, 0.95, 0.99)))
        )
        return cls(mean, p50, p95, p99)


@dataclass(frozen=True, slots=True)
class BatchStats:
    """What a service did since it was made (`get_batch_stats`).

    Each text ended in one way: `texts == answered + cancelled + failed + expired` when nothing is under way;
    an answer was cached (`cache_hits`), shared (`coalesced`) or sent for.
    """

    calls: int
    """Calls of `generate_embeddings`."""
    texts: int
    answered: int
    cancelled: int
    """Texts whose caller left."""
    failed: int
    expired: int
    """Texts that had not come by the call's deadline."""
    cache_hits: int
    """Texts answered from memory or Redis; exactly the same text, never a similar one."""
    coalesced: int
    """Texts that joined one that was already on its way."""
    unique: int
    """Texts that were sent for."""
    requests: int
    """Requests sent, retries counted."""
    requests_saved: int
    """Requests there would have been, had each text travelled alone, less those there were."""
    refused_quota: int
    """Requests refused because the quota was spent (429)."""
    retries: int
    """Texts sent once more after a refusal or a failure."""
    splits: int
    """Requests cut because the server would not have them whole."""
    texts_per_request: Spread
    tokens_per_request: Spread
    batch_fill: float
    """The share of the texts a request may hold that they held on average."""
    added_wait_ms: Spread
    """From asked to first sent: what company, quota and places cost, by text."""
    rpc_ms: Spread
    """From sent to answered, by request."""
    e2e_ms: Spread
    """From asked to answered, by call, cache hits included."""
    dispatch_reasons: dict[str, int]
    """Requests by why they were sent when they were (`perfkit.vertex.batching.policy.Reason`)."""
    waiting: int
    """Texts that wait now."""
    under_way: int
    """Requests that are under way now."""
    breaker_state: str
    """Of the base model that fares worst: `open`, `half_open` or `closed`."""
    quota_utilisation: float
    """The share of the quota the last minute took."""
    bucket_depletion: float
    """How far what may be sent at once is spent now, from 0 to 1."""
    latency_fit: FittedLatency
    """What a request's time is made of."""
    input_tokens: int
    billable_characters: int
    characters_saved: int
    """Characters of cached and shared answers."""
    usd: float
    """At list price."""
    usd_saved: float
    """What cached and shared answers would have cost."""
    cost_vs_offline: float | None
    """What requests and waiting cost of late, against the least it could have been had every arrival been
    known beforehand; None where too little was sent. No money: a request counts `request_worth_ms`."""

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        return asdict(self) | {"latency_fit": self.latency_fit._asdict()}
