"""How long the event loop stands still while vectors come in: other callers of the service wait so long."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from harness import Arm, Estimate, Target, interleaved, level, shown, table, verdict
from harness.rounds import Reading
from perfkit.vertex.emulator.plan import EmulatorPlan
from vertex_questions.client import OURS, Ask, connected
from vertex_questions.served import emulator

__all__ = ["longest"]

TOGETHER, REPLIES, AT_ONCE = 250, 8, 4
TICK_S = 0.001
LONGEST, USUAL = "longest stall, ms", "99 of 100 ticks late by, ms"
AT_MOST_MS = Target(15, at_most=True)
IDLE = "nothing asked, for as long as perfkit takes"


async def longest(rounds: int) -> str:
    """Tick every millisecond while replies of 250 vectors come in, four at a time, and see who is late."""
    async with emulator(EmulatorPlan(vectors="cheap")) as served, connected(served) as clients:
        arms: dict[str, Arm] = {name: _ticked(ask) for name, ask in clients.items()}
        arms[IDLE] = _idle
        readings = await interleaved(arms, rounds, turns=1)
    rows = []
    for name, reading in readings.items():
        worst = level(reading[LONGEST])
        target = AT_MOST_MS if name == OURS else None
        usual = shown(Estimate(level(reading[USUAL]).point))
        rows.append([name, usual, shown(worst), str(target or ""), verdict(worst, target)])
    return table([f"measured: {TOGETHER} × 768 numbers", USUAL, LONGEST, "target", "met"], rows)


def _ticked(ask: Ask) -> Arm:
    texts = [f"what has to wait for its turn, text {number}" for number in range(TOGETHER)]

    async def work() -> None:
        for _wave in range(REPLIES // AT_ONCE):
            await asyncio.gather(*(ask(texts) for _ in range(AT_ONCE)))

    async def arm() -> Reading:
        return await _lateness(work())

    return arm


async def _idle() -> Reading:
    return await _lateness(asyncio.sleep(0.2))


async def _lateness(work: object) -> Reading:
    late_ms: list[float] = []
    task = asyncio.ensure_future(work)  # type: ignore[call-overload]
    while not task.done():
        due_s = time.perf_counter() + TICK_S
        await asyncio.sleep(TICK_S)
        late_ms.append((time.perf_counter() - due_s) * 1e3)
    await task
    return {LONGEST: max(late_ms), USUAL: float(np.percentile(late_ms, 99))}
