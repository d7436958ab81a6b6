"""The stack: every part of a service from one settings value."""

from __future__ import annotations

import pytest

from perfkit import Settings, Stack
from perfkit.errors import RealServerRequired
from perfkit.events import null_probe
from perfkit.knobs import replaced
from perfkit.pools import Endpoint
from perfkit.stack import Outside
from perfkit.vertex import EmulatedVertex


async def test_its_vertex_client_has_its_settings_its_cache_and_its_end() -> None:
    """Made when it is first asked for, and closed with the rest."""
    vertex = EmulatedVertex()
    settings = replaced(Settings(), {"vertex.batch_max_texts": 2})
    outside = Outside(endpoint=Endpoint.embedded(), vertex=vertex, probe=null_probe)
    async with Stack.open(settings, outside=outside) as stack:
        assert stack.vertex is stack.vertex
        await stack.vertex.generate_embeddings(["a", "b", "c"])
        (again,) = await stack.vertex.generate_embeddings(["a"])
        assert (vertex.counts.requests, again.cached) == (2, True)
        service = stack.vertex
    with pytest.raises(Exception, match="closed"):
        await service.generate_embeddings(["a"])


async def test_a_stack_that_asks_no_model_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator may be forbidden: that matters only to who asks."""
    monkeypatch.setenv("PERFKIT_REQUIRE_REAL", "1")
    for name in ("GOOGLE_CLOUD_PROJECT", "PERFKIT_VERTEX_PROJECT", "PERFKIT_VERTEX_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    async with Stack.open(
        Settings(), outside=Outside(endpoint=Endpoint.embedded(), probe=null_probe)
    ) as stack:
        await stack.cache.set("a", 1)
        with pytest.raises(RealServerRequired):
            _ = stack.vertex
