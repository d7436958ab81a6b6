"""A model that does as it is told: what it is asked is written down, and what it answers is scripted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from perfkit.clock import now_s
from perfkit.vertex.batching.batcher import Batcher, Limits
from perfkit.vertex.batching.fixed import FixedWindow
from perfkit.vertex.batching.items import Outcome
from perfkit.vertex.batching.outlet import Outlet
from perfkit.vertex.batching.policy import BatchPolicy
from perfkit.vertex.batching.verdict import RetryRules
from perfkit.vertex.protocols import EmbedReply, Text, Vector
from perfkit.vertex.settings import VertexSettings

__all__ = ["Answer", "ScriptedModel", "ask", "batcher_over", "texts", "told"]

Answer = Callable[[Sequence[str], int], Awaitable[None]]
"""Hears a request's texts and its number, from 1; it may wait or raise."""

TEN_MS = FixedWindow(0.01)


async def _at_once(_texts: Sequence[str], _number: int) -> None:
    """Answer."""


class ScriptedModel:
    """Writes requests down, and answers each text with a vector that says which text it was."""

    def __init__(self, answer: Answer = _at_once, *, after_s: float = 0.1, short_by: int = 0) -> None:
        self.requests: list[tuple[float, list[str]]] = []
        self.cancelled = self.under_way = self.most_under_way = 0
        self._answer = answer
        self._after_s = after_s
        self._short_by = short_by

    async def send(self, wanted: Sequence[Text], _timeout_s: float) -> EmbedReply:
        """Answer a request."""
        contents = [text.content for text in wanted]
        self.requests.append((now_s(), contents))
        number = len(self.requests)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self._after_s)
            await self._answer(contents, number)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1
        answered = contents[: len(contents) - self._short_by]
        numbers = (float(text.rpartition(" ")[2]) for text in answered)
        return EmbedReply([Vector(np.array([number], dtype=np.float32), 3) for number in numbers], 9)

    @property
    def sizes(self) -> list[int]:
        """How many texts each request held."""
        return [len(contents) for _at_s, contents in self.requests]


def texts(*numbers: int) -> list[Text]:
    """Texts that end in numbers."""
    return [Text(f"text {number}") for number in numbers]


def told(outcomes: Sequence[Outcome]) -> list[object]:
    """The number each vector tells, or the name of what went wrong."""
    return [
        outcome.values.tolist()[0] if isinstance(outcome, Vector) else type(outcome).__name__
        for outcome in outcomes
    ]


def batcher_over(
    model: ScriptedModel,
    *,
    policy: BatchPolicy | None = TEN_MS,
    max_texts: int = 250,
    max_tokens: int = 20_000,
    retrying: RetryRules | None = None,
    settings: VertexSettings | None = None,
    places: int = 32,
    seed: int = 1,
) -> Batcher:
    """A batcher that waits 10 ms for company, without a quota unless the settings name one."""
    settings = settings or VertexSettings(requests_per_minute=0, inflight_max=places)
    rng = random.Random(seed)  # noqa: S311  # repeatable
    return Batcher(
        model.send,
        model="a model",
        policy=policy,
        outlet=Outlet.of("a model", settings, clock=now_s, rng=rng),
        limits=Limits(max_texts, max_tokens),
        retrying=retrying,
        bulk_share=settings.bulk_share,
        clock=now_s,
        rng=rng,
    )


async def ask(
    batcher: Batcher, *numbers: int, within_s: float = 10.0, bulk: bool = False
) -> Sequence[Outcome]:
    """What texts with these numbers came to."""
    return await batcher.submit(texts(*numbers), deadline_s=now_s() + within_s, bulk=bulk)
