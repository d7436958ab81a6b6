"""The time one command may take on a connection lent to it alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from perfkit.pools.failures import RedisTimeout

__all__ = ["CommandDeadline"]


@dataclass(frozen=True, slots=True)
class CommandDeadline:
    """Gives up what takes too long, once it has its connection; the connection is then closed by redis-py."""

    pool: str
    patience_s: float
    sent: bool = True
    """Whether what is given up may have left."""

    @asynccontextmanager
    async def over(self, what: str) -> AsyncIterator[None]:
        """Bound the block.

        Raises:
            RedisTimeout: it took longer.
        """
        try:
            async with asyncio.timeout(self.patience_s):
                yield
        except TimeoutError:
            raise RedisTimeout(
                f"{what} on pool {self.pool} took longer than {self.patience_s:g} s and was given up; if it "
                f"writes, it may have happened. Raise pools.{self.pool}.command_timeout_seconds, or ask less "
                "at once.",
                pool=self.pool,
                sent=self.sent,
            ) from None
