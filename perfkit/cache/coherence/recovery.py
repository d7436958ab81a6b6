"""Invalidations that Redis did not acknowledge: remembered, heeded here, and made up for.

    not acknowledged ──▶ queue, one place a key or tag ──▶ replayed in order ──▶ acknowledged: gone
                             │          ▲                        │
                             │          └── wait, backoff ◀──────┘ not acknowledged
                             ▼
                  too old, or the queue is full: dropped, counted, told

While it waits, `pending` tells when the key was invalidated, and whoever reads from Redis takes an entry born
then or before as absent: this instance does not serve what it was itself told to forget. Others do, until
Redis is back and the invalidation with it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple, TypeAlias

from perfkit.cache.opened import AWAY
from perfkit.clock import Clock, now_s
from perfkit.events import InvalidationsDropped, Probe, log_probe
from perfkit.resilience import full_jitter_s

__all__ = ["Recovery", "Replay"]

Replay: TypeAlias = Callable[[str, float], Awaitable[bool]]
"""Invalidates a key or tag as of an epoch time, and returns whether that is certain now."""

Kind: TypeAlias = Literal["key", "tag"]

_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 10.0


class _Owed(NamedTuple):
    at_epoch_s: float
    since_s: float


class Recovery:
    """The queue, and the task that works it off; there is none while nothing is owed.

    >>> async def main() -> tuple[float | None, float | None]:
    ...     async def forget(full_key: str, at_epoch_s: float) -> bool:
    ...         print("made up for", full_key)
    ...         return True
    ...     recovery = Recovery(replay_key=forget, replay_tag=forget)
    ...     recovery.add_key("users:7", 1_000.0)
    ...     before = recovery.pending("users:7")
    ...     recovery.redis_answered()
    ...     await recovery.settled()
    ...     return before, recovery.pending("users:7")
    >>> asyncio.run(main())
    made up for users:7
    (1000.0, None)
    """

    def __init__(
        self,
        *,
        replay_key: Replay,
        replay_tag: Replay,
        max_entries: int = 10_000,
        max_age_seconds: float = 3_600.0,
        clock: Clock = now_s,
        rng: random.Random | None = None,
        probe: Probe = log_probe,
    ) -> None:
        """Make an empty queue.

        Args:
            replay_key: Invalidates a key in Redis and tells the others.
            replay_tag: Invalidates a tag in Redis and tells the others.
            max_entries: How many keys and tags may wait; the oldest is dropped for one more.
            max_age_seconds: How long one may wait; what lives no longer needs no invalidation.
            clock: Waiting goes by it.
            rng: Draws the jitter of the waits between attempts.
            probe: Hears of what is dropped.
        """
        self._replay: dict[Kind, Replay] = {"key": replay_key, "tag": replay_tag}
        self._max_entries = max_entries
        self._max_age_s = max_age_seconds
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self._probe = probe
        self._owed: dict[tuple[Kind, str], _Owed] = {}
        self._task: asyncio.Task[None] | None = None
        self._answered = asyncio.Event()
        self._closed = False
        self.dropped = 0
        """How many invalidations Redis never learned of."""
        self.made_up = 0
        """How many it learned of late."""

    def __len__(self) -> int:
        return len(self._owed)

    def add_key(self, full_key: str, at_epoch_s: float) -> None:
        """Owe Redis the invalidation of a key; to be called within the running loop."""
        self._add("key", full_key, at_epoch_s)

    def add_tag(self, tag: str, at_epoch_s: float) -> None:
        """Owe Redis the invalidation of a tag; to be called within the running loop."""
        self._add("tag", tag, at_epoch_s)

    def pending(self, full_key: str) -> float | None:
        """Return as of when a key is invalid though Redis does not know it; None when nothing is owed."""
        owed = self._owed.get(("key", full_key)) if self._owed else None
        return None if owed is None else owed.at_epoch_s

    def redis_answered(self) -> None:
        """Note that a command succeeded: what is owed is tried at once instead of at its next time."""
        if self._owed:
            self._answered.set()

    async def settled(self) -> None:
        """Wait until nothing is owed."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def aclose(self) -> None:
        """Give up what is owed; every task has ended when this returns."""
        self._closed = True
        self._drop(list(self._owed), "the cache was closed")
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _add(self, kind: Kind, name: str, at_epoch_s: float) -> None:
        before = self._owed.pop((kind, name), None)
        if before is not None:
            at_epoch_s = max(at_epoch_s, before.at_epoch_s)
        elif len(self._owed) >= self._max_entries:
            self._drop([next(iter(self._owed))], f"{self._max_entries} others wait as well")
        self._owed[kind, name] = _Owed(at_epoch_s, self._clock())
        if self._task is None and not self._closed:
            self._answered.clear()
            self._task = asyncio.get_running_loop().create_task(self._work_off())
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            task.exception()

    async def _work_off(self) -> None:
        attempt = 0
        while self._owed:
            await self._pause(attempt)
            progress = await self._replay_in_order()
            attempt = 0 if progress else attempt + 1

    async def _pause(self, attempt: int) -> None:
        wait_s = full_jitter_s(attempt, self._rng, base_s=_FIRST_WAIT_S, cap_s=_LONGEST_WAIT_S)
        try:
            async with asyncio.timeout(wait_s):
                await self._answered.wait()
        except TimeoutError:
            pass
        self._answered.clear()

    async def _replay_in_order(self) -> bool:
        """Replay until one fails; return whether any did not."""
        progress = False
        oldest_s = self._clock() - self._max_age_s
        old = [what for what, owed in self._owed.items() if owed.since_s < oldest_s]
        self._drop(old, f"Redis has been away for more than {self._max_age_s:g} s")
        while self._owed:
            (kind, name), owed = next(iter(self._owed.items()))
            try:
                if not await self._replay[kind](name, owed.at_epoch_s):
                    return progress
            except AWAY:
                return progress
            progress = True
            if self._owed.get((kind, name)) is owed:  # else it was invalidated once more meanwhile
                del self._owed[kind, name]
                self.made_up += 1
        return progress

    def _drop(self, some: list[tuple[Kind, str]], why: str) -> None:
        if not some:
            return
        for what in some:
            del self._owed[what]
        self.dropped += len(some)
        keys, tags = (tuple(name for kind, name in some if kind == wanted) for wanted in ("key", "tag"))
        self._probe(InvalidationsDropped(keys, tags, why))
