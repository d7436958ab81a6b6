"""Calls for generated text: kept answers, shared calls, a pace the model allows, deadlines that hold.

    generate ──▶ kept? ──▶ under way for somebody else? ──▶ the model's line (`line.py`) ──▶ model
                  │             │                               │
                  └─────────────┴───────────────────────────────┴──▶ TextAnswer, or an error that says
                                                                     what the deadline was spent on

Answers are kept and shared only where asking again would bring the same: at temperature 0, or where the
caller says that an old answer will do. Callers who share a request each have their own deadline and may leave
on their own; the request goes on until nobody waits for it.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator, Awaitable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from perfkit.clock import Clock, now_s
from perfkit.errors import ModelTimeout, PerfkitError, RequestRefused, Unavailable
from perfkit.events import Probe, null_probe
from perfkit.resilience import Flight, SingleFlight
from perfkit.resilience.bounds import demand
from perfkit.vertex.protocols import GenerateReply, GenerateRequest, TextModel
from perfkit.vertex.settings import VertexSettings
from perfkit.vertex.text.answer import TextAnswer, answer_kept, answer_of, kept
from perfkit.vertex.text.key import is_repeatable, key_of
from perfkit.vertex.text.line import ModelLine
from perfkit.vertex.text.pieces import pieces_of
from perfkit.vertex.text.stats import Counts, TextStats
from perfkit.vertex.text.work import Work

if TYPE_CHECKING:
    from perfkit.cache.tiered import TieredCache

__all__ = ["NAMESPACE", "Caching", "TextCalls"]

Caching: TypeAlias = Literal["auto", "exact", "off"]
"""Whether an old answer will do: where the temperature is 0 (`auto`), for this call (`exact`), or not."""

NAMESPACE: Final = "vertex-text"
"""Where kept answers lie in the cache."""

_LONGEST_S: Final = 3_600.0


class TextCalls:
    """Asks models for text, on behalf of many callers. Belongs to one event loop.

    >>> class Echo:
    ...     async def generate(self, request: GenerateRequest, *, timeout_s: float) -> GenerateReply:
    ...         return GenerateReply(request.prompt.upper(), finish_reason="STOP")
    >>> async def main() -> str:
    ...     calls = TextCalls(Echo())
    ...     answer = await calls.generate(GenerateRequest("gemini-3.8-flash", "hello"))
    ...     return answer.text
    >>> asyncio.run(main())
    'HELLO'

    Args:
        transport: What is asked.
        settings: The knobs.
        cache: Where answers are kept, in the namespace `vertex-text`; None keeps none.
        location: Where the models run, for the names of their breakers.
        clock: Tells the time.
        rng: For the jitter of waits.
        probe: Hears of breakers that open and close.
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
        self.settings: Final = settings or VertexSettings()
        self.lines: dict[str, ModelLine] = {}
        """What is known of each model asked so far."""
        self._transport = transport
        self._cache = None if cache is None else cache.namespaced(NAMESPACE)
        self._location = location
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self._probe = probe
        self._counts = Counts()
        self._flights: SingleFlight[str, TextAnswer] = SingleFlight()
        self._works: dict[tuple[str, bool], Work] = {}
        self._closed = False
        self._usual_s = max(self.settings.deadline_seconds, self.settings.text_timeout_seconds)

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
            deadline_s: How long it may take, queues and retries included; default: the knob
                `deadline_seconds`, or `text_timeout_seconds` where that is longer.
            cache: Whether an old answer will do.
            coalesce: Whether callers of the same request share one answer; default: where it may be kept.

        Raises:
            ModelTimeout: the deadline is over; it says what it was spent on.
            QuotaExceeded: the quota is spent, and trying again did not help or was not allowed.
            Unavailable: the model cannot be reached, or its breaker is open.
            WrongAnswer: there is no text in the answer, since it was blocked, say.
            VertexError: the request is wrong, its model unknown, or not allowed.
        """
        counts, began_s = self._counts, self._clock()
        counts.calls += 1
        try:
            deadline_s = self._allowed_s(request, deadline_s)
            keep = cache == "exact" or (cache == "auto" and is_repeatable(request))
            share = (is_repeatable(request) or cache == "exact") if coalesce is None else coalesce
            answer = await self._answered(request, deadline_s, began_s, keep=keep, share=share)
        except asyncio.CancelledError:
            counts.cancelled += 1
            raise
        except BaseException:
            counts.failed += 1
            raise
        counts.answered += 1
        counts.e2e.add(self._clock() - began_s)
        if answer.source != "model":
            counts.saved(request.model, answer.input_tokens, answer.output_tokens)
            if answer.source == "cache":
                counts.cache_hits += 1
            else:
                counts.coalesced += 1
        return answer

    async def stream(
        self, request: GenerateRequest, *, deadline_s: float | None = None
    ) -> AsyncGenerator[GenerateReply, None]:
        """Yield the model's answer as it comes; nothing of it is kept or shared.

        The next piece is asked for when the caller comes for it, so a slow caller slows down the model. Leave
        early through `contextlib.aclosing`, which gives up the request at once.

        Args:
            request: The prompt and how to answer it.
            deadline_s: How long the first piece may take, from when it is asked for, queues and retries
                included; default: as in `generate`. Each further piece may take `text_timeout_seconds`.

        Raises:
            ModelTimeout: a piece did not come in time.
            Unavailable: as for `generate`; once a piece was handed on, nothing is tried again.
            WrongAnswer: the stream ended without any text.
        """
        counts, began_s = self._counts, self._clock()
        counts.calls += 1
        counts.streams += 1
        finished = False
        try:
            deadline_s = self._allowed_s(request, deadline_s)
            line, work = self._line(request.model), Work(began_s, began_s + deadline_s)
            pieces = pieces_of(
                self._transport,
                request,
                line,
                work,
                deadline_s=deadline_s,
                gap_s=self.settings.text_timeout_seconds,
            )
            try:
                async for piece in pieces:
                    finished = finished or bool(piece.finish_reason)
                    yield piece
            finally:
                await pieces.aclose()
        except (asyncio.CancelledError, GeneratorExit):
            if finished:  # whoever has had the last piece may leave without looking for another
                counts.answered += 1
            else:
                counts.cancelled += 1
            raise
        except BaseException:
            counts.failed += 1
            raise
        counts.answered += 1
        counts.e2e.add(self._clock() - began_s)

    @property
    def stats(self) -> TextStats:
        """What was done so far."""
        lines = self.lines.values()
        return self._counts.stats(
            inflight=sum(line.limiter.in_flight for line in lines),
            waiting=sum(line.limiter.waiting for line in lines),
            limit=sum(line.limit.value for line in lines),
        )

    async def aclose(self) -> None:
        """Take no more calls, and give up those that are shared: who waits for one hears `Unavailable`."""
        self._closed = True
        await self._flights.aclose()

    def _allowed_s(self, request: GenerateRequest, deadline_s: float | None) -> float:
        """Return how long a call may take, after a look at what is asked."""
        if self._closed:
            raise Unavailable(
                "These calls were closed, so nothing is sent any more. Open a new service.",
                dependency=request.model,
            )
        if not isinstance(request.prompt, str) or not request.prompt.strip():
            raise RequestRefused(
                f"The prompt is blank, or no text ({type(request.prompt).__name__}), so there is nothing to "
                "answer. Give it a text.",
                model=request.model,
            )
        if deadline_s is None:
            return self._usual_s
        demand(
            not math.isnan(deadline_s),
            "deadline_s",
            deadline_s,
            otherwise="it is no time",
            allowed="seconds",
        )
        if deadline_s <= 0:
            raise ModelTimeout(
                f"The deadline of {deadline_s:.3g} s was over before {request.model} could be asked, so "
                "nothing was sent. Allow more time.",
                dependency=request.model,
            )
        return min(deadline_s, _LONGEST_S)

    def _line(self, model: str) -> ModelLine:
        line = self.lines.get(model)
        if line is None:
            line = self.lines[model] = ModelLine(
                model,
                self.settings,
                self._counts,
                location=self._location,
                clock=self._clock,
                rng=self._rng,
                probe=self._probe,
            )
        return line

    async def _answered(
        self, request: GenerateRequest, deadline_s: float, began_s: float, *, keep: bool, share: bool
    ) -> TextAnswer:
        cache = self._cache if keep else None
        if cache is None and not share:
            work = Work(began_s, began_s + deadline_s)
            return await self._in_time(self._asked(request, work), work, request.model, deadline_s)
        key = key_of(request)
        if cache is not None:
            held = cache.serving.held(cache.full_key(key))
            answer = None if held is None else answer_kept(held.value, "cache")
            if answer is not None:
                return answer
        kind = key, cache is not None
        work = self._works.get(kind) or self._works.setdefault(kind, Work(began_s))
        work.until_s = max(work.until_s, began_s + deadline_s)
        work.waiters += 1
        try:
            asked = (
                self._shared(request, key, work) if cache is None else self._kept(request, key, work, cache)
            )
            return await self._in_time(asked, work, request.model, deadline_s)
        finally:
            work.waiters -= 1
            if not work.waiters:
                del self._works[kind]

    async def _in_time(
        self, answer: Awaitable[TextAnswer], work: Work, model: str, deadline_s: float
    ) -> TextAnswer:
        """Wait for an answer until this caller's deadline."""
        try:
            async with asyncio.timeout(deadline_s) as deadline:
                return await answer
        except TimeoutError as error:
            if isinstance(error, PerfkitError) or not deadline.expired():
                raise
            raise ModelTimeout(
                f"{model} did not answer within {deadline_s:.3g} s: {work.told(self._clock())}. Allow more "
                "time, ask for a shorter answer, or send less at once.",
                dependency=model,
            ) from None

    async def _shared(self, request: GenerateRequest, key: str, work: Work) -> TextAnswer:
        """Ask once for all who ask the same meanwhile."""

        async def ask(_flight: Flight) -> TextAnswer:
            work.again(self._clock())
            return await self._asked(request, work)

        answer, joined = await self._flights.run(key, ask)
        return answer.from_("joined") if joined else answer

    async def _kept(self, request: GenerateRequest, key: str, work: Work, cache: TieredCache) -> TextAnswer:
        """Look for a kept answer, else ask once for all and keep what comes."""
        led = False

        async def load() -> dict[str, str | int]:
            nonlocal led
            led = True
            behind = not work.waiters  # renewed while nobody waits: then it has a deadline of its own
            mine = Work(self._clock(), self._clock() + self._usual_s) if behind else work
            mine.again(self._clock())
            answer = await self._asked(request, mine)
            if not answer.is_whole:
                raise _NotKept(answer)
            return kept(answer)

        ttl_s = self.settings.text_ttl_seconds
        wanted = cache.wanted(cache.full_key(key), load, l1_ttl_seconds=ttl_s, l2_ttl_seconds=ttl_s)
        try:
            found = await cache.serving.ask(wanted)
        except _NotKept as broken_off:
            return broken_off.answer.from_("model" if led else "joined")
        if found.tier == "origin":
            source: Literal["model", "joined", "cache"] = "model"
        else:
            source = "joined" if found.tier == "joined" else "cache"
        answer = answer_kept(found.value, source)
        if answer is None:  # somebody else wrote under this key
            await cache.invalidate(key)
            return await self._shared(request, key, work)
        return answer

    async def _asked(self, request: GenerateRequest, work: Work) -> TextAnswer:
        """Ask the model, again where that may help."""
        line = self._line(request.model)

        async def once() -> GenerateReply:
            place = await line.place(work)
            error: BaseException | None = None
            try:
                left_s = work.until_s - self._clock() + _GRACE_S
                return await self._transport.generate(
                    request, timeout_s=min(self.settings.text_timeout_seconds, max(left_s, _GRACE_S))
                )
            except BaseException as raised:
                error = raised
                raise
            finally:
                place.close(error)

        reply = await line.persistently(work, once)
        self._counts.paid(request.model, reply.input_tokens, reply.output_tokens)
        return answer_of(reply, request.model)


_GRACE_S: Final = 0.05
"""A request outlives its last caller by this, so that it is the caller's error that tells where time went."""


class _NotKept(Exception):
    """Carries an answer past the cache to those who wait for it."""

    def __init__(self, answer: TextAnswer) -> None:
        super().__init__("an answer that the model broke off")
        self.answer = answer
