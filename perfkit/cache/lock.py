"""A lock between processes, so that of many instances that miss the same one asks the origin.

It makes work rarer, never results wrong: it need not be safe, only cheap and sure to end. So it is one key
with a lease on one server (`SET name token NX PX lease`), taken back by whoever's token it holds. A holder
that dies keeps the others waiting for at most the lease; one that takes longer than its lease is joined by
another. When Redis is away nobody locks anything, and everybody computes.

Others wait by looking again at growing intervals. A message would come sooner, by a few milliseconds of what
the origin takes, and cost every instance a subscription for each key it waits for.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import random
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias, TypeVar

from perfkit.cache.coherence.names import Names
from perfkit.cache.opened import AWAY, Opened
from perfkit.clock import Clock, now_s
from perfkit.events import Probe, RemoteFailed, log_probe

__all__ = ["LockClient", "RemoteLock"]

T = TypeVar("T")

_RELEASE: Final = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
)
_FIRST_WAIT_S: Final = 0.005
_LONGEST_WAIT_S: Final = 0.1
_GROWTH: Final = 1.6


class LockClient(Protocol):
    """The command the lock needs: any; `redis.asyncio.Redis` has it."""

    def execute_command(self, *args: object) -> Awaitable[object]:
        """Run a command."""
        ...


Opener: TypeAlias = Callable[[], Awaitable[LockClient]]


class RemoteLock:
    """Locks by key, each for at most a lease.

    >>> import fakeredis
    >>> async def main() -> list[bool]:
    ...     async with fakeredis.FakeAsyncRedis() as client:
    ...         lock = RemoteLock(client, prefix="perfkit:", lease_seconds=10)
    ...         token = await lock.acquire("users:7")
    ...         told = [token is not None, await lock.acquire("users:7") is None]
    ...         await lock.release("users:7", token)
    ...         return [*told, await lock.acquire("users:7") is not None]
    >>> asyncio.run(main())
    [True, True, True]
    """

    UNLOCKED: Final = ""
    """The token of who may go on although nothing is locked."""

    def __init__(
        self,
        client: LockClient | Opener,
        *,
        prefix: str,
        lease_seconds: float,
        clock: Clock = now_s,
        rng: random.Random | None = None,
        probe: Probe = log_probe,
    ) -> None:
        """Make locks over a client, which stays the caller's to close.

        Args:
            client: A client that raises when Redis is away, or a function that opens one.
            prefix: As the remote tier's.
            lease_seconds: After how long a lock ends by itself; longer than the origin usually takes. 0 locks
                nothing.
            clock: Waiting goes by it.
            rng: Draws the jitter of the waits.
            probe: Hears when Redis is away.
        """
        self._client = Opened(client)
        self._names = Names(prefix)
        self._lease_s = lease_seconds
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self._probe = probe
        self._mine = os.urandom(8).hex()
        self._numbers = itertools.count()
        self.acquired = 0
        """How many locks were taken."""
        self.waits = 0
        """How often somebody waited for another's."""
        self.failures = 0
        """How often Redis was away and nothing was locked."""

    async def acquire(self, full_key: str) -> str | None:
        """Take the lock of a key and return the token to release it with; None when another has it.

        When Redis is away, or the lease is 0, the token is `UNLOCKED`: go on, and release it as any other.
        """
        if not self._lease_s:
            return self.UNLOCKED
        token = f"{self._mine}:{next(self._numbers)}"
        lease_ms = max(1, math.ceil(self._lease_s * 1_000))
        try:
            client = await self._client()
            taken = await client.execute_command(
                "SET", self._names.lock(full_key), token, "NX", "PX", lease_ms
            )
        except AWAY as error:
            self._failed(error)
            return self.UNLOCKED
        if not taken:
            return None
        self.acquired += 1
        return token

    async def release(self, full_key: str, token: str) -> None:
        """Give a lock back, if it is still the token's; its lease ends it when Redis is away."""
        if token == self.UNLOCKED:
            return
        try:
            client = await self._client()
            await client.execute_command("EVAL", _RELEASE, 1, self._names.lock(full_key), token)
        except AWAY as error:
            self._failed(error)

    async def wait(
        self,
        full_key: str,
        *,
        has_arrived: Callable[[], Awaitable[T | None]],
        longest_seconds: float | None = None,
    ) -> T | None:
        """Wait for what another is computing; None when it did not arrive: then compute, or try to lock.

        Args:
            full_key: Whose lock another has.
            has_arrived: Looks for the answer; asked when the lock has ended, and now and then before.
            longest_seconds: How long to wait at most; default: the lease.
        """
        self.waits += 1
        end_s = self._clock() + (self._lease_s if longest_seconds is None else longest_seconds)
        wait_s = _FIRST_WAIT_S
        while (left_s := end_s - self._clock()) > 0:
            await asyncio.sleep(min(left_s, wait_s * (0.5 + self._rng.random())))
            wait_s = min(wait_s * _GROWTH, _LONGEST_WAIT_S)
            held = await self._is_held(full_key)
            found = await has_arrived()  # after the lock's end was seen, so that its fruit cannot be missed
            if found is not None or not held:
                return found
        return None

    async def _is_held(self, full_key: str) -> bool:
        try:
            client = await self._client()
            return bool(await client.execute_command("EXISTS", self._names.lock(full_key)))
        except AWAY as error:
            self._failed(error)
            return False

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self._probe(RemoteFailed("lock", f"{type(error).__name__}: {error}"))
