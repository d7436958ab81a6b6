"""From counts to statistics: what was counted for one model or several, put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from perfkit.vertex.batching.batcher import Batcher
from perfkit.vertex.batching.outlet import Outlet
from perfkit.vertex.counts import BatchCounts
from perfkit.vertex.digest import Digest
from perfkit.vertex.latency_fit import FittedLatency
from perfkit.vertex.models import EmbeddingSpec
from perfkit.vertex.settings import VertexSettings
from perfkit.vertex.stats import BatchStats, Spread

__all__ = ["OfModel", "stats_of"]

_WORST_FIRST = ("forced_open", "open", "half_open", "metrics_only", "disabled", "closed")


@dataclass(frozen=True, slots=True)
class OfModel:
    """What there is to tell of one model."""

    spec: EmbeddingSpec
    counts: BatchCounts
    outlet: Outlet
    batchers: Sequence[Batcher]
    """On the running loop."""

    @property
    def usd(self) -> float:
        """What was billed, at list price."""
        return self.spec.dollars(characters=self.counts.billable_characters, tokens=self.counts.input_tokens)

    @property
    def usd_saved(self) -> float:
        """What was not, for each character at the price that was paid for one."""
        counts = self.counts
        by_the_character = self.spec.dollars(characters=1)
        if not by_the_character and counts.billable_characters:
            by_the_character = self.usd / counts.billable_characters
        return counts.characters_saved * by_the_character


def stats_of(models: Sequence[OfModel], settings: VertexSettings) -> BatchStats:
    """Return the statistics of one model, or of several together."""
    all_counts = [of.counts for of in models]
    batchers = [batcher for of in models for batcher in of.batchers]
    outlets = list({id(of.outlet.quota): of.outlet for of in models}.values())

    def total(name: str) -> int:
        return sum(getattr(counts, name) for counts in all_counts)

    def spread(name: str, scale: float = 1.0) -> Spread:
        return Spread.of(reduce(_merged, (getattr(counts, name) for counts in all_counts), Digest()), scale)

    room = sum(of.counts.requests * min(of.spec.max_texts, settings.batch_max_texts) for of in models)
    reasons: Counter[str] = sum((Counter(counts.reasons) for counts in all_counts), Counter())
    states = [outlet.breaker.state for outlet in outlets] or ["closed"]
    return BatchStats(
        **{
            name: total(name)
            for name in (
                *("calls", "texts", "answered", "cancelled", "failed", "expired", "cache_hits", "coalesced"),
                *("unique", "requests", "refused_quota", "retries", "splits", "input_tokens"),
                *("billable_characters", "characters_saved"),
            )
        },
        requests_saved=max(0, total("unique") + total("coalesced") + total("cache_hits") - total("requests")),
        texts_per_request=spread("texts_per_request"),
        tokens_per_request=spread("tokens_per_request"),
        batch_fill=total("sent_texts") / room if room else 0.0,
        added_wait_ms=spread("added_wait_s", 1_000),
        rpc_ms=spread("rpc_s", 1_000),
        e2e_ms=spread("e2e_s", 1_000),
        dispatch_reasons=dict(reasons.most_common()),
        waiting=sum(batcher.waiting for batcher in batchers),
        under_way=sum(batcher.under_way for batcher in batchers),
        breaker_state=min(states, key=_WORST_FIRST.index),
        quota_utilisation=max((outlet.quota.utilisation for outlet in outlets), default=0.0),
        bucket_depletion=max((outlet.quota.depletion for outlet in outlets), default=0.0),
        latency_fit=max(
            (batcher.fit.fitted() for batcher in batchers), key=_requests, default=FittedLatency()
        ),
        usd=sum(of.usd for of in models),
        usd_saved=sum(of.usd_saved for of in models),
        cost_vs_offline=_regret(batchers, settings),
    )


def _merged(whole: Digest, part: Digest) -> Digest:
    whole.merge(part)
    return whole


def _requests(fit: FittedLatency) -> int:
    return fit.requests


def _regret(batchers: Sequence[Batcher], settings: VertexSettings) -> float | None:
    """Of the batcher that sent most."""
    busiest = max(batchers, key=lambda batcher: batcher.fit.requests, default=None)
    if busiest is None:
        return None
    return busiest.ledger.regret(
        worth_s=settings.request_worth_ms / 1_000,
        max_texts=busiest.limits.max_texts,
        max_tokens=busiest.limits.max_tokens,
    )
