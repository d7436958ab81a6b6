"""What is counted as it happens, for one model: plain numbers, because every text adds to them."""

from __future__ import annotations

from dataclasses import dataclass, field

from perfkit.vertex.digest import Digest

__all__ = ["BatchCounts"]


@dataclass(slots=True)
class BatchCounts:
    """The totals of one model; `perfkit.vertex.stats.BatchStats` says what each is."""

    calls: int = 0
    texts: int = 0
    answered: int = 0
    cancelled: int = 0
    failed: int = 0
    expired: int = 0
    cache_hits: int = 0
    coalesced: int = 0
    unique: int = 0
    requests: int = 0
    sent_texts: int = 0
    """Texts in the requests, those sent once more counted again."""
    refused_quota: int = 0
    retries: int = 0
    splits: int = 0
    input_tokens: int = 0
    billable_characters: int = 0
    characters_saved: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    added_wait_s: Digest = field(default_factory=Digest)
    rpc_s: Digest = field(default_factory=Digest)
    e2e_s: Digest = field(default_factory=Digest)
    texts_per_request: Digest = field(default_factory=Digest)
    tokens_per_request: Digest = field(default_factory=Digest)

    def save(self, text: str) -> None:
        """Count a text whose answer cost nothing; what is billed are its characters that are not space."""
        self.characters_saved += len(text) - text.count(" ")
