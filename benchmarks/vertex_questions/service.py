"""The shipping service, opened for a question."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from perfkit.vertex import OptimizedVertexAIService
from perfkit.vertex.protocols import Transport
from perfkit.vertex.settings import VertexSettings
from vertex_questions.texts import MODEL, Piece

__all__ = ["Serving", "serving"]


class Serving:
    """The service as a way to embed one text after the other."""

    def __init__(self, service: OptimizedVertexAIService) -> None:
        self.service = service

    async def embed(self, piece: Piece) -> None:
        """Embed one text by itself, as a request of a user's would."""
        await self.service.generate_embeddings([piece.content], MODEL)


@asynccontextmanager
async def serving(transport: Transport, settings: VertexSettings) -> AsyncIterator[Serving]:
    """Open a service without a cache: what is asked for is the way to Vertex AI."""
    rng = random.Random(1)  # noqa: S311  # jitter, not a secret
    async with OptimizedVertexAIService(
        settings=settings, transport=transport, enable_caching=False, rng=rng
    ) as service:
        yield Serving(service)
