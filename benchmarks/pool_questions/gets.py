"""What a GET of 100 bytes costs, with many callers at once and with one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from shutil import which

from harness import WALL, Arm, Target, Timed, costs_table, interleaved
from harness.rounds import Reading
from perfkit.errors import MeasurementError
from pool_questions.clients import CALLERS, COREDIS, GLIDE, REDIS_PY, Clients, Get, address

KEY, VALUE = "bench:value", b"x" * 100
PROGRAMS = ("redis-benchmark", "valkey-benchmark")
PROGRAM_OPERATIONS = 5_000
PROGRAM_KEY = "key:__rand_int__"
"""What these programs ask for when they are not told to vary it."""


async def concurrent(found: Clients, url: str, rounds: int) -> str:
    """Compare 64 callers at once."""
    await found.ours.set(KEY, VALUE)
    arms: dict[str, Arm] = {
        name: Timed(at_once(get, CALLERS), step=CALLERS) for name, get in found.get.items()
    }
    targets = {REDIS_PY: Target(10), GLIDE: Target(4), COREDIS: Target(8)}
    absent = dict(found.absent)
    program = next(filter(which, PROGRAMS), None)
    if program is None:
        absent[PROGRAMS[0]] = "not on PATH"
        targets[PROGRAMS[0]] = Target(2)
    else:
        await found.ours.set(PROGRAM_KEY, VALUE)
        name = f"{await _version(program)}, -c {CALLERS} -t get"
        arms[name] = lambda: _program(program, url)
        targets[name] = Target(2)
    readings = await interleaved(arms, rounds)
    return costs_table(readings, targets, unit="GET", absent=absent) + losses(arms)


async def sequential(found: Clients, _url: str, rounds: int) -> str:
    """Compare one caller who waits for each reply."""
    await found.ours.set(KEY, VALUE)
    arms: dict[str, Arm] = {name: Timed(at_once(get, 1)) for name, get in found.get.items()}
    readings = await interleaved(arms, rounds)
    return costs_table(readings, {REDIS_PY: Target(1.8)}, unit="GET", absent=found.absent) + losses(arms)


def at_once(get: Get, callers: int) -> Callable[[int], Awaitable[int]]:
    """Return work that so many callers share, each waiting for its reply before it asks again.

    What fails is not counted, whatever each client's exceptions are; where all fails, the last one is raised.
    """

    async def call(operations: int) -> int:
        completed, last = 0, None
        for _ in range(operations):
            try:
                completed += await get(KEY) == VALUE
            except Exception as failure:
                last = failure
        if last is not None and not completed:
            raise last
        return completed

    async def work(operations: int) -> int:
        return sum(await asyncio.gather(*(call(operations // callers) for _ in range(callers))))

    return work


def losses(arms: dict[str, Arm]) -> str:
    """Return what is to be said of operations that were not completed; nothing, as a rule."""
    said = [
        f"{name}: {arm.asked - arm.completed:,} of {arm.asked:,} operations failed and are not counted."
        for name, arm in arms.items()
        if isinstance(arm, Timed) and arm.completed < arm.asked
    ]
    return "".join(f"\n\n{line}" for line in said)


async def _program(program: str, url: str) -> Reading:
    """Let the server's own benchmark say how many it got, its start not counted."""
    host, port = address(url)
    options = ["-h", host, "-p", str(port), "-c", str(CALLERS), "-n", str(PROGRAM_OPERATIONS), "-t", "get"]
    text = await _output(program, *options, "--csv")
    rate = re.search(r'^"GET","([\d.]+)"', text, flags=re.MULTILINE)
    if rate is None:
        raise MeasurementError(f"{program} ended without a rate; it said: {text.strip()!r}")
    return {WALL: 1e6 / float(rate[1])}


async def _version(program: str) -> str:
    return (await _output(program, "--version")).strip().split(" (")[0]


async def _output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode()
