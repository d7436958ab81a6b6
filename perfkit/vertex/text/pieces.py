"""A stream: places, retries and deadlines around pieces that come one by one.

ask ──▶ place ──▶ first piece ──▶ piece ──▶ … ──▶ end ──▶ the place is closed
  ▲                  │ fails        │ fails, or is late: the error goes to the caller, who has had a part
  └── wait ◀─────────┘ nothing was handed on: tried again
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeAlias, TypeVar

from perfkit.errors import ModelTimeout, PerfkitError
from perfkit.vertex.protocols import GenerateReply, GenerateRequest, TextModel
from perfkit.vertex.text.answer import no_text
from perfkit.vertex.text.line import ModelLine, Place
from perfkit.vertex.text.work import Work

__all__ = ["pieces_of"]

T = TypeVar("T")
_Opened: TypeAlias = tuple[Place, AsyncIterator[GenerateReply], GenerateReply | None]


async def pieces_of(
    transport: TextModel,
    request: GenerateRequest,
    line: ModelLine,
    work: Work,
    *,
    deadline_s: float,
    gap_s: float,
) -> AsyncGenerator[GenerateReply, None]:
    """Yield a model's answer piece by piece, and close its place however that ends."""

    async def once() -> _Opened:
        place = await line.place(work)
        pieces = transport.stream(request, timeout_s=gap_s)
        try:
            return place, pieces, await anext(pieces, None)
        except BaseException as error:
            place.close(error)
            await _closed(pieces)
            raise

    began_s = line.clock()
    place, pieces, piece = await _within(
        line.persistently(work, once), deadline_s, partial(_late, request.model, deadline_s, work, line)
    )
    line.counts.first_piece.add(line.clock() - began_s)
    if piece is not None:
        place.answered()
    text, reason = False, ""
    input_tokens = output_tokens = handed_on = 0
    error: BaseException | None = None
    try:
        while piece is not None:
            text = text or bool(piece.text)
            reason = piece.finish_reason or reason
            # each piece may tell the count so far, or the last one alone
            input_tokens = max(input_tokens, piece.input_tokens)
            output_tokens = max(output_tokens, piece.output_tokens)
            yield piece
            handed_on += 1
            piece = await _within(
                anext(pieces, None), gap_s, partial(_stuck, request.model, gap_s, handed_on)
            )
        if not text:
            raise no_text(reason, request.model)
    except BaseException as raised:
        error = raised
        raise
    finally:
        line.counts.paid(request.model, input_tokens, output_tokens)
        place.close(None if isinstance(error, GeneratorExit) else error)
        await _closed(pieces)


async def _within(awaited: Awaitable[T], seconds: float, late: Callable[[], ModelTimeout]) -> T:
    """Wait so long and no longer."""
    try:
        async with asyncio.timeout(seconds) as limit:
            return await awaited
    except TimeoutError as error:
        if isinstance(error, PerfkitError) or not limit.expired():
            raise
        raise late() from None


async def _closed(pieces: AsyncIterator[GenerateReply]) -> None:
    """Give up a request that may still be under way."""
    if isinstance(pieces, AsyncGenerator):
        await pieces.aclose()


def _late(model: str, deadline_s: float, work: Work, line: ModelLine) -> ModelTimeout:
    return ModelTimeout(
        f"{model} did not begin to answer within {deadline_s:.3g} s: {work.told(line.clock())}. Allow more "
        "time, or send less at once.",
        dependency=model,
    )


def _stuck(model: str, gap_s: float, handed_on: int) -> ModelTimeout:
    return ModelTimeout(
        f"{model} sent {handed_on} pieces of its answer and then nothing for {gap_s:.3g} s "
        "(vertex.request_timeout_seconds). What has come is incomplete: ask again, or allow more time.",
        dependency=model,
    )
