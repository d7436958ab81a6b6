"""A limiter whose callers are watched, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from perfkit.lab.virtual import run_virtual
from perfkit.resilience import Limit, Limiter


class Watched:
    """A limiter and the order in which its callers got their places."""

    def __init__(self, limit: Limit, *, patience_s: float = 10.0, max_waiting: int | None = 100) -> None:
        self.limiter = Limiter("redis", limit, patience_s=patience_s, max_waiting=max_waiting)
        self.served: list[int] = []

    def caller(self, number: int) -> asyncio.Task[None]:
        """Ask for a place and keep it."""

        async def ask() -> None:
            await self.limiter.acquire()
            self.served.append(number)

        return asyncio.create_task(ask())

    async def full(self, waiting: int) -> list[asyncio.Task[None]]:
        """Take all places and let so many stand in line."""
        while self.limiter.take():
            pass
        tasks = [self.caller(number) for number in range(waiting)]
        await turns()
        assert self.limiter.waiting == waiting
        return tasks


async def turns(number: int = 3) -> None:
    """Give everybody that is ready a turn."""
    for _ in range(number):
        await asyncio.sleep(0)


def virtually(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in virtual time; it fails when it leaves a timer or a task behind."""

    def run(self: Any) -> None:
        async def watched() -> None:
            await test(self)
            await turns()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            loop: Any = asyncio.get_running_loop()
            assert [timer for timer in loop._scheduled if not timer.cancelled()] == []

        run_virtual(watched())

    run.__doc__ = test.__doc__
    return run
