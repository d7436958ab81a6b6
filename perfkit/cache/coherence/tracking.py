"""Tracking: Redis itself tells which keys under a prefix were written, whoever wrote them and however.

`CLIENT TRACKING ON BCAST PREFIX p` (Redis 6, RESP3) makes a connection a listener: after every turn of its
loop the server sends the names of the keys that were written, deleted, evicted or expired. Nothing has to be
said, so nothing can be forgotten: a value that an operator deletes by hand is heard of like any other. Tags
travel the same way: their times are one key, and what has changed in it is read when it is named.

Its price: a name for each write to each instance, for a lock that is taken and released two; and memory gives
up what a full server evicts, although it is still true.

What comes back of our own
--------------------------
An instance hears of its own writes too, and an entry that leaves memory as soon as it is stored costs each
load another read of Redis. `NOLOOP` is no help here. It leaves out what the *listening connection* wrote,
while ours are written on a pool's; and of what a script wrote, as all our entries are, it leaves out nothing
(measured with Valkey 9.1.2). Nor can echoes be counted: what is written twice within one turn of the server
is told once, and whoever takes one for his own may miss a stranger's.

So an echo is not counted but looked into. `writing` notes when an entry that is about to be written was born;
a name heard within `echo_seconds` of it makes us ask Redis for the birth of what stands there now. If it is
our own, nobody wrote later, and memory keeps it. If it is not, or cannot be asked, memory forgets it: at most
one round trip later than for any other key. If somebody writes after that, their name comes in another
message. The question is as large as an entry's head, and without somebody to answer it (`born_of`) echoes
count as changes.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from perfkit.cache.coherence.backplane import Backplane, PublishingClient, quiet_for
from perfkit.cache.coherence.keeper import Keeper, Unsupported
from perfkit.cache.coherence.names import Names
from perfkit.cache.coherence.protocol import Hears
from perfkit.cache.opened import AWAY, Opened
from perfkit.clock import Clock, epoch_s, now_s
from perfkit.events import Probe, TrackingUnsupported, log_probe
from perfkit.pools.listener import Listener, listener_of

__all__ = ["BornOf", "Tracking", "TrackingClient"]

BornOf: TypeAlias = Callable[[str], Awaitable[float | None]]
"""Returns when what stands under a full key in Redis was born; None when nothing does, or Redis is away."""

_LOOK_BACK_S: Final = 60.0
"""Tags are invalidated as of at most half of it ago (`TagTimes`); the rest is for clocks that differ."""
_AT_ONCE: Final = 32
"""A burst of writes must not become a burst of questions that takes their places in the pool."""
_MOST_TAGS: Final = 1_000
_MOST_WRITTEN: Final = 10_000


class TrackingClient(PublishingClient, Protocol):
    """What tracking needs beside a listener: to read tags' times, and what the backplane needs."""

    def zrangebyscore(
        self,
        name: bytes,
        min: str,  # noqa: A002  # redis-py's names
        max: str,  # noqa: A002
        start: int | None = None,
        num: int | None = None,
        withscores: bool = False,
    ) -> Awaitable[Any]:
        """Return members of a sorted set with their scores."""
        ...


Opener: TypeAlias = Callable[[], Awaitable[TrackingClient]]


class _Written(NamedTuple):
    born_epoch_s: float
    until_s: float


class Tracking:
    """Hears changes from Redis itself, and by a backplane where the server cannot tell (also in a cluster).

    All instances must go by the same way: those that track say nothing to those that only listen to messages.
    """

    def __init__(
        self,
        client: TrackingClient | Opener,
        *,
        prefix: str,
        born_of: BornOf | None = None,
        epoch: Clock = epoch_s,
        clock: Clock = now_s,
        rng: random.Random | None = None,
        probe: Probe = log_probe,
        heartbeat_seconds: float = 5.0,
        patience_seconds: float = 1.0,
        echo_seconds: float = 1.0,
    ) -> None:
        """Make it over a client, which stays the caller's to close.

        Args:
            client: A client that raises when Redis is away, or a function that opens one.
            prefix: The prefix of the remote tier; every key under it is heard of.
            born_of: Tells our own writes from others'.
            epoch: Epoch seconds.
            clock: How long hearing was lost goes by it, and how old a write of our own is.
            rng: Draws the waits before connecting again.
            probe: Hears when hearing is lost and restored, and that the server does not track.
            heartbeat_seconds: After how long a silence the server is asked whether it is there.
            patience_seconds: How long its answer may take, and beginning to hear.
            echo_seconds: For how long after a write of ours its name is looked into.
        """
        rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self._client = Opened(client)
        self._names = Names(prefix)
        self._born_of = born_of
        self._epoch = epoch
        self._clock = clock
        self._probe = probe
        self._heartbeat_s = heartbeat_seconds
        self._patience_s = patience_seconds
        self._echo_s = echo_seconds
        self._keeper = Keeper(
            "tracking", self._session, clock=clock, rng=rng, probe=probe, on_unsupported=self._fall_back
        )
        self._backplane = Backplane(
            client,
            prefix=prefix,
            epoch=epoch,
            clock=clock,
            rng=rng,
            probe=probe,
            heartbeat_seconds=heartbeat_seconds,
            patience_seconds=patience_seconds,
        )
        self._tracks: bool | None = None
        self._written: dict[str, _Written] = {}
        self._suspects: set[str] = set()
        self._tags_changed = False
        self._tags_told: dict[bytes, float] = {}
        self._settling: asyncio.Task[None] | None = None
        self.heard = 0
        """Names of entries that were written by anybody."""
        self.echoes = 0
        """How many of them turned out to be our own."""
        self.ignored = 0
        """Names under the prefix that are no entry's and no tags'."""

    @property
    def connected(self) -> bool:
        """Whether changes made elsewhere are heard now."""
        return self._keeper.connected or self._backplane.connected

    @property
    def interruptions(self) -> int:
        """How often hearing was lost."""
        return self._keeper.interruptions + self._backplane.interruptions

    @property
    def fell_back(self) -> bool:
        """Whether the server does not track, and the backplane is used instead."""
        return self._tracks is False

    async def start(self, hears: Hears) -> None:
        """Begin to hear in a task of its own; Redis may be away."""
        self._keeper.start(hears)

    def writing(self, full_key: str, born_epoch_s: float) -> None:
        """Note that an entry of this birth is about to be written; call it before the command is sent."""
        if self._born_of is None or self._tracks is False:
            return
        now = self._clock()
        written = self._written
        written.pop(full_key, None)  # to the end of the line
        written[full_key] = _Written(born_epoch_s, now + self._echo_s)
        while (oldest := next(iter(written))) != full_key and (
            written[oldest].until_s < now or len(written) > _MOST_WRITTEN
        ):
            del written[oldest]

    async def key_changed(self, full_key: str, at_epoch_s: float) -> bool:
        """Say nothing, because Redis has told already; by the backplane while it is not known to track."""
        return self._tracks is True or await self._backplane.key_changed(full_key, at_epoch_s)

    async def tag_changed(self, tag: str, at_epoch_s: float) -> bool:
        """As `key_changed`."""
        return self._tracks is True or await self._backplane.tag_changed(tag, at_epoch_s)

    async def aclose(self) -> None:
        """Hear no more."""
        await self._keeper.aclose()
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.wait([self._settling])
        await self._backplane.aclose()

    async def _fall_back(self, hears: Hears, unsupported: Unsupported) -> None:
        self._tracks = False
        self._probe(TrackingUnsupported(str(unsupported)))
        await self._backplane.start(hears)

    async def _session(self, hears: Hears, ready: Callable[[], None]) -> None:
        client = await self._client()
        if isinstance(client, RedisCluster):
            raise Unsupported("in a cluster each node would have to be tracked, whichever it is just now")
        async with asyncio.timeout(self._patience_s):
            listener = await listener_of(client)
        try:
            await self._begin(listener)
            self._tracks = True
            self._tags_told = {}
            ready()
            quiet_s = quiet_for(client, self._heartbeat_s)
            while True:
                await self._hear_next(listener, hears, quiet_s)
        finally:
            await asyncio.shield(listener.aclose())

    async def _begin(self, listener: Listener) -> None:
        if not listener.takes_pushes:
            raise Unsupported("the connection speaks RESP2, in which Redis does not speak first")
        await listener.say("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._names.prefix)
        try:
            while await listener.hear_in_time(self._patience_s) != b"OK":
                pass
        except ResponseError as refusal:
            raise Unsupported(str(refusal)) from None

    async def _hear_next(self, listener: Listener, hears: Hears, quiet_s: float | None) -> None:
        heard = await listener.hear(quiet_s)
        if heard is None:
            await listener.say("PING")
            heard = await listener.hear_in_time(self._patience_s)
        if isinstance(heard, list) and len(heard) == 2 and heard[0] == b"invalidate":
            if heard[1] is None:  # FLUSHDB or FLUSHALL
                hears.missed_some()
            else:
                self._hear(heard[1], hears)

    def _hear(self, names: Sequence[bytes], hears: Hears) -> None:
        now, now_epoch_s = self._clock(), self._epoch()
        for name in names:
            full_key = self._names.full_key(name)
            if full_key is None:
                if name == self._names.tags:
                    self._tags_changed = True
                else:
                    self.ignored += 1
                continue
            self.heard += 1
            written = self._written.get(full_key)
            if written is not None and now <= written.until_s:
                self._suspects.add(full_key)
            else:
                hears.key_invalidated(full_key, now_epoch_s)
        if (self._suspects or self._tags_changed) and self._settling is None:
            self._settling = asyncio.get_running_loop().create_task(self._settle(hears))

    async def _settle(self, hears: Hears) -> None:
        """Look into what cannot be told from its name alone, until nothing is left."""
        try:
            while self._suspects or self._tags_changed:
                suspects, self._suspects = list(self._suspects), set()
                tags_changed, self._tags_changed = self._tags_changed, False
                if tags_changed:
                    await self._read_tags(hears)
                for begin in range(0, len(suspects), _AT_ONCE):
                    some = suspects[begin : begin + _AT_ONCE]
                    await asyncio.gather(*(self._look_into(full_key, hears) for full_key in some))
        finally:
            self._settling = None

    async def _look_into(self, full_key: str, hears: Hears) -> None:
        assert self._born_of is not None  # noqa: S101  # nothing is noted as written without it
        try:
            born_epoch_s = await self._born_of(full_key)
        except AWAY:
            born_epoch_s = None
        written = self._written.get(full_key)
        if written is not None and born_epoch_s == written.born_epoch_s:
            self.echoes += 1
        else:
            hears.key_invalidated(full_key, self._epoch())

    async def _read_tags(self, hears: Hears) -> None:
        since = self._epoch() - _LOOK_BACK_S
        try:
            client = await self._client()
            changed = await client.zrangebyscore(
                self._names.tags, f"{since!r}", "+inf", start=0, num=_MOST_TAGS, withscores=True
            )
        except AWAY:
            hears.missed_some()
            return
        if len(changed) == _MOST_TAGS:
            hears.missed_some()
        told, self._tags_told = self._tags_told, {}
        for tag, score in changed:
            at_epoch_s = self._tags_told[tag] = float(score)
            if at_epoch_s > told.get(tag, -math.inf):
                hears.tag_invalidated(tag.decode("utf-8", "surrogatepass"), at_epoch_s)
