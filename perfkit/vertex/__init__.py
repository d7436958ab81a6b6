"""Requests to Vertex AI: how they are gathered, and when an old answer will do."""

from perfkit.vertex.settings import VertexSettings

__all__ = ["VertexSettings"]
