"""Three ways to one emulator: in this process, by Google's client over gRPC, by google-genai over REST."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from perfkit.errors import NotAuthorised, Unavailable
from perfkit.vertex import OptimizedVertexAIService
from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.grpc_face import serve_grpc
from perfkit.vertex.emulator.plan import EmulatorPlan
from perfkit.vertex.emulator.serve import serve_rest
from perfkit.vertex.google import GoogleTransport
from perfkit.vertex.google_genai import GenaiTransport
from perfkit.vertex.protocols import Transport
from tests.vertex.transport_case import TransportCase, asked


@asynccontextmanager
async def in_process(core: EmulatedVertex) -> AsyncIterator[Transport]:
    """The core itself."""
    yield core


@asynccontextmanager
async def over_grpc(core: EmulatedVertex) -> AsyncIterator[Transport]:
    """Google's own asynchronous client, a real channel, a real server."""
    server = await serve_grpc(core)
    transport = GoogleTransport("a-project", endpoint=server.endpoint)
    try:
        yield transport
    finally:
        await transport.aclose()
        await server.aclose()


@asynccontextmanager
async def over_rest(core: EmulatedVertex) -> AsyncIterator[Transport]:
    """google-genai, and uvicorn."""
    server = await serve_rest(core)
    transport = GenaiTransport("a-project", base_url=server.base_url)
    try:
        yield transport
    finally:
        await transport.aclose()
        await server.aclose()


class TestInProcess(TransportCase):
    """The embedded default."""

    opened = in_process


class TestGrpc(TransportCase):
    """The way that ships."""

    opened = over_grpc


class TestRest(TransportCase):
    """The other client."""

    opened = over_rest


@pytest.mark.parametrize("opened", [over_grpc, over_rest])
def test_one_transport_serves_two_event_loops_one_after_the_other(opened: object) -> None:
    """Google's clients belong to a loop each; the transport makes one for each loop that asks."""
    addresses: dict[str, Transport] = {}

    async def once(core: EmulatedVertex) -> int:
        server, rest = await serve_grpc(core, port=ports[0]), await serve_rest(core, port=ports[1])
        ports[:] = [server.port, rest.port]
        if not addresses:
            addresses["grpc"] = GoogleTransport("a-project", endpoint=server.endpoint)
            addresses["rest"] = GenaiTransport("a-project", base_url=rest.base_url)
        transport = addresses["grpc" if opened is over_grpc else "rest"]
        try:
            return len((await transport.embed(asked("a", "b"), timeout_s=20.0)).vectors)
        finally:
            await transport.aclose()
            await server.aclose()
            await rest.aclose()

    ports = [0, 0]
    assert [asyncio.run(once(EmulatedVertex())) for _ in range(2)] == [2, 2]


async def test_large_answers_fit() -> None:
    """250 vectors of 3,072 numbers are twice what a gRPC channel takes unless told otherwise."""
    async with over_grpc(EmulatedVertex(EmulatorPlan(vectors="cheap"))) as transport:
        request = asked(*(f"text {number}" for number in range(250)), model="gemini-embedding-001")
        reply = await transport.embed(request, timeout_s=30.0)
    assert {vector.values.shape for vector in reply.vectors} == {(3_072,)}


async def test_a_server_that_restarts_is_found_again() -> None:
    """On the same port; meanwhile the error says that it is away."""
    core = EmulatedVertex()
    server = await serve_grpc(core)
    transport = GoogleTransport("a-project", endpoint=server.endpoint)
    try:
        await transport.embed(asked("a"), timeout_s=20.0)
        await server.aclose()
        with pytest.raises(Unavailable):
            await transport.embed(asked("a"), timeout_s=5.0)
        server = await serve_grpc(core, port=server.port)
        async with asyncio.timeout(20):
            while True:
                try:
                    await transport.embed(asked("a"), timeout_s=5.0)
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
    finally:
        await transport.aclose()
        await server.aclose()


@pytest.mark.parametrize("kind", [GoogleTransport, GenaiTransport])
async def test_without_credentials_it_says_how_to_get_some(
    kind: type[GoogleTransport], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing is sent, and nobody is asked for a token on the network."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path_factory.mktemp("no-gcloud")))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    transport = kind("a-project")
    with pytest.raises(NotAuthorised, match="gcloud auth application-default login"):
        await transport.embed(asked("a"), timeout_s=20.0)
    await transport.aclose()


async def test_the_service_speaks_to_an_emulator_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passed in, or in the environment; two calls at once are one request over the wire."""
    core = EmulatedVertex()
    server = await serve_grpc(core)
    try:
        for service in (
            OptimizedVertexAIService(transport=server.endpoint, enable_caching=False),
            _from_environment(monkeypatch, server.endpoint),
        ):
            before = core.counts.requests
            async with service:
                await service.warm()
                await asyncio.gather(
                    service.generate_embeddings(["Text 1", "Text 2"]),
                    service.generate_embeddings(["Text 2", "Text 3"]),
                )
                answer = await service.generate_text("hello", temperature=0.0)
            assert core.counts.requests - before == 1
            assert answer.text
    finally:
        await server.aclose()
    assert core.counts.texts == 6


def _from_environment(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> OptimizedVertexAIService:
    monkeypatch.setenv("PERFKIT_VERTEX_ENDPOINT", endpoint)
    return OptimizedVertexAIService(enable_caching=False)
