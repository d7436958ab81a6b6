"""What every way to Vertex AI does, whichever client it is made of; a subclass says which."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import ClassVar

import numpy as np
import pytest

from perfkit.errors import (
    ModelNotFound,
    ModelTimeout,
    NotAuthorised,
    PerfkitError,
    QuotaExceeded,
    RequestRefused,
    Unavailable,
    WrongAnswer,
)
from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.faults import FaultKind, PlannedFault
from perfkit.vertex.emulator.plan import EmulatorPlan
from perfkit.vertex.protocols import EmbedReply, EmbedRequest, GenerateReply, GenerateRequest, Text, Transport

__all__ = ["Opening", "TransportCase", "asked"]

MODEL = "text-embedding-005"
WRITER = "gemini-3.8-flash"
Opening = Callable[[EmulatedVertex], AbstractAsyncContextManager[Transport]]


def asked(*texts: str, model: str = MODEL, dimensions: int | None = None, cut: bool = True) -> EmbedRequest:
    """A request for embeddings."""
    return EmbedRequest(model, [Text(text) for text in texts], dimensions, cut)


def faulty(kind: FaultKind, **fields: object) -> EmulatorPlan:
    """An emulator that does one thing wrong."""
    return EmulatorPlan(faults=(PlannedFault(kind=kind, **fields),))  # type: ignore[arg-type]


class TransportCase:
    """Inherited by a test class for each transport; `opened` is a context manager that yields one."""

    opened: ClassVar[Opening]

    async def _embed(
        self, request: EmbedRequest, plan: EmulatorPlan | None = None, *, timeout_s: float = 20.0
    ) -> EmbedReply:
        async with type(self).opened(EmulatedVertex(plan)) as transport:
            return await transport.embed(request, timeout_s=timeout_s)

    async def _generate(self, request: GenerateRequest, plan: EmulatorPlan | None = None) -> GenerateReply:
        async with type(self).opened(EmulatedVertex(plan)) as transport:
            return await transport.generate(request, timeout_s=20.0)

    async def test_vectors_come_as_they_were_made_and_in_order(self) -> None:
        """To the last bit of a float32, with what the server counted."""
        second = Text("ein zweiter", "RETRIEVAL_DOCUMENT", "a title")
        request = EmbedRequest(MODEL, [Text("a first text"), second, Text("третий")])
        reply = await self._embed(request)
        made = await EmulatedVertex().embedded(request)
        assert len(reply.vectors) == 3
        for got, expected in zip(reply.vectors, made.vectors, strict=True):
            assert got.values.dtype == np.float32
            assert np.array_equal(got.values, expected.values)
            assert (got.token_count, got.truncated) == (expected.token_count, False)
        assert reply.billable_characters == made.billable_characters > 0

    async def test_dimensions_are_as_asked(self) -> None:
        """A shorter vector is the model's own, not cut here."""
        reply = await self._embed(asked("a text", dimensions=64))
        made = await EmulatedVertex().embedded(asked("a text", dimensions=64))
        assert reply.vectors[0].values.shape == (64,)
        assert np.array_equal(reply.vectors[0].values, made.vectors[0].values)

    async def test_a_text_that_is_cut_says_so(self) -> None:
        """And is refused where it may not be."""
        long = "word " * 3_000
        reply = await self._embed(asked(long, "short"))
        assert [vector.truncated for vector in reply.vectors] == [True, False]
        assert reply.vectors[0].token_count == 2_048
        with pytest.raises(RequestRefused) as refused:
            await self._embed(asked(long, cut=False))
        assert refused.value.max_tokens == 2_048

    async def test_a_model_that_takes_one_text_is_asked_another_way(self) -> None:
        """Several at once would come back as one vector, so they are never sent."""
        reply = await self._embed(asked("a text", model="gemini-embedding-2", dimensions=256))
        assert reply.vectors[0].values.shape == (256,)
        with pytest.raises(RequestRefused) as refused:
            await self._embed(asked("a", "b", model="gemini-embedding-2"))
        assert refused.value.max_texts == 1

    async def test_too_many_texts_are_refused_with_how_many_would_do(self) -> None:
        """251 are one too many."""
        with pytest.raises(RequestRefused) as refused:
            await self._embed(asked(*(f"text {number}" for number in range(251))))
        assert refused.value.max_texts is not None
        assert 1 <= refused.value.max_texts <= 250

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("quota", QuotaExceeded),
            ("unavailable", Unavailable),
            ("internal", Unavailable),
            ("deadline", ModelTimeout),
            ("not_found", ModelNotFound),
            ("unauthenticated", NotAuthorised),
            ("permission_denied", NotAuthorised),
            ("too_few", WrongAnswer),
        ],
    )
    async def test_what_goes_wrong_is_an_error_of_ours(
        self, kind: FaultKind, error: type[PerfkitError]
    ) -> None:
        """Exactly one of the tree, and it repeats nothing of the text."""
        with pytest.raises(error) as raised:
            await self._embed(asked("my secret text", "another"), faulty(kind))
        assert type(raised.value) is error
        assert "secret" not in str(raised.value)

    async def test_the_servers_own_waiting_time_arrives(self) -> None:
        """`RetryInfo`, in seconds."""
        with pytest.raises(QuotaExceeded) as refused:
            await self._embed(asked("a"), faulty("quota", retry_after_s=7.25))
        assert refused.value.retry_after_seconds == pytest.approx(7.25)

    async def test_no_answer_in_time_is_a_timeout(self) -> None:
        """A server that hangs holds nobody for longer than was allowed."""
        with pytest.raises(ModelTimeout):
            await self._embed(asked("a"), faulty("hang"), timeout_s=0.15)

    async def test_a_request_that_is_cancelled_ends_at_the_server_too(self) -> None:
        """The emulator has nothing under way any more."""
        core = EmulatedVertex(faulty("hang"))
        async with type(self).opened(core) as transport:
            task = asyncio.create_task(transport.embed(asked("a"), timeout_s=30.0))
            await _until(lambda: core.counts.requests == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await _until(lambda: core.counts.given_up == 1)

    async def test_a_text_is_generated_with_its_counts(self) -> None:
        """What the model wrote, why it ended, and what is billed."""
        request = GenerateRequest(WRITER, "Say something of caches.", temperature=0.0, max_output_tokens=12)
        reply = await self._generate(request)
        made = await EmulatedVertex().generated(request)
        assert reply == made
        assert (reply.finish_reason, reply.output_tokens) == ("MAX_TOKENS", 12)

    async def test_a_stream_brings_the_same_text_in_pieces(self) -> None:
        """Its last piece says why it ended."""
        request = GenerateRequest(WRITER, "Say something of caches.", temperature=0.0)
        async with type(self).opened(EmulatedVertex()) as transport:
            pieces = [piece async for piece in transport.stream(request, timeout_s=20.0)]
        whole = await EmulatedVertex().generated(request)
        assert len(pieces) > 1
        assert "".join(piece.text for piece in pieces) == whole.text
        assert pieces[-1].finish_reason == "STOP"

    async def test_whoever_leaves_a_stream_early_ends_it(self) -> None:
        """And the transport goes on being of use."""
        request = GenerateRequest(WRITER, "Say something of caches.", temperature=0.0)
        plan = EmulatorPlan(text_token_ms=1.0)
        async with type(self).opened(EmulatedVertex(plan)) as transport:
            stream = transport.stream(request, timeout_s=20.0)
            assert isinstance(stream, AsyncIterator)
            async with aclosing(stream) as pieces:  # type: ignore[type-var]  # a generator, as all are
                async for piece in pieces:
                    assert piece.text
                    break
            assert (await transport.generate(request, timeout_s=20.0)).text

    async def test_a_broken_stream_is_an_error(self) -> None:
        """After what came."""
        request = GenerateRequest(WRITER, "Say something of caches.", temperature=0.0)
        seen = []
        async with type(self).opened(EmulatedVertex(faulty("cut_stream", value=1))) as transport:
            with pytest.raises(Unavailable):  # noqa: PT012  # what came before counts
                async for piece in transport.stream(request, timeout_s=20.0):
                    seen.append(piece)  # noqa: PERF401  # it breaks
        assert len(seen) == 1

    async def test_an_unknown_model_is_not_found(self) -> None:
        """Of either kind."""
        with pytest.raises(ModelNotFound):
            await self._embed(asked("a", model="text-embedding-9000"))
        with pytest.raises(ModelNotFound):
            await self._generate(GenerateRequest("gemini-9000", "hello"))

    async def test_after_closing_it_connects_again(self) -> None:
        """As a notebook's next cell does."""
        async with type(self).opened(EmulatedVertex()) as transport:
            for _ in range(2):
                assert len((await transport.embed(asked("a"), timeout_s=20.0)).vectors) == 1
                await transport.aclose()


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  # what happens at a server sets no event here
            await asyncio.sleep(0.002)
