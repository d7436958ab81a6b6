"""What a service has on one event loop: batchers, caches and the calls for text.

Futures and timers belong to the loop that made them, so a service that is used from two loops (two cells of
a notebook, two tests) has these parts twice. What a project is granted it has once: the quota, the breaker
and the budget of retries are shared by all loops. They are not made for two threads at the same time.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final, TypeAlias

from perfkit.cache import TieredCache
from perfkit.clock import Clock
from perfkit.events import Probe
from perfkit.vertex.batching.batcher import Batcher, Limits
from perfkit.vertex.batching.choose import policy_of
from perfkit.vertex.batching.fixed import AtOnce
from perfkit.vertex.batching.outlet import Outlet
from perfkit.vertex.batching.packing import TokenEstimate
from perfkit.vertex.batching.policy import BatchPolicy
from perfkit.vertex.batching.verdict import RetryRules
from perfkit.vertex.counts import BatchCounts
from perfkit.vertex.embeddings import Embeddings
from perfkit.vertex.models import EmbeddingSpec
from perfkit.vertex.protocols import EmbedReply, EmbedRequest, Text, Transport
from perfkit.vertex.settings import VertexSettings
from perfkit.vertex.text.calls import TextCalls

__all__ = ["NAMESPACE", "Granted", "Running"]

NAMESPACE: Final = "vertex-embeddings"
"""Where kept embeddings lie in the cache."""

_Kind: TypeAlias = tuple[str, int | None, bool]
"""Model, length of the vectors, whether too long a text is cut: what a request's texts have in common."""


class Granted:
    """What the project is granted, whichever loop asks: one way out for each base model."""

    def __init__(
        self,
        transport: Transport,
        settings: VertexSettings,
        *,
        location: str,
        clock: Clock,
        rng: random.Random | None,
        probe: Probe,
    ) -> None:
        self.transport = transport
        self.settings = settings
        self.location = location
        self.clock = clock
        self.rng = rng
        self.probe = probe
        self._counts: dict[str, tuple[EmbeddingSpec, BatchCounts]] = {}
        self._outlets: dict[str, Outlet] = {}
        self._estimates: dict[str, TokenEstimate] = {}

    def outlet(self, spec: EmbeddingSpec) -> Outlet:
        """Return the way out to a model's base model."""
        if spec.quota not in self._outlets:
            self._outlets[spec.quota] = Outlet.of(
                f"vertex {spec.quota} in {self.location}",
                self.settings,
                clock=self.clock,
                rng=self.rng,
                probe=self.probe,
            )
        return self._outlets[spec.quota]

    def estimate(self, spec: EmbeddingSpec) -> TokenEstimate:
        """Return what was learned of a model's tokens."""
        return self._estimates.setdefault(
            spec.id, TokenEstimate(spec.max_text_tokens, max_tokens=spec.max_tokens)
        )

    def counted(self, spec: EmbeddingSpec) -> BatchCounts:
        """Return the counts of a model."""
        return self._counts.setdefault(spec.id, (spec, BatchCounts()))[1]

    def counted_models(self) -> Iterable[tuple[EmbeddingSpec, BatchCounts]]:
        """Return every model that was asked, with its counts."""
        return self._counts.values()


class Running:
    """The parts of a service on one loop."""

    def __init__(self, granted: Granted, *, cache: TieredCache | None) -> None:
        self._granted = granted
        self._cache = None if cache is None else cache.namespaced(NAMESPACE)
        self._outlets: dict[str, Outlet] = {}
        self._embeddings: dict[_Kind, Embeddings] = {}
        self.texts = TextCalls(
            granted.transport,
            granted.settings,
            cache=cache,
            location=granted.location,
            clock=granted.clock,
            rng=granted.rng,
            probe=granted.probe,
        )

    def embeddings(self, spec: EmbeddingSpec, *, dimensions: int | None, auto_truncate: bool) -> Embeddings:
        """Return what answers for a model and a length of vectors."""
        kind = (spec.id, dimensions, auto_truncate)
        if kind not in self._embeddings:
            self._embeddings[kind] = self._made(spec, EmbedRequest(spec.id, (), dimensions, auto_truncate))
        return self._embeddings[kind]

    def batchers(self, model: str) -> list[Batcher]:
        """Return the batchers of a model on this loop."""
        return [made.batcher for (of, *_rest), made in self._embeddings.items() if of == model]

    async def aclose(self, *, patience_s: float) -> None:
        """Answer or fail whoever waits."""
        for made in self._embeddings.values():
            await made.batcher.aclose(patience_s=patience_s)
        await self.texts.aclose()

    def _made(self, spec: EmbeddingSpec, request: EmbedRequest) -> Embeddings:
        granted, settings = self._granted, self._granted.settings
        if spec.quota not in self._outlets:
            self._outlets[spec.quota] = granted.outlet(spec).elsewhere(settings)
        estimate = granted.estimate(spec)
        batcher = Batcher(
            partial(_send, granted.transport, request),
            model=spec.id,
            policy=_policy(settings, spec),
            outlet=self._outlets[spec.quota],
            limits=Limits(
                min(settings.batch_max_texts, spec.max_texts), min(settings.batch_max_tokens, estimate.room)
            ),
            estimate=estimate,
            retrying=RetryRules(settings.request_timeout_seconds, settings.attempts),
            bulk_share=settings.bulk_share,
            counts=granted.counted(spec),
            clock=granted.clock,
            rng=granted.rng,
        )
        return Embeddings(
            request,
            batcher,
            cache=self._cache,
            ttl_seconds=settings.embedding_ttl_seconds,
            patience_s=settings.deadline_seconds,
            clock=granted.clock,
        )


def _policy(settings: VertexSettings, spec: EmbeddingSpec) -> BatchPolicy | None:
    """Return who decides; a model that takes one text a request gives no reason to wait for company."""
    if settings.batch_policy == "off":
        return None
    return AtOnce() if min(settings.batch_max_texts, spec.max_texts) == 1 else policy_of(settings)


async def _send(
    transport: Transport, common: EmbedRequest, texts: Sequence[Text], timeout_s: float
) -> EmbedReply:
    request = EmbedRequest(common.model, texts, common.dimensions, common.auto_truncate)
    return await transport.embed(request, timeout_s=timeout_s)
