"""A server that counts a quota by its own minutes, and a model that does what it is told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any

from perfkit.lab.virtual import run_virtual


class Hand:
    """A clock that the test moves."""

    def __init__(self, at_s: float = 0.0) -> None:
        self.at_s = at_s

    def __call__(self) -> float:
        return self.at_s


class MinuteServer:
    """Counts what arrives by fixed minutes that begin at a phase of its own."""

    def __init__(self, quota: float, phase_s: float) -> None:
        self.quota = quota
        self.phase_s = phase_s
        self.minutes: dict[int, float] = defaultdict(float)

    def arrive(self, at_s: float, amount: float = 1.0) -> bool:
        """Count an amount and return whether the quota allowed it."""
        minute = int((at_s + self.phase_s) // 60)
        self.minutes[minute] += amount
        return self.minutes[minute] <= self.quota + 1e-6

    @property
    def fullest(self) -> float:
        return max(self.minutes.values(), default=0.0)


def virtually(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in virtual time; it fails when it leaves a task behind."""

    def run(*args: Any, **kwargs: Any) -> None:
        async def watched() -> None:
            await test(*args, **kwargs)
            await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"left behind: {left}"

        run_virtual(watched())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run
