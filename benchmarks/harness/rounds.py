"""Interleaved rounds, and what is concluded from them.

In each round all arms take short turns, in an order drawn anew, in one process and on one event loop. What
drifts on the machine drifts for all of them; a round keeps the median of an arm's turns, so that a neighbour
who wakes for a moment ruins a turn and not a round; and only ratios within a round are compared. The estimate
is the laboratory's: Hodges-Lehmann over rounds with the exact signed-rank interval (`perfkit.lab.stats`), on
logarithms for a ratio.
"""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from perfkit.errors import MeasurementError
from perfkit.lab.stats import hodges_lehmann, signed_rank_interval

Reading: TypeAlias = Mapping[str, float]
"""What one arm's turn showed, by the name of what was read."""
Arm: TypeAlias = Callable[[], Awaitable[Reading]]
Readings: TypeAlias = dict[str, dict[str, NDArray[np.float64]]]
"""By arm, by what was read: one number a round."""

WALL = "wall µs"
PROCESSOR = "processor µs"
REGION_S = 0.04
"""About how long a timed region lasts: long against the clock's grain, short against the machine's moods."""
FIRST_TRY_S = 0.02
TURNS = 5
FAILED_AT_MOST = 0.01


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval; without one when there were fewer than six rounds."""

    point: float
    low: float | None = None
    high: float | None = None


class Timed:
    """An arm that repeats an operation for about `REGION_S` and reads what one of them cost.

    `work` is asked for a number of operations and returns how many were completed; only those count, and the
    whole timed region is divided among them.
    """

    def __init__(self, work: Callable[[int], Awaitable[int]], *, step: int = 1) -> None:
        self._work = work
        self._step = step
        self._operations = 0
        self.asked = 0
        self.completed = 0

    async def __call__(self) -> Reading:
        """Do the work once, its amount found by trying at the first call."""
        if not self._operations:
            await self._find_amount()
        self.asked += self._operations
        gc.collect()  # nobody pays for what another left behind
        wall_s, processor_s = time.perf_counter(), time.process_time()
        done = await self._work(self._operations)
        wall_s, processor_s = time.perf_counter() - wall_s, time.process_time() - processor_s
        self.completed += done
        if done < (1 - FAILED_AT_MOST) * self._operations:
            raise MeasurementError(
                f"{self._operations - done} of {self._operations} operations failed, so what they cost says "
                "nothing. Is the server overloaded?"
            )
        return {WALL: wall_s / done * 1e6, PROCESSOR: processor_s / done * 1e6}

    async def _find_amount(self) -> None:
        amount, took_s = self._step, 0.0
        while took_s < FIRST_TRY_S:
            amount *= 2
            start = time.perf_counter()
            await self._work(amount)
            took_s = time.perf_counter() - start
        self._operations = max(1, round(amount * REGION_S / took_s / self._step)) * self._step


async def interleaved(arms: Mapping[str, Arm], rounds: int, *, turns: int = TURNS) -> Readings:
    """Give every arm a turn that does not count, and then some in each round."""
    shuffle = random.Random(1).shuffle  # noqa: S311  # an order of turns, not a secret
    order = list(arms)
    for name in order:
        await arms[name]()
    kept: dict[str, list[Reading]] = {name: [] for name in arms}
    for _round in range(rounds):
        taken: dict[str, list[Reading]] = {name: [] for name in arms}
        for _turn in range(turns):
            shuffle(order)
            for name in order:
                taken[name].append(await arms[name]())
        for name, readings in taken.items():
            kept[name].append({what: float(np.median(_all(readings, what))) for what in readings[0]})
    return {name: {what: _all(readings, what) for what in readings[0]} for name, readings in kept.items()}


def _all(readings: Sequence[Reading], what: str) -> NDArray[np.float64]:
    return np.array([reading[what] for reading in readings])


def ratio(over: NDArray[np.float64], under: NDArray[np.float64]) -> Estimate:
    """Return how many times the one is the other, round by round."""
    found = level(np.log(over / under))
    low, high = (bound if bound is None else math.exp(bound) for bound in (found.low, found.high))
    return Estimate(math.exp(found.point), low, high)


def level(values: NDArray[np.float64]) -> Estimate:
    """Return where the values of the rounds are centred."""
    low, high = signed_rank_interval(values) or (None, None)
    return Estimate(hodges_lehmann(values), low, high)
