"""What Redis did not acknowledge is made up for, in order, once it can be; or said to be lost."""

from __future__ import annotations

import asyncio
import random

from perfkit.cache.coherence import Recovery
from perfkit.events import Event, InvalidationsDropped, null_probe
from perfkit.lab.virtual import run_virtual
from tests.cache.coherence.hearing import others


class Redis:
    """Acknowledges, refuses or fails, and notes what it was asked."""

    def __init__(self) -> None:
        self.away = True
        self.raises = False
        self.learned: list[tuple[str, float]] = []
        self.asked = 0

    async def learn(self, name: str, at_epoch_s: float) -> bool:
        self.asked += 1
        await asyncio.sleep(0.001)
        if self.raises:
            raise ConnectionResetError
        if not self.away:
            self.learned.append((name, at_epoch_s))
        return not self.away


def queue(redis: Redis, **options: object) -> Recovery:
    """Both kinds go to the same Redis."""
    given = {"rng": random.Random(7), "probe": null_probe} | options  # noqa: S311  # jitter, not a secret
    return Recovery(replay_key=redis.learn, replay_tag=redis.learn, **given)  # type: ignore[arg-type]


def test_what_is_owed_is_heeded_here_and_made_up_for_in_order_when_redis_is_back() -> None:
    """Nothing is owed after that, and no task is left."""

    async def play() -> None:
        redis = Redis()
        recovery = queue(redis)
        recovery.add_key("k:1", 5.0)
        recovery.add_tag("t:1", 6.0)
        recovery.add_key("k:2", 7.0)
        await asyncio.sleep(60)
        assert recovery.pending("k:1") == 5.0
        assert recovery.pending("t:1") is None  # a key's question is not a tag's
        assert len(recovery) == 3

        redis.away = False
        await asyncio.sleep(10.01)

        assert redis.learned == [("k:1", 5.0), ("t:1", 6.0), ("k:2", 7.0)]
        assert (recovery.pending("k:1"), len(recovery), recovery.made_up) == (None, 0, 3)
        assert others() == set()

    run_virtual(play())


def test_a_key_has_one_place_and_its_newest_time_wins() -> None:
    """However often it was invalidated, and in whatever order."""

    async def play() -> None:
        redis = Redis()
        recovery = queue(redis)
        for at_epoch_s in (5.0, 9.0, 7.0):
            recovery.add_key("k:1", at_epoch_s)
        recovery.add_key("k:2", 8.0)
        assert (len(recovery), recovery.pending("k:1")) == (2, 9.0)

        redis.away = False
        await recovery.settled()

        assert redis.learned == [("k:1", 9.0), ("k:2", 8.0)]

    run_virtual(play())


def test_what_is_invalidated_again_while_it_is_replayed_is_replayed_again() -> None:
    """The answer under way is to the older question."""

    async def play() -> None:
        redis = Redis()
        redis.away = False
        recovery = queue(redis)
        recovery.add_key("k:1", 5.0)
        recovery.redis_answered()
        await asyncio.sleep(0.0005)
        recovery.add_key("k:1", 6.0)
        assert recovery.pending("k:1") == 6.0
        await recovery.settled()

        assert redis.learned == [("k:1", 5.0), ("k:1", 6.0)]

    run_virtual(play())


def test_redis_is_tried_seldom_while_it_is_away_and_at_once_when_it_answered_another() -> None:
    """An hour costs a few hundred attempts; a command that succeeds ends the wait."""

    async def play() -> None:
        redis = Redis()
        recovery = queue(redis, max_age_seconds=7_200.0)
        recovery.redis_answered()  # nothing is owed, so it says nothing
        recovery.add_key("k:1", 5.0)
        await asyncio.sleep(3_600)
        assert 300 < redis.asked < 1_200

        redis.away = False
        recovery.redis_answered()
        await asyncio.sleep(0.002)
        assert recovery.pending("k:1") is None

    run_virtual(play())


def test_a_replay_that_raises_as_redis_does_is_one_that_failed() -> None:
    """The queue goes on."""

    async def play() -> None:
        redis = Redis()
        redis.away, redis.raises = False, True
        recovery = queue(redis)
        recovery.add_key("k:1", 5.0)
        await asyncio.sleep(5)
        assert len(recovery) == 1
        redis.raises = False
        await recovery.settled()

        assert redis.learned == [("k:1", 5.0)]

    run_virtual(play())


def test_what_waits_too_long_is_dropped_and_said() -> None:
    """No entry is that old any more."""

    async def play() -> list[Event]:
        events: list[Event] = []
        recovery = queue(Redis(), max_age_seconds=60.0, probe=events.append)
        recovery.add_key("k:1", 5.0)
        await asyncio.sleep(40)
        recovery.add_tag("t:1", 6.0)
        await asyncio.sleep(35)
        assert (len(recovery), recovery.dropped) == (1, 1)
        await recovery.settled()
        assert recovery.dropped == 2
        return events

    events = run_virtual(play())
    assert [(event.keys, event.tags) for event in events if isinstance(event, InvalidationsDropped)] == [
        (("k:1",), ()),
        ((), ("t:1",)),
    ]


def test_a_full_queue_drops_its_oldest_for_one_more() -> None:
    """It is bounded, and says what it lost."""

    async def play() -> None:
        events: list[Event] = []
        redis = Redis()
        recovery = queue(redis, max_entries=3, probe=events.append)
        for number in range(5):
            recovery.add_key(f"k:{number}", float(number))
        assert (len(recovery), recovery.dropped) == (3, 2)
        assert recovery.pending("k:0") is None
        redis.away = False
        await recovery.settled()

        assert [name for name, _at in redis.learned] == ["k:2", "k:3", "k:4"]
        assert len(events) == 2

    run_virtual(play())


def test_closing_ends_the_task_and_says_what_is_lost() -> None:
    """And what is added later starts no new one."""

    async def play() -> None:
        events: list[Event] = []
        recovery = queue(Redis(), probe=events.append)
        recovery.add_key("k:1", 5.0)
        recovery.add_tag("t:1", 5.0)
        await asyncio.sleep(1)
        await recovery.aclose()
        recovery.add_key("k:2", 5.0)

        assert events == [InvalidationsDropped(("k:1",), ("t:1",), "the cache was closed")]
        assert others() == set()

    run_virtual(play())
