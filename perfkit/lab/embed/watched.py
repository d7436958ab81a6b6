"""A transport that is watched: which texts were sent when, and what came of it."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator

from perfkit.errors import QuotaExceeded
from perfkit.vertex.protocols import EmbedReply, EmbedRequest, GenerateReply, GenerateRequest, Transport

__all__ = ["Watched"]


class Watched:
    """Passes everything on, and notes it: the service is judged by what it sends, not by its own account."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.requests = 0
        """Requests for embeddings, refused ones included."""
        self.refused = 0
        """Of these, those refused for quota."""
        self.characters = 0
        """Billed, as answers said."""
        self.tokens = 0
        """As answers said."""
        self._sent_s: dict[str, list[float]] = {}

    def sent_after_s(self, text: str, since_s: float) -> float | None:
        """Return when a text was first sent at or after a moment; None if it was under way already, or never.

        Moments are those of the running loop.
        """
        moments = self._sent_s.get(text, [])
        at = bisect_left(moments, since_s)
        return moments[at] if at < len(moments) else None

    def was_sent(self, text: str) -> bool:
        """Say whether a text was sent at all."""
        return text in self._sent_s

    @property
    def name(self) -> str:
        """The name of what is watched."""
        return self._transport.name

    async def embed(self, request: EmbedRequest, *, timeout_s: float) -> EmbedReply:
        """Send one request and note it."""
        now_s = asyncio.get_running_loop().time()
        self.requests += 1
        for text in request.texts:
            self._sent_s.setdefault(text.content, []).append(now_s)
        try:
            reply = await self._transport.embed(request, timeout_s=timeout_s)
        except QuotaExceeded:
            self.refused += 1
            raise
        self.characters += reply.billable_characters
        self.tokens += sum(vector.token_count for vector in reply.vectors)
        return reply

    async def generate(self, request: GenerateRequest, *, timeout_s: float) -> GenerateReply:
        """Send one request."""
        return await self._transport.generate(request, timeout_s=timeout_s)

    def stream(self, request: GenerateRequest, *, timeout_s: float) -> AsyncIterator[GenerateReply]:
        """Send one request."""
        return self._transport.stream(request, timeout_s=timeout_s)

    async def warm(self) -> None:
        """Open what is watched."""
        await self._transport.warm()

    async def aclose(self) -> None:
        """Close what is watched."""
        await self._transport.aclose()
