"""Tags: everything with a tag made void at once, however much it is.

A tag's time is when it was last invalidated. An entry keeps its tags' names and when it was born; it is void
when it was born at the time of one of its tags or before. So invalidating writes one number, nothing is
searched and nothing deleted: voided entries are noticed when they are read, and end with their time to live.
(As FusionCache and bentocache have it. Sets of keys for each tag, the other way, cost a command an entry on
writing as on invalidating, and miss what is written meanwhile.)

The times of all tags stand in one sorted set, which fits better than a key for each:

- `ZADD … GT` (Redis 6.2) raises a time and never lowers it, so that of two invalidations the younger wins in
  whatever order they come, with no script;
- `ZMSCORE` answers for many tags at once, also in a cluster, where a tag's set lies on one node;
- what was invalidated longer ago than any entry lives is cut off by its score.

Times known here answer at once (`is_void`), for hits of memory, which is told of changes by the backplane.
Before something from Redis is served, `void` makes sure that the times of its tags were asked for within the
last `ttl_seconds`. So a tag's invalidation is noticed by an instance when the message comes, and when it does
not come, within `ttl_seconds` for what is read from Redis, and within memory's time to live for the rest.

While Redis is away, what is known counts, and a tag of which nothing is known counts as not invalidated.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol, TypeAlias

from perfkit.cache.coherence.names import Names
from perfkit.cache.opened import AWAY, Opened
from perfkit.clock import Clock, epoch_s, now_s

__all__ = ["TagTimes", "TagsClient"]

_THIRTY_TWO_DAYS_S: Final = 32 * 86_400.0
_LATEST_S: Final = 30.0
_TIDY_EVERY_S: Final = 60.0
_NEVER: Final = -math.inf


class TagsClient(Protocol):
    """The command the times need: any; `redis.asyncio.Redis` has it. Answers must be bytes, not text."""

    def execute_command(self, *args: object) -> Awaitable[object]:
        """Run a command."""
        ...


Opener: TypeAlias = Callable[[], Awaitable[TagsClient]]


class TagTimes:
    """When each tag was last invalidated: in Redis for all, and here as far as it is known.

    Tags are full ones (`perfkit.cache.coherence.full_tag`).

    >>> import fakeredis
    >>> async def main() -> tuple[bool, bool]:
    ...     async with fakeredis.FakeAsyncRedis() as client:
    ...         here, there = (TagTimes(client, prefix="perfkit:", epoch=lambda: 1_002.0) for _ in range(2))
    ...         await here.invalidate("users:team 7", at_epoch_s=1_000.0)
    ...         return await there.void(["users:team 7"], 999.0), await there.void(["users:team 7"], 1_001.0)
    >>> asyncio.run(main())
    (True, False)
    """

    def __init__(
        self,
        client: TagsClient | Opener,
        *,
        prefix: str,
        ttl_seconds: float = 5.0,
        keep_seconds: float = _THIRTY_TWO_DAYS_S,
        max_tags: int = 10_000,
        epoch: Clock = epoch_s,
        clock: Clock = now_s,
    ) -> None:
        """Make a table over a client, which stays the caller's to close.

        Args:
            client: A client that raises when Redis is away, or a function that opens one.
            prefix: As the remote tier's.
            ttl_seconds: For how long what Redis said of a tag is good enough for what is read from Redis.
            keep_seconds: How long Redis keeps a tag's time; longer than any entry lives, stale ones too.
            max_tags: How many tags are remembered here; those invalidated longest ago are forgotten first.
            epoch: Epoch seconds.
            clock: What is known ages by it.
        """
        self._client = Opened(client)
        self._name = Names(prefix).tags
        self._ttl_s = ttl_seconds
        self._keep_s = keep_seconds
        self._max_tags = max_tags
        self._epoch = epoch
        self._clock = clock
        self._times: dict[str, float] = {}
        self._good_until_s: dict[str, float] = {}
        self.youngest_epoch_s = _NEVER
        """The latest invalidation known of any tag: what is born after it is not void, whatever its tags."""
        self._tidy_at_s = _NEVER
        self._asking: dict[str, asyncio.Task[None]] = {}
        self.failures = 0
        """How often Redis could not be asked or told."""

    def __len__(self) -> int:
        return len(self._times)

    def is_void(self, tags: Iterable[str], born_epoch_s: float) -> bool:
        """Tell whether an entry is void by what is known here; a tag unknown here voids nothing."""
        if born_epoch_s > self.youngest_epoch_s:
            return False  # younger than every invalidation: no need to look
        times = self._times
        for tag in tags:  # noqa: SIM110  # `any` would cost twice as much, on every hit of memory
            if times.get(tag, _NEVER) >= born_epoch_s:
                return True
        return False

    async def void(self, tags: Sequence[str], born_epoch_s: float) -> bool:
        """Tell whether an entry is void, asking Redis for what was not asked within `ttl_seconds`.

        Callers that want to know the same at once ask once. When Redis is away, what is known counts.
        """
        if self.is_void(tags, born_epoch_s):
            return True  # times only rise
        now, good = self._clock(), self._good_until_s
        unsure = [tag for tag in tags if good.get(tag, _NEVER) < now]
        if unsure:
            await self._ask(unsure)
        return self.is_void(tags, born_epoch_s)

    async def invalidate(self, tag: str, at_epoch_s: float | None = None) -> bool:
        """Void everything with a tag that was born until now; False when Redis was not told for certain.

        It counts here at once, whether Redis was told or not. To tell other instances is up to the caller
        (`Coherence.tag_changed`), after this, and to try again (`Recovery`).

        Args:
            tag: A full tag.
            at_epoch_s: Until when, if not until now. What is longer ago than half a minute is taken as half
                a minute ago: instances that hear by tracking look no further back.
        """
        now = self._epoch()
        at_epoch_s = now if at_epoch_s is None else max(at_epoch_s, now - _LATEST_S)
        self.learn(tag, at_epoch_s)
        return await self._tell({tag: at_epoch_s})

    def learn(self, tag: str, at_epoch_s: float) -> None:
        """Note an invalidation that was heard of."""
        if at_epoch_s > self._times.get(tag, _NEVER):
            self._times.pop(tag, None)  # to the end of the line
            self._times[tag] = at_epoch_s
            self.youngest_epoch_s = max(self.youngest_epoch_s, at_epoch_s)
            self._forget_some()

    def doubt(self) -> None:
        """Ask again before anything from Redis is served: invalidations may have gone unheard."""
        self._good_until_s.clear()

    async def aclose(self) -> None:
        """End what is being asked."""
        tasks = set(self._asking.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _ask(self, tags: Sequence[str]) -> None:
        asking = self._asking
        if missing := [tag for tag in tags if tag not in asking]:
            task = asyncio.get_running_loop().create_task(self._fetch(missing))
            asking.update(dict.fromkeys(missing, task))
            task.add_done_callback(lambda _: [asking.pop(tag, None) for tag in missing])
        await asyncio.wait({asking[tag] for tag in tags})  # a caller that is cancelled cancels nobody's task

    async def _fetch(self, tags: list[str]) -> None:
        """Ask Redis, in a task of its own that never fails."""
        asked_s = self._clock()
        try:
            client = await self._client()
            scores = await client.execute_command("ZMSCORE", self._name, *map(_bytes_of, tags))
        except AWAY:
            self.failures += 1
            return
        forgotten = {}
        for tag, score in zip(tags, scores, strict=True):  # type: ignore[call-overload]  # a list, says Redis
            at_epoch_s = _NEVER if score is None else float(score)
            known = self._times.get(tag, _NEVER)
            if known > at_epoch_s:
                forgotten[tag] = known  # Redis was away when it was told, or has been emptied since
            self.learn(tag, at_epoch_s)
            self._times.setdefault(tag, _NEVER)
            self._good_until_s[tag] = asked_s + self._ttl_s
        self._forget_some()
        if forgotten:
            await self._tell(forgotten)

    async def _tell(self, times: dict[str, float]) -> bool:
        pairs = [part for tag, at_epoch_s in times.items() for part in (repr(at_epoch_s), _bytes_of(tag))]
        try:
            client = await self._client()
            await client.execute_command("ZADD", self._name, "GT", *pairs)
            if self._clock() >= self._tidy_at_s:
                await self._tidy(client)
        except AWAY:
            self.failures += 1
            return False
        return True

    async def _tidy(self, client: TagsClient) -> None:
        """Cut off what no entry is old enough for, and let the set end some time after the last service."""
        self._tidy_at_s = self._clock() + _TIDY_EVERY_S
        too_old = f"({self._epoch() - self._keep_s!r}"
        await client.execute_command("ZREMRANGEBYSCORE", self._name, "-inf", too_old)
        await client.execute_command(
            "PEXPIRE", self._name, math.ceil((self._keep_s + 2 * _TIDY_EVERY_S) * 1_000)
        )

    def _forget_some(self) -> None:
        """Keep the table within its bound: first those never invalidated, then those longest ago."""
        excess = len(self._times) - self._max_tags
        if excess <= 0:
            return
        oldest = sorted(self._times, key=self._times.__getitem__)
        for tag in oldest[: excess + self._max_tags // 10]:  # a tenth more, so that sorting is rare
            del self._times[tag]
            self._good_until_s.pop(tag, None)


def _bytes_of(tag: str) -> bytes:
    return tag.encode("utf-8", "surrogatepass")
