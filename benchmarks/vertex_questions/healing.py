"""What trouble costs in requests: a lower limit, a text that is refused, a text that many want at once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable

from harness import table
from perfkit.errors import PerfkitError
from perfkit.lab.virtual import run_virtual
from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.faults import PlannedFault
from perfkit.vertex.emulator.latency import Latency
from perfkit.vertex.emulator.plan import EmulatorPlan
from perfkit.vertex.settings import VertexSettings
from vertex_questions.service import serving
from vertex_questions.texts import MODEL

__all__ = ["isolated"]

BASE_S = 0.1
EVERY = Latency(base_ms=BASE_S * 1e3)
SETTINGS = VertexSettings(requests_per_minute=0)
CAP, EXTRA_AT_MOST = 5, 7
WAVES, AT_ONCE = 20, 4
MARKER = "poison"
SIZES = (2, 16, 100, 250)
CALLERS, WANTED = 1_000, 50


async def isolated(_rounds: int) -> str:
    """Ask three kinds of trouble for what they cost in requests, on the virtual clock."""
    rows = [
        run_virtual(_shrinking()),
        *[run_virtual(_poisoned(size)) for size in SIZES],
        run_virtual(_twins()),
    ]
    return table(["simulated", "found", "target", "met"], rows)


async def _shrinking() -> list[str]:
    """250 texts a request, then 5, in the middle of the work, with four requests under way."""
    shrunk = PlannedFault(kind="max_texts", from_s=1.0, value=CAP)
    vertex = EmulatedVertex(EmulatorPlan(latency=EVERY, vectors="cheap", faults=(shrunk,)))
    async with serving(vertex, SETTINGS) as serves:
        asked = 0
        for wave in range(WAVES):
            texts = [f"text {wave} {number}" for number in range(250 * AT_ONCE)]
            asked += len(await serves.service.generate_embeddings(texts, MODEL))
    refused = vertex.counts.refused.get("INVALID_ARGUMENT", 0)
    return _row(
        f"limit 250 → {CAP} amid {asked:,} texts, {AT_ONCE} requests at once, all answered: requests refused",
        refused,
        EXTRA_AT_MOST,
    )


async def _poisoned(size: int) -> list[str]:
    """One text of a request that the server refuses the request for."""
    spoilt = PlannedFault(kind="poison", marker=MARKER)
    vertex = EmulatedVertex(
        EmulatorPlan(latency=EVERY, refusal_ms=BASE_S * 1e3, vectors="cheap", faults=(spoilt,))
    )
    bad = size // 3
    async with serving(vertex, SETTINGS) as serves:
        loop = asyncio.get_running_loop()
        begin_s, ended_s = loop.time(), 0.0

        async def one(number: int) -> bool:
            nonlocal ended_s
            try:
                await serves.service.generate_embeddings(
                    [f"{MARKER if number == bad else 'text'} {number}"], MODEL
                )
            except PerfkitError:
                ended_s = loop.time() - begin_s
                return False
            return True

        answered = await asyncio.gather(*map(one, range(size)))
    alone = [number for number, fine in enumerate(answered) if not fine] == [bad]
    rounds = round(ended_s / BASE_S)
    at_most = math.ceil(math.log2(size)) + 1
    what = f"one bad text of {size}: rounds until it fails{'' if alone else ', **and others fail with it**'}"
    return _row(what, rounds if alone else math.inf, at_most)


async def _twins() -> list[str]:
    """The same few texts, wanted by many while they are under way, half of whom leave."""
    vertex = EmulatedVertex(EmulatorPlan(latency=EVERY, vectors="cheap"))
    async with serving(vertex, SETTINGS) as serves:
        calls: list[asyncio.Future[object]] = [
            asyncio.ensure_future(
                _wanted(serves.service.generate_embeddings([f"text {number % WANTED}"], MODEL))
            )
            for number in range(CALLERS)
        ]
        await asyncio.sleep(BASE_S / 2)
        for call in calls[: CALLERS // 2]:
            call.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
    served = sum(not isinstance(answer, BaseException) for answer in answers)
    what = f"{CALLERS:,} callers of {WANTED} texts, half of whom leave: texts sent, {served} callers answered"
    return _row(what, vertex.counts.texts if served == CALLERS // 2 else math.inf, WANTED)


async def _wanted(answer: Awaitable[object]) -> object:
    return await answer


def _row(what: str, found: float, at_most: int) -> list[str]:
    return [what, f"{found:g}", f"≤ {at_most}", "yes" if found <= at_most else "**no**"]
