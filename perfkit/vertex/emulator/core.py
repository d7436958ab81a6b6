"""Vertex AI, imitated: limits, quotas, latency, faults, vectors and texts, with no network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from perfkit.clock import Clock, now_s
from perfkit.vertex.emulator.plan import EmulatorPlan
from perfkit.vertex.protocols import EmbedReply, EmbedRequest, GenerateReply, GenerateRequest

__all__ = ["Counts", "EmulatedVertex"]


@dataclass(slots=True)
class Counts:
    """What an emulator was asked and how it answered."""

    requests: int = 0
    """For embeddings, refused ones included."""
    texts: int = 0
    """Embedded."""
    tokens: int = 0
    """Of embedded texts."""
    billable_characters: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """By status, such as `RESOURCE_EXHAUSTED`; embeddings and texts."""
    generations: int = 0
    under_way: int = 0
    most_under_way: int = 0
    minutes: dict[int, int] = field(default_factory=dict)
    """Requests admitted in each fixed minute."""


class EmulatedVertex:
    """An emulator, and the in-process way to it: a `Transport` that never leaves the process.

    `embed`, `generate` and `stream` raise perfkit's errors as a real transport does; `embedded`, `generated`
    and `streamed` raise `Fault`, from which a server makes a status and its details.
    """

    def __init__(
        self, plan: EmulatorPlan | None = None, *, seed: int | None = None, clock: Clock = now_s
    ) -> None:
        self.plan = plan or EmulatorPlan()
        self.counts = Counts()
        raise NotImplementedError

    @property
    def name(self) -> str:
        """`emulator`."""
        return "emulator"

    async def embedded(
        self, request: EmbedRequest, *, method: Literal["predict", "embedContent"] | None = None
    ) -> EmbedReply:
        """Answer as Google would, or raise `Fault`; a server says by which method it was asked."""
        raise NotImplementedError

    async def generated(self, request: GenerateRequest) -> GenerateReply:
        """Answer as Google would, or raise `Fault`."""
        raise NotImplementedError

    def streamed(self, request: GenerateRequest) -> AsyncIterator[GenerateReply]:
        """Answer piece by piece, or raise `Fault`, perhaps between two pieces."""
        raise NotImplementedError

    def counted(self, text: str) -> int:
        """Return how many tokens a text has, as `countTokens` answers."""
        raise NotImplementedError

    def restart(self) -> None:
        """Fail what is under way, as a server does that restarts."""
        raise NotImplementedError

    def refused_as(self, status: str) -> int:
        """Return how many requests were refused with a status."""
        return self.counts.refused.get(status, 0)

    async def embed(self, request: EmbedRequest, *, timeout_s: float) -> EmbedReply:
        """Send one request, as `Transport.embed`."""
        raise NotImplementedError

    async def generate(self, request: GenerateRequest, *, timeout_s: float) -> GenerateReply:
        """Send one request, as `Transport.generate`."""
        raise NotImplementedError

    def stream(self, request: GenerateRequest, *, timeout_s: float) -> AsyncIterator[GenerateReply]:
        """Send one request, as `Transport.stream`."""
        raise NotImplementedError

    def minutes_of(self) -> Mapping[int, int]:
        """Return how many requests each fixed minute admitted."""
        return self.counts.minutes

    async def warm(self) -> None:
        """Do nothing: there is nothing to open."""

    async def aclose(self) -> None:
        """Fail what is under way, as a closed connection does."""
        self.restart()
