"""Embeddings of one model and length on one event loop: the exact cache in front, the batcher behind it.

    memory ──▶ Redis ──▶ batcher ──▶ Vertex AI

Only what neither tier has is sent, and all of a call's texts that are missing are submitted together, so that
they share requests with each other and with whatever else waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

from perfkit.cache import TieredCache
from perfkit.clock import Clock
from perfkit.errors import ModelTimeout
from perfkit.vertex.batching.batcher import Batcher
from perfkit.vertex.batching.items import Outcome
from perfkit.vertex.embedding import Embedding, kept, key_of, prefix_of, restored
from perfkit.vertex.protocols import EmbedRequest, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Embedded", "Embeddings"]

Embedded: TypeAlias = Embedding | Exception
"""What a text came to."""


class Embeddings:
    """Answers for one model and length of vectors, and counts what came of every text.

    Args:
        request: The model and what else a request's texts have in common; its own texts are not looked at.
        batcher: Sends what is nowhere.
        cache: Keeps what was sent; None keeps nothing.
        ttl_seconds: How long.
        patience_s: How long a text may be on its way, whoever wants it: the longest of all deadlines.
        clock: The loop's.
    """

    def __init__(
        self,
        request: EmbedRequest,
        batcher: Batcher,
        *,
        cache: TieredCache | None,
        ttl_seconds: float,
        patience_s: float,
        clock: Clock,
    ) -> None:
        self.batcher = batcher
        self._request = request
        self._prefix = prefix_of(request)
        self._cache = cache
        self._ttl_seconds = ttl_seconds
        self._patience_s = patience_s
        self._clock = clock

    async def ask(self, texts: Sequence[Text], *, deadline_s: float, bulk: bool) -> list[Embedded]:
        """Return what each text came to, in order; what is not there at `deadline_s` is a `ModelTimeout`."""
        counts, asked_s = self.batcher.counts, self._clock()
        counts.calls += 1
        counts.texts += len(texts)
        try:
            if self._cache is None:
                outcomes = await self.batcher.submit(texts, deadline_s=deadline_s, bulk=bulk)
                embedded = [_fresh(outcome) for outcome in outcomes]
            else:
                embedded = await self._through(self._cache, texts, deadline_s=deadline_s, bulk=bulk)
        except asyncio.CancelledError:
            counts.cancelled += len(texts)
            raise
        for outcome in embedded:
            if isinstance(outcome, Embedding):
                counts.answered += 1
            elif isinstance(outcome, ModelTimeout):
                counts.expired += 1
            else:
                counts.failed += 1
        counts.e2e_s.add(self._clock() - asked_s)
        return embedded

    async def _through(
        self, cache: TieredCache, texts: Sequence[Text], *, deadline_s: float, bulk: bool
    ) -> list[Embedded]:
        """Look in memory for all at once, and further for what is missing."""
        found: dict[str, Embedded] = {}
        missing: dict[str, Text] = {}
        keys = [key_of(self._prefix, text) for text in texts]
        for key, text in zip(keys, texts, strict=True):
            if key in found or key in missing:
                self.batcher.counts.coalesced += 1
                self.batcher.counts.save(text.content)
                continue
            entry = cache.serving.held(cache.full_key(key))
            if entry is None:
                missing[key] = text
            else:
                found[key] = restored(cast("NDArray[np.float32]", entry.value), cached=True)
                self._hit(text)
        if missing:
            found |= await self._fetched(cache, missing, deadline_s=deadline_s, bulk=bulk)
        return [found[key] for key in keys]

    async def _fetched(
        self, cache: TieredCache, missing: dict[str, Text], *, deadline_s: float, bulk: bool
    ) -> dict[str, Embedded]:
        """Ask Redis, then Vertex AI; each text is one flight, which others may join and outlive us in."""
        now = self._clock()
        together = _Together(
            self.batcher,
            deadline_s=max(deadline_s, now + self._patience_s),
            wanted_s=deadline_s,
            bulk=bulk,
        )
        tasks = {
            key: asyncio.create_task(self._look_up(cache, key, text, together))
            for key, text in missing.items()
        }
        try:
            await asyncio.wait(tasks.values(), timeout=max(0.0, deadline_s - now))
            return {key: self._outcome(task) for key, task in tasks.items()}
        finally:
            for task in tasks.values():
                task.cancel()  # nothing to those that are done

    async def _look_up(self, cache: TieredCache, key: str, text: Text, together: _Together) -> Embedding:
        result = await cache.lookup(
            key,
            partial(together.load, text),
            l1_ttl_seconds=self._ttl_seconds,
            l2_ttl_seconds=self._ttl_seconds,
        )
        cached = result.tier in ("l1", "l2")
        if cached:
            self._hit(text)
        elif result.tier == "joined":
            self.batcher.counts.coalesced += 1
            self.batcher.counts.save(text.content)
        return restored(result.value, cached=cached)

    def _outcome(self, task: asyncio.Task[Embedding]) -> Embedded:
        if not task.done():
            return self._late()
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, Exception):
            return error
        raise error

    def _hit(self, text: Text) -> None:
        self.batcher.counts.cache_hits += 1
        self.batcher.counts.save(text.content)

    def _late(self) -> ModelTimeout:
        return ModelTimeout(
            f"{self._request.model} did not answer before the call's deadline. Allow more time, or find out "
            "why it has become slow.",
            dependency=self._request.model,
        )


class _Together:
    """Submits in one call what reaches Vertex AI in the same turn of the loop."""

    def __init__(self, batcher: Batcher, *, deadline_s: float, wanted_s: float, bulk: bool) -> None:
        self._batcher = batcher
        self._deadline_s = deadline_s
        self._wanted_s = wanted_s
        self._bulk = bulk
        self._open: _Submission | None = None

    async def load(self, text: Text) -> NDArray[np.float32]:
        """Return a text's vector as the cache keeps it."""
        if self._open is None:
            self._open = _Submission()
            self._open.task = asyncio.create_task(self._submit(self._open))
        submission = self._open
        place = len(submission.texts)
        submission.texts.append(text)
        submission.wanted += 1
        assert submission.task is not None  # noqa: S101  # for the type checker: set with the submission
        try:
            outcomes = await asyncio.shield(submission.task)
        finally:
            submission.wanted -= 1
            if not submission.wanted:
                submission.task.cancel()
        outcome = outcomes[place]
        if isinstance(outcome, Exception):
            raise outcome
        return kept(outcome)

    async def _submit(self, submission: _Submission) -> Sequence[Outcome]:
        await asyncio.sleep(0)  # whoever comes in this turn is still to come
        self._open = None
        return await self._batcher.submit(
            submission.texts, deadline_s=self._deadline_s, wanted_s=self._wanted_s, bulk=self._bulk
        )


class _Submission:
    """Texts that are submitted together, and how many of them somebody waits for."""

    __slots__ = ("task", "texts", "wanted")

    def __init__(self) -> None:
        self.texts: list[Text] = []
        self.wanted = 0
        self.task: asyncio.Task[Sequence[Outcome]] | None = None


def _fresh(outcome: Outcome) -> Embedded:
    if isinstance(outcome, Exception):
        return outcome
    return Embedding(outcome.values, outcome.token_count, outcome.truncated)
