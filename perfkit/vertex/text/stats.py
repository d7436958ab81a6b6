"""What calls for text have come to."""

from __future__ import annotations

from dataclasses import dataclass

from perfkit.vertex.digest import Digest
from perfkit.vertex.models import TEXT_MODELS

__all__ = ["Counts", "TextStats"]


class Counts:
    """The running counts."""

    def __init__(self) -> None:
        self.calls = self.answered = self.failed = self.cancelled = 0
        self.coalesced = self.cache_hits = self.streams = 0
        self.requests = self.retries = self.retries_denied = self.refused_quota = 0
        self.input_tokens = self.output_tokens = 0
        self.dollars = self.dollars_saved = 0.0
        self.e2e = Digest()
        self.first_piece = Digest()

    def paid(self, model: str, input_tokens: int, output_tokens: int) -> None:
        """Count the tokens of an answer that the model gave."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.dollars += dollars_of(model, input_tokens, output_tokens)

    def saved(self, model: str, input_tokens: int, output_tokens: int) -> None:
        """Count what an answer would have cost that came without a request of its own."""
        self.dollars_saved += dollars_of(model, input_tokens, output_tokens)

    def stats(self, *, inflight: int, waiting: int, limit: int) -> TextStats:
        """Return the counts as a value, with what the lines know beside them."""
        return TextStats(
            calls=self.calls,
            answered=self.answered,
            failed=self.failed,
            cancelled=self.cancelled,
            coalesced=self.coalesced,
            cache_hits=self.cache_hits,
            streams=self.streams,
            requests=self.requests,
            retries=self.retries,
            retries_denied=self.retries_denied,
            refused_quota=self.refused_quota,
            inflight=inflight,
            waiting=waiting,
            limit=limit,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            dollars=self.dollars,
            dollars_saved=self.dollars_saved,
            e2e_p50_ms=1e3 * self.e2e.quantile(0.5),
            e2e_p95_ms=1e3 * self.e2e.quantile(0.95),
            e2e_p99_ms=1e3 * self.e2e.quantile(0.99),
            first_piece_p50_ms=1e3 * self.first_piece.quantile(0.5),
            first_piece_p95_ms=1e3 * self.first_piece.quantile(0.95),
        )


@dataclass(frozen=True, slots=True)
class TextStats:
    """What was done since the start.

    Each call that has ended was answered, failed, or cancelled by its caller. An answer came from the cache
    (`cache_hits`), from a call that was under way (`coalesced`), or from requests of its own.
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
    retries_denied: int
    """Retries that the budget did not allow."""
    refused_quota: int
    """Requests refused because the quota was spent (429)."""
    inflight: int
    waiting: int
    """Calls that wait for a place."""
    limit: int
    """How many requests may be under way now, added up over the models asked so far."""
    input_tokens: int
    output_tokens: int
    dollars: float
    """At list price; 0 for models that perfkit knows no price of."""
    dollars_saved: float
    """What answers from the cache and from calls under way would have cost."""
    e2e_p50_ms: float
    """Of calls that were answered, from the cache as well; a stream ends with its last piece."""
    e2e_p95_ms: float
    e2e_p99_ms: float
    first_piece_p50_ms: float
    """Of streams, until the first piece."""
    first_piece_p95_ms: float

    @property
    def open(self) -> int:
        """Calls that have not ended."""
        return self.calls - self.answered - self.failed - self.cancelled


def dollars_of(model: str, input_tokens: int, output_tokens: int) -> float:
    """Return what a request costs at list price; 0 for a model that perfkit knows no price of."""
    spec = TEXT_MODELS.get(model)
    return 0.0 if spec is None else spec.dollars(input_tokens=input_tokens, output_tokens=output_tokens)
