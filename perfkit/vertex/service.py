"""The service: embeddings and texts from Vertex AI, gathered, paced, kept, and counted."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Literal, Self, TypeAlias, overload
from weakref import WeakKeyDictionary

from perfkit.cache import TieredCache, get_tiered_cache
from perfkit.clock import Clock, now_s
from perfkit.errors import RequestRefused, Unavailable
from perfkit.events import Probe, log_probe
from perfkit.knobs import Value, of_environment, replaced
from perfkit.vertex.connect import DEFAULT_LOCATION, transport_of
from perfkit.vertex.counted import OfModel, stats_of
from perfkit.vertex.embedding import Embedding
from perfkit.vertex.embeddings import Embedded
from perfkit.vertex.models import ALIASES, EmbeddingSpec, embedding_spec
from perfkit.vertex.protocols import GenerateReply, GenerateRequest, Text, Transport
from perfkit.vertex.running import Granted, Running
from perfkit.vertex.settings import VertexSettings
from perfkit.vertex.stats import BatchStats
from perfkit.vertex.text.answer import TextAnswer
from perfkit.vertex.text.calls import Caching
from perfkit.vertex.text.stats import TextStats

__all__ = ["OptimizedVertexAIService", "Priority"]

Priority: TypeAlias = Literal["auto", "interactive", "bulk"]
"""Which lane a call's texts travel in; `auto` goes by their number."""


class OptimizedVertexAIService:
    """Asks Vertex AI as seldom and as steadily as can be, and gives every caller its own answer.

    Nothing is connected before it is needed. Where no project is configured, an emulator in this process
    answers, and the log says so (`perfkit.vertex.connect`).

    >>> async def main() -> tuple[int, int, int]:
    ...     async with OptimizedVertexAIService(enable_caching=False) as service:
    ...         embeddings = await service.generate_embeddings(texts=["Text 1", "Text 2", "Text 1"])
    ...         stats = await service.get_batch_stats()
    ...     return len(embeddings), len(embeddings[0]), stats.requests
    >>> asyncio.run(main())
    (3, 768, 1)

    Args:
        project: Whose quota and bill it is; default: as the environment says.
        location: The region that is asked; default: the environment's, else `us-central1`.
        enable_batching: Whether texts of several calls share requests; False sends each call by itself.
        enable_caching: Whether what was asked before is answered from memory or Redis.
        semantic_cache_threshold: How similar two prompts must be for one's answer to serve the other;
            default: the knob's. Nothing is answered by similarity yet.
        settings: The knobs; default: as the environment says (`PERFKIT_VERTEX__…`).
        cache: Where answers are kept; default: the process's tiered cache.
        transport: A way to Vertex AI, or `host:port` of an emulator; default: see `perfkit.vertex.connect`.
        models: Embedding models that perfkit's table does not know, or that differ from it.
        clock: The loop's, or one that goes as fast.
        rng: Draws jitter; one with a seed makes a run repeatable.
        probe: Hears what should be known.

    Raises:
        SettingsError: a `PERFKIT_VERTEX__…` variable or a threshold is refused.
        RealServerRequired: nothing is configured, and `PERFKIT_REQUIRE_REAL=1` forbids the emulator.
    """

    def __init__(
        self,
        project: str | None = None,
        location: str | None = None,
        *,
        enable_batching: bool = True,
        enable_caching: bool = True,
        semantic_cache_threshold: float | None = None,
        settings: VertexSettings | None = None,
        cache: TieredCache | None = None,
        transport: Transport | str | None = None,
        models: Iterable[EmbeddingSpec] = (),
        clock: Clock = now_s,
        rng: random.Random | None = None,
        probe: Probe = log_probe,
    ) -> None:
        settings = of_environment(VertexSettings, "vertex", os.environ) if settings is None else settings
        changes: dict[str, Value] = {} if enable_batching else {"batch_policy": "off"}
        if semantic_cache_threshold is not None:
            changes["semantic_cache_threshold"] = semantic_cache_threshold
        self.settings = replaced(settings, changes)
        self.transport = transport_of(transport, project=project, location=location, probe=probe)
        self._granted = Granted(
            self.transport,
            self.settings,
            location=location or DEFAULT_LOCATION,
            clock=clock,
            rng=rng,
            probe=probe,
        )
        self._caching = enable_caching
        self._cache = cache
        self._models = {spec.id: spec for spec in models}
        self._clock = clock
        self._of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Running] = WeakKeyDictionary()
        self._closed = False

    @overload
    async def generate_embeddings(
        self,
        texts: Sequence[str],
        model_id: str = ...,
        *,
        task_type: str = ...,
        title: str = ...,
        output_dimensionality: int | None = ...,
        auto_truncate: bool = ...,
        deadline_s: float | None = ...,
        priority: Priority = ...,
        return_exceptions: Literal[False] = ...,
    ) -> list[Embedding]: ...

    @overload
    async def generate_embeddings(
        self,
        texts: Sequence[str],
        model_id: str = ...,
        *,
        task_type: str = ...,
        title: str = ...,
        output_dimensionality: int | None = ...,
        auto_truncate: bool = ...,
        deadline_s: float | None = ...,
        priority: Priority = ...,
        return_exceptions: Literal[True],
    ) -> list[Embedding | Exception]: ...

    async def generate_embeddings(
        self,
        texts: Sequence[str],
        model_id: str = "text-embedding",
        *,
        task_type: str = "",
        title: str = "",
        output_dimensionality: int | None = None,
        auto_truncate: bool = True,
        deadline_s: float | None = None,
        priority: Priority = "auto",
        return_exceptions: bool = False,
    ) -> list[Embedding] | list[Embedding | Exception]:
        """Return the texts' embeddings, in order.

        Args:
            texts: What to embed; none may be empty.
            model_id: Google's id, or a short name such as `text-embedding`.
            task_type: What the vectors are for, such as `RETRIEVAL_QUERY`.
            title: Of the document, with `RETRIEVAL_DOCUMENT`.
            output_dimensionality: How long each vector is to be; default: the model's full length.
            auto_truncate: Whether a text that is too long is cut; otherwise it is refused.
            deadline_s: How long it may take from now; default: the knob `deadline_seconds`.
            priority: `bulk` lets single queries go first; `auto` does so for more texts than `bulk_texts`.
            return_exceptions: Whether what went wrong stands in a text's place, instead of being raised.

        Raises:
            RequestRefused: a text is empty, or the server would not have it; others may have been answered.
            ModelNotFound: there is no such model.
            ModelTimeout: it was not there in time.
            Unavailable: Vertex AI is away, or this service is closed.
            VertexError: any other way of saying no.
        """
        spec = self._embedding_spec(model_id)
        wanted = [Text(text, task_type, title) for text in _checked(texts, spec.id)]
        within_s = self.settings.deadline_seconds if deadline_s is None else deadline_s
        bulk = len(wanted) > self.settings.bulk_texts if priority == "auto" else priority == "bulk"
        embeddings = self._here().embeddings(
            spec, dimensions=output_dimensionality, auto_truncate=auto_truncate
        )
        embedded = await embeddings.ask(wanted, deadline_s=self._clock() + within_s, bulk=bulk)
        return embedded if return_exceptions else _all_or_raise(embedded)

    async def generate_text(
        self,
        prompt: str,
        model_id: str = "gemini-flash",
        *,
        system: str = "",
        temperature: float | None = None,
        top_p: float | None = None,
        max_output_tokens: int | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
        deadline_s: float | None = None,
        cache: Caching = "auto",
    ) -> TextAnswer:
        """Return what a model writes to a prompt.

        Args:
            prompt: What is asked.
            model_id: Google's id, or a short name such as `gemini-flash`.
            system: How the model is to behave.
            temperature: How freely it chooses; at 0 it is asked once for all who ask the same.
            top_p: Of how much of the probability it chooses.
            max_output_tokens: Where it is cut off.
            stop: Texts at which it ends.
            seed: Repeats a choice, as far as the model can.
            deadline_s: How long it may take from now; default: the longer of `deadline_seconds` and
                `text_timeout_seconds`.
            cache: Whether an old answer will do: at temperature 0 (`auto`), in any case (`exact`), or never.

        Raises:
            RequestRefused, ModelNotFound, ModelTimeout, Unavailable, VertexError: as `generate_embeddings`.
        """
        request = GenerateRequest(
            _text_id(model_id), prompt, system, temperature, top_p, max_output_tokens, tuple(stop), seed
        )
        return await self._here().texts.generate(request, deadline_s=deadline_s, cache=cache)

    def stream_text(
        self,
        prompt: str,
        model_id: str = "gemini-flash",
        *,
        system: str = "",
        temperature: float | None = None,
        top_p: float | None = None,
        max_output_tokens: int | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
        deadline_s: float | None = None,
    ) -> AsyncIterator[str]:
        """Yield what a model writes as it comes; nothing is kept or shared.

        Args:
            prompt: As in `generate_text`, and so are the others.
            deadline_s: How long the first piece may take.
        """
        request = GenerateRequest(
            _text_id(model_id), prompt, system, temperature, top_p, max_output_tokens, tuple(stop), seed
        )
        return _texts_of(self._here().texts.stream(request, deadline_s=deadline_s))

    async def get_batch_stats(self, model_id: str | None = None) -> BatchStats:
        """Return what was done, for one model or for all; see `BatchStats`."""
        return self.stats(model_id)

    def stats(self, model_id: str | None = None) -> BatchStats:
        """Return what was done, for one model or for all; what waits now is the running loop's."""
        wanted = None if model_id is None else self._embedding_spec(model_id).id
        running = self._of_loop.get(asyncio.get_running_loop())
        models = [
            OfModel(
                spec, counts, self._granted.outlet(spec), [] if running is None else running.batchers(spec.id)
            )
            for spec, counts in self._granted.counted_models()
            if wanted in (None, spec.id)
        ]
        return stats_of(models, self.settings)

    def text_stats(self) -> TextStats:
        """Return what was done for generated texts, on the running loop."""
        return self._here().texts.stats

    async def warm(self) -> None:
        """Load the client, connect and authorise now, so that the first caller does not wait for it."""
        await self.transport.warm()

    async def aclose(self, *, patience_s: float = 5.0) -> None:
        """Answer who waits if that takes no longer than this; then fail them, and close connections."""
        self._closed = True
        running = self._of_loop.pop(asyncio.get_running_loop(), None)
        if running is not None:
            await running.aclose(patience_s=patience_s)
        await self.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"OptimizedVertexAIService({self.transport.name}, batching {self.settings.batch_policy})"

    def _here(self) -> Running:
        """Return the running loop's parts."""
        if self._closed:
            raise Unavailable(
                "This Vertex AI service is closed, so nothing was sent. Open a new one.", dependency="vertex"
            )
        loop = asyncio.get_running_loop()
        running = self._of_loop.get(loop)
        if running is None:
            running = self._of_loop[loop] = Running(self._granted, cache=self._cache_here())
        return running

    def _cache_here(self) -> TieredCache | None:
        if not self._caching:
            return None
        return get_tiered_cache() if self._cache is None else self._cache

    def _embedding_spec(self, model_id: str) -> EmbeddingSpec:
        return self._models.get(model_id) or embedding_spec(model_id)


def _checked(texts: Sequence[str], model: str) -> Sequence[str]:
    """Refuse before anything is sent what can never be answered."""
    if isinstance(texts, str):
        raise RequestRefused(
            f"texts is one text of {len(texts)} characters, and each of them would be embedded alone. Put it "
            "into a list.",
            model=model,
        )
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise RequestRefused(
                f"Text {place} is of type {type(text).__name__}, which has no embedding. Give it as a str.",
                model=model,
            )
        if not text.strip():
            raise RequestRefused(
                f"Text {place} is empty: Vertex AI refuses a whole request for one such text. Leave it out.",
                model=model,
            )
    return texts


def _all_or_raise(embedded: Sequence[Embedded]) -> list[Embedding]:
    found = []
    for outcome in embedded:
        if isinstance(outcome, Exception):
            raise outcome
        found.append(outcome)
    return found


def _text_id(model_id: str) -> str:
    return ALIASES.get(model_id, model_id)


async def _texts_of(pieces: AsyncIterator[GenerateReply]) -> AsyncIterator[str]:
    async for piece in pieces:
        if piece.text:
            yield piece.text
