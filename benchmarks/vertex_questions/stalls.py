"""How long the event loop stands still while vectors come in: other callers of the service wait so long.

A tick that is late was held up by this process's own work, or by a neighbour on the machine; the processor
time of the loop's thread between two ticks is the former's alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine

from harness import Arm, Target, interleaved, level, shown, table, verdict
from harness.rounds import Reading
from perfkit.vertex.emulator.plan import EmulatorPlan
from vertex_questions.client import OURS, Ask, connected
from vertex_questions.served import emulator

__all__ = ["longest"]

TOGETHER, REPLIES = 250, 8
TICK_S = 0.001
LATE, WORKED = "longest stall, wall ms", "processor ms"
AT_MOST_MS = Target(15, at_most=True)
IDLE = "nothing asked"
IDLE_S = 0.2


async def longest(rounds: int) -> str:
    """Tick every millisecond while replies of 250 vectors come in, one after the other and four at a time."""
    async with emulator(EmulatorPlan(vectors="cheap")) as served, connected(served) as clients:
        arms: dict[str, Arm] = {
            f"{name}, {said}": _ticked(ask, at_once)
            for name, ask in clients.items()
            for said, at_once in (("one reply after the other", 1), ("four at a time", 4))
        }
        arms[IDLE] = _idle
        readings = await interleaved(arms, rounds, turns=3)
    rows = []
    for name, reading in readings.items():
        found = [level(reading[what]) for what in (LATE, WORKED)]
        target = AT_MOST_MS if name.startswith(OURS) else None
        met = " / ".join(dict.fromkeys(verdict(one, target) for one in found))
        rows.append([name, *map(shown, found), str(target or ""), met])
    return table(
        [f"measured: {TOGETHER} × 768 numbers", LATE, WORKED, "target", "met, by wall / processor"], rows
    )


def _ticked(ask: Ask, at_once: int) -> Arm:
    texts = [f"what has to wait for its turn, text {number}" for number in range(TOGETHER)]

    async def work() -> None:
        for _wave in range(REPLIES // at_once):
            await asyncio.gather(*(ask(texts) for _ in range(at_once)))

    async def arm() -> Reading:
        return await _stalls(work())

    return arm


async def _idle() -> Reading:
    return await _stalls(asyncio.sleep(IDLE_S))


async def _stalls(work: Coroutine[None, None, None]) -> Reading:
    """Return the longest time from one tick to the next that was not asked for, and the most work in one."""
    late_ms = worked_ms = 0.0
    task = asyncio.create_task(work)
    while not task.done():
        wall_s, processor_s = time.perf_counter(), time.thread_time()
        await asyncio.sleep(TICK_S)
        late_ms = max(late_ms, (time.perf_counter() - wall_s - TICK_S) * 1e3)
        worked_ms = max(worked_ms, (time.thread_time() - processor_s) * 1e3)
    await task
    return {LATE: late_ms, WORKED: worked_ms}
