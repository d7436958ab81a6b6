"""What the batcher counts as it goes: plain numbers, because every text adds to them."""

from __future__ import annotations

from dataclasses import dataclass, field

from perfkit.vertex.digest import Digest

__all__ = ["BatchCounts"]


@dataclass(slots=True)
class BatchCounts:
    """The totals of one service since it was made.

    Every text asked for ends once: `texts == answered + cancelled + failed + expired` when nothing is under way.
    """

    calls: int = 0
    """Calls of `generate_embeddings`."""
    texts: int = 0
    """Texts asked for, before the cache."""
    cache_hits: int = 0
    """Texts whose embedding was cached."""
    unique: int = 0
    """Texts that were queued to be sent."""
    coalesced: int = 0
    """Texts that joined one already queued or under way."""
    answered: int = 0
    """Texts answered, from wherever."""
    requests: int = 0
    """Requests sent, retries counted."""
    sent_texts: int = 0
    """Texts in them, retries counted."""
    refused_quota: int = 0
    """Requests refused with 429."""
    retries: int = 0
    """Texts queued again after a refusal."""
    splits: int = 0
    """Requests cut in two because the server would not have them whole."""
    cancelled: int = 0
    """Texts whose caller left."""
    failed: int = 0
    """Texts whose caller got an error, deadlines apart."""
    expired: int = 0
    """Texts whose deadline passed."""
    input_tokens: int = 0
    """As the server counted."""
    billable_characters: int = 0
    """As the server counted."""
    usd: float = 0.0
    """What the answered requests cost at list price."""
    characters_saved: int = 0
    """Characters that a cached or shared answer kept off the bill."""
    usd_saved: float = 0.0
    """Their list price."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Requests by why they were sent when they were."""
    added_wait_s: Digest = field(default_factory=Digest)
    """From queued to first sent, each text."""
    rpc_s: Digest = field(default_factory=Digest)
    """From sent to answered, each request."""
    e2e_s: Digest = field(default_factory=Digest)
    """From asked to answered, each call."""
    texts_per_request: Digest = field(default_factory=Digest)
    tokens_per_request: Digest = field(default_factory=Digest)

    def save(self, text: str) -> None:
        """Count a text whose answer cost nothing; what is billed are its characters that are not space."""
        self.characters_saved += len(text) - text.count(" ")
