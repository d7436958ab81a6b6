"""An origin that counts, a Redis that can be shut, and time that jumps: what the cache's tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from perfkit.lab.virtual import run_virtual

__all__ = ["Dictionary", "Origin", "virtually"]


class Origin:
    """Counts its calls; answers after a while, with what it was told to."""

    def __init__(self, answer: Any = "answer", wait_s: float = 1.0) -> None:
        self.answer = answer
        self.wait_s = wait_s
        self.calls = 0
        self.ended = 0

    async def __call__(self) -> Any:
        self.calls += 1
        await asyncio.sleep(self.wait_s)
        if isinstance(self.answer, Exception):
            raise self.answer
        self.ended += 1
        return self.answer


class Dictionary:
    """Redis as far as the remote tier needs it at least, with a door that can be shut."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}
        self.away = False
        self.slow_s = 0.0
        self.reads = 0

    async def get(self, name: bytes) -> bytes | None:
        self.reads += 1
        await self._answer()
        return self.data.get(name)

    async def set(self, name: bytes, value: bytes, *, px: int) -> bool:
        await self._answer()
        self.data[name] = value
        return True

    async def delete(self, *names: bytes) -> int:
        await self._answer()
        return sum(self.data.pop(name, None) is not None for name in names)

    async def _answer(self) -> None:
        if self.away:
            raise RedisConnectionError("gone")
        await asyncio.sleep(self.slow_s)


def virtually(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run a coroutine test on a loop that jumps over its waits."""

    def run() -> None:
        run_virtual(test())  # type: ignore[arg-type]  # tests are coroutine functions

    run.__doc__ = test.__doc__
    return run
