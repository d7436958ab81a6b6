"""Vertex AI: requests gathered, paced and kept, so that as few as possible are sent and none is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.lazy import opening

if TYPE_CHECKING:
    from perfkit.vertex.embedding import Embedding
    from perfkit.vertex.emulator.core import EmulatedVertex
    from perfkit.vertex.emulator.plan import EmulatorPlan
    from perfkit.vertex.google import GoogleTransport
    from perfkit.vertex.google_genai import GenaiTransport
    from perfkit.vertex.models import EmbeddingSpec
    from perfkit.vertex.protocols import EmbeddingModel, TextModel, Transport
    from perfkit.vertex.service import OptimizedVertexAIService
    from perfkit.vertex.settings import VertexSettings
    from perfkit.vertex.stats import BatchStats
    from perfkit.vertex.text.answer import TextAnswer

__all__ = [
    "BatchStats",
    "Embedding",
    "EmbeddingModel",
    "EmbeddingSpec",
    "EmulatedVertex",
    "EmulatorPlan",
    "GenaiTransport",
    "GoogleTransport",
    "OptimizedVertexAIService",
    "TextAnswer",
    "TextModel",
    "Transport",
    "VertexSettings",
]

__getattr__ = opening(
    __name__,
    {
        "BatchStats": "perfkit.vertex.stats",
        "Embedding": "perfkit.vertex.embedding",
        "EmbeddingModel": "perfkit.vertex.protocols",
        "EmbeddingSpec": "perfkit.vertex.models",
        "EmulatedVertex": "perfkit.vertex.emulator.core",
        "EmulatorPlan": "perfkit.vertex.emulator.plan",
        "GenaiTransport": "perfkit.vertex.google_genai",
        "GoogleTransport": "perfkit.vertex.google",
        "OptimizedVertexAIService": "perfkit.vertex.service",
        "TextAnswer": "perfkit.vertex.text.answer",
        "TextModel": "perfkit.vertex.protocols",
        "Transport": "perfkit.vertex.protocols",
        "VertexSettings": "perfkit.vertex.settings",
    },
)
