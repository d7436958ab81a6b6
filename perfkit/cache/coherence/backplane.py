"""The backplane: instances tell each other by messages over Redis' publish and subscribe.

One channel a key prefix carries messages of a few dozen bytes (`perfkit.cache.coherence.message`). Redis
forgets a message once it is delivered and keeps none for who is away, so a subscriber must know when it was
away: it asks for a sign of life when nothing has been said for a while, and whenever its connection was lost
it says so (`perfkit.cache.coherence.keeper`).

Channels do not belong to a database: services that share a server need prefixes of their own, or they make
each other forget.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeAlias

from perfkit.cache.coherence.keeper import Keeper
from perfkit.cache.coherence.message import Alien, Kind, Message, pack, unpack
from perfkit.cache.coherence.names import Names
from perfkit.cache.coherence.protocol import Hears
from perfkit.cache.opened import AWAY, Opened
from perfkit.clock import Clock, epoch_s, now_s
from perfkit.events import Probe, log_probe
from perfkit.pools.listener import Listener, listener_of

__all__ = ["Backplane", "PublishingClient", "quiet_for"]

_SOURCE_BYTES: Final = 8
_SKEW_S: Final = 60.0
"""A clock that is further ahead is wrong, and would make everything void until it is right."""


class PublishingClient(Protocol):
    """The command the backplane needs; it also needs what `perfkit.pools.listener.listener_of` takes."""

    def publish(self, channel: bytes, message: bytes) -> Awaitable[object]:
        """Send a message to all who listen."""
        ...


Opener: TypeAlias = Callable[[], Awaitable[PublishingClient]]


class Backplane:
    """Says and hears changes over one channel.

    >>> import fakeredis
    >>> class Aloud:
    ...     def key_invalidated(self, full_key, at_epoch_s): print("heard of", full_key)
    ...     def tag_invalidated(self, tag, at_epoch_s): print("heard of tag", tag)
    ...     def missed_some(self): print("hearing begins")
    >>> async def main() -> bool:
    ...     async with fakeredis.FakeAsyncRedis() as client:
    ...         here, there = (Backplane(client, prefix="perfkit:") for _ in range(2))
    ...         await here.start(Aloud())
    ...         await asyncio.sleep(0.01)
    ...         told = await there.key_changed("users:7", epoch_s())
    ...         await asyncio.sleep(0.01)
    ...         await here.aclose()
    ...         return told
    >>> asyncio.run(main())
    hearing begins
    heard of users:7
    True
    """

    def __init__(
        self,
        client: PublishingClient | Opener,
        *,
        prefix: str,
        epoch: Clock = epoch_s,
        clock: Clock = now_s,
        rng: random.Random | None = None,
        probe: Probe = log_probe,
        heartbeat_seconds: float = 5.0,
        patience_seconds: float = 1.0,
        source: bytes | None = None,
    ) -> None:
        """Make a backplane over a client, which stays the caller's to close.

        Args:
            client: A client that raises when Redis is away, or a function that opens one.
            prefix: The prefix of the remote tier; instances with the same one tell each other.
            epoch: Epoch seconds.
            clock: How long hearing was lost goes by it.
            rng: Draws the waits before connecting again.
            probe: Hears when hearing is lost and restored.
            heartbeat_seconds: After how long a silence the server is asked whether it is there.
            patience_seconds: How long its answer may take, and beginning to hear.
            source: Eight bytes by which this instance knows its own messages; default: random ones.
        """
        self._client = Opened(client)
        self._names = Names(prefix)
        self._epoch = epoch
        self._heartbeat_s = heartbeat_seconds
        self._patience_s = patience_seconds
        self._source = source or os.urandom(_SOURCE_BYTES)
        self._keeper = Keeper(
            "backplane",
            self._session,
            clock=clock,
            rng=rng or random.Random(),  # noqa: S311  # jitter, not a secret
            probe=probe,
        )
        self.heard = 0
        """Messages of others."""
        self.aliens = 0
        """Messages that were ignored because they are none of this version."""
        self.said = 0
        """Messages that Redis took."""
        self.unsaid = 0
        """Messages that Redis did not take."""

    @property
    def connected(self) -> bool:
        """Whether changes made elsewhere are heard now."""
        return self._keeper.connected

    @property
    def interruptions(self) -> int:
        """How often hearing was lost."""
        return self._keeper.interruptions

    async def start(self, hears: Hears) -> None:
        """Begin to hear in a task of its own; Redis may be away."""
        self._keeper.start(hears)

    def writing(self, full_key: str, born_epoch_s: float) -> None:
        """Do nothing: only what is said is heard."""

    async def key_changed(self, full_key: str, at_epoch_s: float) -> bool:
        """Tell the others of a key; False when Redis did not take the message."""
        return await self._say("key", full_key, at_epoch_s)

    async def tag_changed(self, tag: str, at_epoch_s: float) -> bool:
        """Tell the others of a tag; False when Redis did not take the message."""
        return await self._say("tag", tag, at_epoch_s)

    async def aclose(self) -> None:
        """Hear no more."""
        await self._keeper.aclose()

    async def _say(self, kind: Kind, name: str, at_epoch_s: float) -> bool:
        message = pack(Message(kind, name, at_epoch_s, self._source))
        try:
            client = await self._client()
            await client.publish(self._names.channel, message)
        except AWAY:
            self.unsaid += 1
            return False
        self.said += 1
        return True

    async def _session(self, hears: Hears, ready: Callable[[], None]) -> None:
        client = await self._client()
        async with asyncio.timeout(self._patience_s):
            listener = await listener_of(client)
        try:
            await listener.say("SUBSCRIBE", self._names.channel)
            await listener.hear_in_time(self._patience_s)
            ready()
            quiet_s = quiet_for(client, self._heartbeat_s)
            while True:
                await self._hear_next(listener, hears, quiet_s)
        finally:
            await asyncio.shield(listener.aclose())

    async def _hear_next(self, listener: Listener, hears: Hears, quiet_s: float | None) -> None:
        heard = await listener.hear(quiet_s)
        if heard is None:
            await listener.say("PING")
            heard = await listener.hear_in_time(self._patience_s)
        if isinstance(heard, list) and len(heard) == 3 and heard[0] == b"message":
            self._hear(heard[2], hears)

    def _hear(self, data: Any, hears: Hears) -> None:
        try:
            message = unpack(data)
        except (Alien, TypeError):
            self.aliens += 1
            return
        if message.source == self._source:
            return
        self.heard += 1
        at_epoch_s = min(message.at_epoch_s, self._epoch() + _SKEW_S)
        if message.kind == "key":
            hears.key_invalidated(message.name, at_epoch_s)
        elif message.kind == "tag":
            hears.tag_invalidated(message.name, at_epoch_s)
        else:
            hears.missed_some()


def quiet_for(client: object, heartbeat_s: float) -> float | None:
    """Return how long a server may be silent; the stand-in for ever: it cannot be cut off.

    A timer for it would keep a simulation in virtual time alive that should have been found stuck.
    """
    return None if getattr(client, "backend", "") == "fakeredis" else heartbeat_s
