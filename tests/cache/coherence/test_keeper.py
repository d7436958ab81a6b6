"""A subscription that is lost comes back soon, without a storm, and says once that it was away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import pairwise

from perfkit.cache.coherence.keeper import Keeper, Unsupported
from perfkit.cache.coherence.protocol import Hears
from perfkit.events import CoherenceLost, CoherenceRestored, Event
from perfkit.lab.virtual import run_virtual
from tests.cache.coherence.hearing import Notes, others

Session = Callable[[Hears, Callable[[], None]], Awaitable[None]]


def played(
    session: Session, for_s: float, **options: object
) -> tuple[Keeper, Notes, list[Event], list[float]]:
    """Keep a session for a while in virtual time; also return when it was begun."""
    notes, events, begun = Notes(), list[Event](), list[float]()

    async def noted(hears: Hears, ready: Callable[[], None]) -> None:
        begun.append(asyncio.get_running_loop().time())
        await session(hears, ready)

    rng = random.Random(7)  # noqa: S311  # jitter, not a secret
    keeper = Keeper("backplane", noted, rng=rng, probe=events.append, **options)  # type: ignore[arg-type]

    async def play() -> None:
        keeper.start(notes)
        await asyncio.sleep(for_s)
        await keeper.aclose()
        assert others() == set()

    run_virtual(play())
    return keeper, notes, events, begun


def test_a_server_that_is_away_for_an_hour_is_tried_every_second_or_so_and_said_once() -> None:
    """Full jitter up to two seconds."""

    async def away(_hears: Hears, _ready: Callable[[], None]) -> None:
        raise ConnectionRefusedError

    keeper, notes, events, begun = played(away, 3_600.0)

    assert 2_700 < len(begun) < 4_500
    assert max(later - earlier for earlier, later in pairwise(begun)) <= 2.0
    assert [type(event) for event in events] == [CoherenceLost]
    assert (notes.missed, keeper.interruptions, keeper.connected) == (0, 1, False)


def test_a_server_that_cuts_every_session_at_once_is_not_tried_at_once_each_time() -> None:
    """Getting through is no success if it does not last."""

    async def cut(_hears: Hears, ready: Callable[[], None]) -> None:
        ready()
        raise ConnectionResetError

    _keeper, notes, _events, begun = played(cut, 600.0)

    assert len(begun) < 800
    assert notes.missed == len(begun)


def test_a_session_that_lasted_is_begun_again_soon() -> None:
    """The first wait is a twentieth of a second at most, each time."""

    async def a_minute(_hears: Hears, ready: Callable[[], None]) -> None:
        ready()
        await asyncio.sleep(60)
        raise ConnectionResetError

    keeper, notes, events, begun = played(a_minute, 3_600.0)

    assert len(begun) == 60
    assert begun[-1] - 59 * 60 < 59 * 0.05
    assert notes.missed == 60
    assert keeper.interruptions == 59
    assert [type(event) for event in events[:2]] == [CoherenceLost, CoherenceRestored]


def test_what_is_unsupported_is_not_tried_again() -> None:
    """Whoever can do instead is told."""
    told: list[str] = []

    async def refused(_hears: Hears, _ready: Callable[[], None]) -> None:
        raise Unsupported("no such command")

    async def instead(_hears: Hears, why: Unsupported) -> None:
        told.append(str(why))

    keeper, _notes, events, begun = played(refused, 60.0, on_unsupported=instead)

    assert (len(begun), told, events, keeper.connected) == (1, ["no such command"], [], False)
