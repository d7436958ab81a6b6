"""Calls for generated text: cache, coalescing, concurrency, retries, deadlines."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Literal, TypeAlias

from perfkit.clock import Clock, now_s
from perfkit.events import Probe, null_probe
from perfkit.vertex.protocols import GenerateReply, GenerateRequest, TextModel
from perfkit.vertex.settings import VertexSettings
from perfkit.vertex.text.answer import TextAnswer
from perfkit.vertex.text.stats import TextStats

if TYPE_CHECKING:
    from perfkit.cache.tiered import TieredCache

__all__ = ["Caching", "TextCalls"]

Caching: TypeAlias = Literal["auto", "exact", "off"]
"""Whether an old answer will do: where the temperature is 0 (`auto`), for this call, or not."""


class TextCalls:
    """Asks a model for text, on behalf of many callers. Belongs to one event loop.

    Args:
        transport: What is asked.
        settings: The knobs.
        cache: Where answers are kept, in a namespace of their own; None keeps none.
        location: Where the model runs, for the names of breakers.
        clock: Tells the time.
        rng: For the jitter of waits.
        probe: Hears what should be known.
    """

    def __init__(
        self,
        transport: TextModel,
        settings: VertexSettings | None = None,
        *,
        cache: TieredCache | None = None,
        location: str = "",
        clock: Clock = now_s,
        rng: random.Random | None = None,
        probe: Probe = null_probe,
    ) -> None:
        raise NotImplementedError

    async def generate(
        self,
        request: GenerateRequest,
        *,
        deadline_s: float | None = None,
        cache: Caching = "auto",
        coalesce: bool | None = None,
    ) -> TextAnswer:
        """Return the model's answer.

        Args:
            request: The prompt and how to answer it.
            deadline_s: How long it may take, queues and retries included; default: the knob's.
            cache: Whether an old answer will do.
            coalesce: Whether callers with the same request share one answer; default: where one would be kept.
        """
        raise NotImplementedError

    def stream(
        self, request: GenerateRequest, *, deadline_s: float | None = None
    ) -> AsyncIterator[GenerateReply]:
        """Yield the model's answer as it comes; nothing is kept or shared.

        Args:
            request: The prompt and how to answer it.
            deadline_s: How long the first piece may take; each later one has `request_timeout_seconds`.
        """
        raise NotImplementedError

    @property
    def stats(self) -> TextStats:
        """What was done so far."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Give up what is under way for several callers; they hear `Unavailable`."""
        raise NotImplementedError
