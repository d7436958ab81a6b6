"""Arrivals played to whatever embeds texts, on any event loop, and what came of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np

from perfkit.errors import PerfkitError
from vertex_questions.arrivals import Arrivals
from vertex_questions.peers import Embed
from vertex_questions.texts import Writer

__all__ = ["Outcome", "play"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How long each text took that came within its deadline, and how many there were in all."""

    took_ms: list[float]
    asked: int

    @property
    def in_time(self) -> float:
        """The share of texts that came within their deadline."""
        return len(self.took_ms) / self.asked

    def percentiles(self) -> list[float]:
        """Return p50, p95 and p99 of those that came in time, in milliseconds."""
        return np.percentile(self.took_ms, [50, 95, 99]).tolist() if self.took_ms else [float("nan")] * 3


async def play(arrivals: Arrivals, embed: Embed, writer: Writer, *, deadline_s: float) -> Outcome:
    """Ask for each text when it arrives, whatever became of those before it."""
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    took_ms: list[float] = []

    async def one(number: int, at_s: float) -> None:
        try:
            await embed(writer.piece(number, arrivals.tokens[number]))
        except PerfkitError:
            return
        took_s = loop.time() - at_s
        if took_s <= deadline_s:
            took_ms.append(took_s * 1e3)

    async with asyncio.TaskGroup() as under_way:
        for number, after_s in enumerate(arrivals.times_s):
            at_s = begin_s + after_s
            if at_s > loop.time():
                await asyncio.sleep(at_s - loop.time())
            under_way.create_task(one(number, at_s))
    return Outcome(took_ms, len(arrivals))
