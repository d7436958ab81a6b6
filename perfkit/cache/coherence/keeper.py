"""Keeps a subscription alive, and says when something may have gone unheard.

    start ──▶ session ──ready──▶ missed_some ──▶ heard, heard, … ──lost──┐
                 ▲                                                       │
                 └── wait, full jitter, the longer the oftener it failed ◀┘

`missed_some` comes when hearing *begins*, after the server has confirmed it: what was filled while nobody
listened may be as wrong as what was filled before. While the line is down, memory is served within its time
to live; to drop it then would send every request to an origin at the very moment when Redis cannot help.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias

from perfkit.cache.coherence.protocol import Hears
from perfkit.clock import Clock, now_s
from perfkit.events import CoherenceLost, CoherenceRestored, Probe
from perfkit.resilience import full_jitter_s

__all__ = ["Keeper", "Session", "Unsupported"]

Session: TypeAlias = Callable[[Hears, Callable[[], None]], Awaitable[None]]
"""Hears until it fails; given who listens, and what to call once hearing has begun."""

_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 2.0
_SETTLED_S: Final = 5.0
"""A session this long ends a row of failures; one that is cut at once each time does not."""


class Unsupported(Exception):
    """The server will never do what the session asks of it."""


class Keeper:
    """Runs a session again and again, in a task of its own, until it is closed or proves unsupported."""

    def __init__(
        self,
        how: Literal["backplane", "tracking"],
        session: Session,
        *,
        clock: Clock = now_s,
        rng: random.Random,
        probe: Probe,
        on_unsupported: Callable[[Hears, Unsupported], Awaitable[None]] | None = None,
    ) -> None:
        self.connected = False
        self.interruptions = 0
        """How often hearing was lost, beginning counted too when it did not succeed at once."""
        self._how: Literal["backplane", "tracking"] = how
        self._session = session
        self._clock = clock
        self._rng = rng
        self._probe = probe
        self._on_unsupported = on_unsupported
        self._task: asyncio.Task[None] | None = None
        self._lost_s: float | None = None
        self._began_s = 0.0

    def start(self, hears: Hears) -> None:
        """Begin, once; whoever starts twice listens once."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep(hears))

    async def aclose(self) -> None:
        """End the task and wait until it has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.connected = False

    async def _keep(self, hears: Hears) -> None:
        attempt = 0
        while True:
            self._began_s = self._clock()
            try:
                await self._session(hears, lambda: self._ready(hears))
                why = "it ended"
            except Unsupported as unsupported:
                self.connected = False
                if self._on_unsupported is not None:
                    await self._on_unsupported(hears, unsupported)
                return
            except Exception as trouble:  # also a fault of our own: a task that died would be deaf for ever
                why = f"{type(trouble).__name__}: {trouble}"
            settled = self.connected and self._clock() - self._began_s >= _SETTLED_S
            self._lost(why)
            attempt = 0 if settled else attempt + 1
            await asyncio.sleep(
                full_jitter_s(attempt, self._rng, base_s=_FIRST_WAIT_S, cap_s=_LONGEST_WAIT_S)
            )

    def _ready(self, hears: Hears) -> None:
        self.connected = True
        self._began_s = self._clock()
        hears.missed_some()
        if self._lost_s is not None:
            self._probe(CoherenceRestored(self._how, self._clock() - self._lost_s))
            self._lost_s = None

    def _lost(self, why: str) -> None:
        self.connected = False
        if self._lost_s is None:
            self._lost_s = self._clock()
            self.interruptions += 1
            self._probe(CoherenceLost(self._how, why))
