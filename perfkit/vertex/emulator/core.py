"""Vertex AI, imitated: limits, quotas, latency, faults, vectors and texts, with no network.

    request ─▶ planned faults ─▶ model ─▶ quota of requests ─▶ what Google checks ─▶ quota of tokens
            ─▶ a place at the server ─▶ the time an answer takes ─▶ vectors, or text

All waiting is on the running loop's own timers, so that a virtual loop moves it; all chance is drawn from the
plan's seed: the same requests at the same times get the same answers. A request that is refused for quota
does not count against it; one that is refused for what it holds does.

One core has three faces: this file's own, which never leaves the process, and servers that speak gRPC and
REST to real clients.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Literal

from perfkit.clock import Clock, now_s
from perfkit.errors import PerfkitError
from perfkit.vertex.emulator import sayings
from perfkit.vertex.emulator.checks import Checked, check_prompt, check_texts
from perfkit.vertex.emulator.counts import Counts
from perfkit.vertex.emulator.faults import Fault, PlannedFault
from perfkit.vertex.emulator.latency import latency_of
from perfkit.vertex.emulator.plan import EmulatorPlan
from perfkit.vertex.emulator.quotas import MINUTE_S, FixedMinutes
from perfkit.vertex.emulator.serving import Serving, slowed
from perfkit.vertex.emulator.tokens import beginning, counted
from perfkit.vertex.emulator.vectors import Vectors
from perfkit.vertex.emulator.writing import Written, written
from perfkit.vertex.models import TEXT_MODELS, EmbeddingSpec
from perfkit.vertex.protocols import (
    EmbedReply,
    EmbedRequest,
    GenerateReply,
    GenerateRequest,
    Text,
    Vector,
)
from perfkit.vertex.refusals import error_of, too_few

__all__ = ["EmulatedVertex"]

Method = Literal["predict", "embedContent"]


class EmulatedVertex:
    """An emulator, and the in-process way to it: a `Transport` that never leaves the process.

    `embed`, `generate` and `stream` raise perfkit's errors as a real transport does; `embedded`, `generated`
    and `streamed` raise `Fault`, from which a server makes a status and its details.

    >>> import asyncio
    >>> from perfkit.vertex.protocols import Text
    >>> async def main() -> tuple[int, int]:
    ...     vertex = EmulatedVertex()
    ...     request = EmbedRequest("text-embedding-005", [Text("one text"), Text("and another")])
    ...     reply = await vertex.embed(request, timeout_s=1.0)
    ...     return len(reply.vectors), vertex.counts.texts
    >>> asyncio.run(main())
    (2, 2)

    Args:
        plan: What it is like; by default it refuses nothing and answers at once.
        seed: Instead of the plan's.
        clock: Tells the minutes of quotas and the spans of faults.
        keep_requests: Whether `kept` holds every request for embeddings, for tests that ask what was sent.
    """

    def __init__(
        self,
        plan: EmulatorPlan | None = None,
        *,
        seed: int | None = None,
        clock: Clock = now_s,
        keep_requests: bool = False,
    ) -> None:
        plan = plan or EmulatorPlan()
        self.plan = plan if seed is None else replace(plan, seed=seed)
        self.counts = Counts()
        self.kept: list[EmbedRequest] = []
        self._keep = keep_requests
        self._latency = latency_of(plan.latency)
        self._text_latency = latency_of(plan.text_latency)
        self._chance = self._rng("latency")
        self._writing = self._rng("writing")
        self._serving = Serving(
            plan.faults, self._rng("faults"), capacity=plan.capacity, counts=self.counts, clock=clock
        )
        phase_s = plan.minute_phase_s
        self._phase_s = self._rng("minute").random() * MINUTE_S if phase_s is None else phase_s
        self._project = self._minutes(plan.project_requests_per_minute)
        self._quotas: dict[str, tuple[FixedMinutes, FixedMinutes]] = {}
        self._models: dict[str, tuple[EmbeddingSpec, Vectors]] = {}
        self._in_the_making = 0

    @property
    def name(self) -> str:
        """What answers, for logs and reports."""
        return "emulator"

    async def embed(self, request: EmbedRequest, *, timeout_s: float) -> EmbedReply:
        """Embed texts, as `Transport.embed`."""
        try:
            reply = await self._embedded(request, None, timeout_s)
        except Fault as fault:
            raise _error(fault, request.model, texts=len(request.texts)) from None
        if len(reply.vectors) != len(request.texts):
            raise too_few(len(reply.vectors), len(request.texts), request.model)
        return reply

    async def generate(self, request: GenerateRequest, *, timeout_s: float) -> GenerateReply:
        """Write a text, as `Transport.generate`."""
        try:
            return await self._generated(request, timeout_s)
        except Fault as fault:
            raise _error(fault, request.model) from None

    async def stream(self, request: GenerateRequest, *, timeout_s: float) -> AsyncIterator[GenerateReply]:
        """Write a text piece by piece, as `Transport.stream`."""
        try:
            async with aclosing(self._streamed(request, timeout_s)) as pieces:
                async for piece in pieces:
                    yield piece
        except Fault as fault:
            raise _error(fault, request.model) from None

    async def embedded(self, request: EmbedRequest, *, method: Method | None = None) -> EmbedReply:
        """Embed texts, or raise `Fault`; a server says by which method it was asked."""
        return await self._embedded(request, method, math.inf)

    async def generated(self, request: GenerateRequest) -> GenerateReply:
        """Write a text, or raise `Fault`."""
        return await self._generated(request, math.inf)

    def streamed(self, request: GenerateRequest) -> AsyncIterator[GenerateReply]:
        """Write a text piece by piece, or raise `Fault`, perhaps between two pieces."""
        return self._streamed(request, math.inf)

    def tokens_of(self, text: str) -> int:
        """Return how many tokens a text has, as `countTokens` answers."""
        return counted(text).tokens

    def restart(self) -> None:
        """Fail what is under way, as a server does that restarts."""
        self._serving.restart()

    async def warm(self) -> None:
        """Start the emulator's time, by which its faults are planned."""
        self._serving.now_s()

    async def aclose(self) -> None:
        """Fail what is under way, as a closed connection does; the emulator can be asked again."""
        self.restart()

    async def _embedded(self, request: EmbedRequest, method: Method | None, patience_s: float) -> EmbedReply:
        counts = self.counts
        counts.requests += 1
        if self._keep:
            self.kept.append(request)
        at_s = self._serving.now_s()
        try:
            spec, vectors = self._model(request.model)
            struck = self._serving.struck(at_s, request.model, spec.quota)
            if method is not None and method != spec.method:
                raise sayings.wrong_method(request.model, method)
            checked = self._admitted(request, spec, struck, at_s)
        except Fault as refused:
            await self._refuse(refused, patience_s)
            raise
        seconds = self._latency.drawn(self._chance, len(request.texts), checked.tokens)
        if struck:
            seconds = slowed(seconds, at_s, struck)
        await self._serving.wait(self._serving.queued_s(at_s, seconds), patience_s)
        rows = vectors.of(_heard(request, spec, checked), dimensions=request.dimensions)
        made = [
            Vector(values, tokens, truncated)
            for values, (tokens, truncated) in zip(rows, checked.counts, strict=True)
        ]
        for fault in struck:
            if fault.kind == "too_few":
                made = made[: max(0, len(made) - fault.value)]
        counts.answered += 1
        counts.texts += len(made)
        counts.tokens += checked.tokens
        counts.billable_characters += checked.billable_characters
        return EmbedReply(made, checked.billable_characters)

    def _admitted(
        self, request: EmbedRequest, spec: EmbeddingSpec, struck: list[PlannedFault], at_s: float
    ) -> Checked:
        """Return what the request comes to, or refuse it for quota or for what it holds."""
        requests, tokens = self._quota(spec.quota)
        self._admit_to_project(at_s)
        if not requests.admits(at_s):
            raise sayings.requests_spent(spec.quota, retry_after_s=self._retry_s(at_s))
        self.counts.most_in_a_minute[spec.quota] = requests.most
        for fault in struck:
            if fault.kind == "max_texts":
                spec = replace(spec, max_texts=min(spec.max_texts, max(1, fault.value)))
            elif fault.kind == "max_tokens":
                spec = replace(spec, max_tokens=min(spec.max_tokens, max(1, fault.value)))
            elif fault.kind == "poison" and any(fault.marker in text.content for text in request.texts):
                raise sayings.invalid("Request contains an invalid argument.")
        checked = check_texts(request, spec)
        if not tokens.admits(at_s, checked.tokens):
            raise sayings.tokens_spent(spec.quota, retry_after_s=self._retry_s(at_s))
        return checked

    async def _generated(self, request: GenerateRequest, patience_s: float) -> GenerateReply:
        text, first_s, _ = await self._begun(request, patience_s)
        self._in_the_making += 1
        try:
            rest_s = self.plan.text_token_ms / 1e3 * max(0, text.output_tokens - 1)
            await self._serving.wait(first_s + rest_s, patience_s)
        finally:
            self._in_the_making -= 1
        self.counts.output_tokens += text.output_tokens
        return _last(request, text, text.text)

    async def _streamed(self, request: GenerateRequest, patience_s: float) -> AsyncGenerator[GenerateReply]:
        text, first_s, struck = await self._begun(request, patience_s)
        cut_after = min((fault.value for fault in struck if fault.kind == "cut_stream"), default=math.inf)
        token_s = self.plan.text_token_ms / 1e3
        pieces = text.pieces or ("",)
        self._in_the_making += 1
        try:
            for at, piece in enumerate(pieces):
                tokens = text.piece_tokens[at] if text.pieces else 0
                before_s = first_s - token_s if at == 0 else 0.0
                await self._serving.wait(max(0.0, before_s + token_s * tokens), patience_s)
                if at >= cut_after:
                    self.counts.refuse("UNAVAILABLE")
                    raise sayings.restarting()
                self.counts.output_tokens += tokens
                last = at == len(pieces) - 1
                yield (
                    _last(request, text, piece) if last else GenerateReply(piece, model_version=request.model)
                )
        finally:
            self._in_the_making -= 1

    async def _begun(
        self, request: GenerateRequest, patience_s: float
    ) -> tuple[Written, float, list[PlannedFault]]:
        """Return what will be written and after how long its first token comes, or refuse it."""
        self.counts.generations += 1
        at_s = self._serving.now_s()
        try:
            if request.model not in TEXT_MODELS:
                raise sayings.unknown_model(request.model)
            struck = self._serving.struck(at_s, request.model, "")
            self._admit_to_project(at_s)
            check_prompt(request)
            if self.plan.text_capacity and self._in_the_making >= self.plan.text_capacity:
                raise sayings.no_capacity()
        except Fault as refused:
            await self._refuse(refused, patience_s)
            raise
        text = written(request, self._writing, median_tokens=self.plan.text_tokens)
        first_s = self._text_latency.drawn(self._chance, 1, text.input_tokens)
        return text, slowed(first_s, at_s, struck), struck

    async def _refuse(self, refused: Fault, patience_s: float) -> None:
        self.counts.refuse(refused.status)
        await self._serving.wait(self.plan.refusal_ms / 1e3, patience_s)

    def _admit_to_project(self, at_s: float) -> None:
        if not self._project.admits(at_s):
            raise sayings.project_spent(retry_after_s=self._retry_s(at_s))

    def _retry_s(self, at_s: float) -> float | None:
        return self._project.left_s(at_s) if self.plan.retry_info else None

    def _model(self, model: str) -> tuple[EmbeddingSpec, Vectors]:
        try:
            known = self._models[model]
        except KeyError:
            spec = self.plan.spec(model)
            if spec is None:
                raise sayings.unknown_model(model) from None
            known = self._models[model] = spec, Vectors(model, spec.dimensions, kind=self.plan.vectors)
        return known

    def _quota(self, base_model: str) -> tuple[FixedMinutes, FixedMinutes]:
        try:
            return self._quotas[base_model]
        except KeyError:
            requests, tokens = (self._minutes(limit) for limit in self.plan.quota(base_model))
            self._quotas[base_model] = requests, tokens
            return requests, tokens

    def _minutes(self, limit: int) -> FixedMinutes:
        return FixedMinutes(limit, phase_s=self._phase_s)

    def _rng(self, purpose: str) -> random.Random:
        """Chance of its own for each purpose: one draw more of one moves no other."""
        return random.Random(f"{self.plan.seed} {purpose}")  # noqa: S311  nothing here is a secret


def _heard(request: EmbedRequest, spec: EmbeddingSpec, checked: Checked) -> Sequence[Text]:
    """Return the texts as far as the model reads them."""
    if not any(cut for _, cut in checked.counts):
        return request.texts
    return [
        replace(text, content=beginning(text.content, spec.max_text_tokens)) if cut else text
        for text, (_, cut) in zip(request.texts, checked.counts, strict=True)
    ]


def _last(request: GenerateRequest, text: Written, piece: str) -> GenerateReply:
    """Return a whole answer, or the piece of a stream that says how it ended."""
    return GenerateReply(
        piece, text.input_tokens, text.output_tokens, text.finish_reason, model_version=request.model
    )


def _error(fault: Fault, model: str, *, texts: int | None = None) -> PerfkitError:
    return error_of(fault.status, fault.message, model=model, retry_after_s=fault.retry_after_s, texts=texts)
