"""One arm of the rig `vertex`: the shipping service, asked open loop, on whatever transport it was given.

Calls come as the workload says and at no other pace, in virtual time and on the wall clock alike: how long a
text should wait for company depends on when the next one comes, so a trace that is played faster is another
question. A call that fails counts with its whole deadline: who gives up early must not look fast.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from perfkit.errors import (
    MeasurementError,
    ModelNotFound,
    NotAuthorised,
    PerfkitError,
    RequestRefused,
    WrongAnswer,
)
from perfkit.lab.embed.calls import AskedCalls
from perfkit.lab.embed.model import best_schedule
from perfkit.lab.embed.traffic import Vertex
from perfkit.lab.embed.watched import Watched
from perfkit.lab.histogram import from_ms
from perfkit.lab.load import Played, play
from perfkit.lab.rigs.rig import Observation
from perfkit.lab.virtual import VirtualTimeLoop
from perfkit.lab.workload import Workload
from perfkit.vertex.models import embedding_spec

__all__ = ["Embeds", "OpenVertex"]

_MOST_UNDER_WAY = 50_000
_BROKEN = (RequestRefused, ModelNotFound, NotAuthorised, WrongAnswer)


class Embeds(Protocol):
    """As much of the service as is asked."""

    async def generate_embeddings(
        self, texts: list[str], model_id: str, *, deadline_s: float | None = None
    ) -> object:
        """Embed texts."""
        ...


class OpenVertex:
    """One arm's service, standing at a position of the workload."""

    def __init__(
        self,
        service: Embeds,
        watched: Watched,
        workload: Workload,
        vertex: Vertex,
        *,
        seed: int,
        most_warmup: int,
    ) -> None:
        """Take a service and the transport it sends through; warming up asks at most so many calls."""
        self._service = service
        self._watched = watched
        self._times_s = workload.times_s
        self._calls = AskedCalls(workload, vertex, seed)
        self._vertex = vertex
        self._most_warmup = most_warmup
        self.position = 0

    async def warm(self, stop: int) -> None:
        """Ask what came before, as it came, so that policy and client have seen some of it."""
        start = max(self.position, stop - self._most_warmup)
        if stop > start:
            await self._ask(start, stop)
        self.position = max(self.position, stop)

    async def play(self, stop: int, *, rate_per_s: float | None) -> Observation:
        """Ask the calls from the position up to `stop` as they are due and say what came of it."""
        start, self.position = self.position, stop
        gc.collect()  # now, because `play` lets none happen while requests are due
        self._watched.forget()
        played, began_s, failed = await self._ask(start, stop)
        virtual = isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
        response_ms = (played.end_s - played.due_s) * 1_000
        deadline_ms = self._vertex.deadline_ms
        late = failed | ~(response_ms <= deadline_ms)
        response_ms = np.where(failed, np.maximum(response_ms, deadline_ms), response_ms)
        response_ms = np.where(np.isfinite(response_ms), response_ms, deadline_ms)
        levels = {f"response_p{q}_ms": float(np.quantile(response_ms, q / 100)) for q in (50, 95, 99)}
        metrics = {
            "response_mean_ms": float(response_ms.mean()),
            **levels,
            "in_deadline_share": float((~late).mean()),
            **self._costs(start, played, began_s),
        }
        return Observation(metrics, from_ms(response_ms), played.validity(virtual=virtual))

    async def _ask(self, start: int, stop: int) -> tuple[Played, NDArray[np.float64], NDArray[np.bool_]]:
        times = self._times_s[start:stop]
        began_s = np.full(stop - start, np.nan)
        failed = np.zeros(stop - start, dtype=bool)
        loop, deadline_s = asyncio.get_running_loop(), self._vertex.deadline_ms / 1_000

        async def send(index: int) -> None:
            began_s[index] = loop.time()
            texts = self._calls.texts(start + index)
            try:
                await self._service.generate_embeddings(texts, self._vertex.model, deadline_s=deadline_s)
            except _BROKEN as trouble:
                raise MeasurementError(
                    f"The service is not at work, so nothing is measured: {trouble} The trials before are "
                    "kept; go on with --resume."
                ) from trouble
            except PerfkitError:
                failed[index] = True

        played = await play(times - times[0], send, max_inflight=_MOST_UNDER_WAY)
        failed |= np.isnan(played.end_s)
        return played, began_s, failed

    def _costs(self, start: int, played: Played, began_s: NDArray[np.float64]) -> dict[str, float]:
        watched, vertex, count = self._watched, self._vertex, len(began_s)
        asked_s = played.end_s - played.start_s
        waits_s = np.array([self._waited_s(start + i, began_s[i], asked_s[i]) for i in range(count)])
        worth_s = vertex.request_worth_ms / 1_000
        best = best_schedule(
            vertex, played.due_s, self._calls.tokens[start : start + count], worth_ms=vertex.request_worth_ms
        )
        texts = count * vertex.texts_per_call
        dollars = embedding_spec(vertex.model).dollars(characters=watched.characters, tokens=watched.tokens)
        return {
            "added_wait_mean_ms": float(waits_s.mean()) * 1_000,
            "added_wait_p95_ms": float(np.quantile(waits_s, 0.95)) * 1_000,
            "requests_per_text": watched.requests / texts,
            "cost_vs_offline": (float(waits_s.sum()) + watched.requests * worth_s) / best.cost_s,
            "refused_share": watched.refused / max(watched.requests, 1),
            "dollars_per_million_texts": dollars / texts * 1e6,
        }

    def _waited_s(self, index: int, began_s: float, asked_s: float) -> float:
        """How long a call's last text waited to be sent; nothing where it joined one under way."""
        longest = 0.0
        for text in self._calls.texts(index):
            sent_s = self._watched.sent_after_s(text, began_s)
            if sent_s is not None:
                longest = max(longest, min(sent_s - began_s, asked_s))
            elif not self._watched.was_sent(text):
                longest = max(longest, asked_s)  # it gave up before anything was sent
        return longest
