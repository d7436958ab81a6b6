"""Redis itself tells of changes: of all that others make, and of none of our own."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest

from perfkit.cache.coherence import TagTimes, Tracking
from perfkit.cache.coherence.names import Names
from perfkit.clock import epoch_s
from perfkit.events import CoherenceLost, CoherenceRestored, Event, TrackingUnsupported, null_probe
from perfkit.lab.virtual import run_virtual
from perfkit.pools import Endpoint, OptimizedRedis, PoolType, RedisPools
from perfkit.pools.fault_proxy import FaultProxy
from perfkit.pools.fault_proxy.toxics import StreamToxics, Toxics
from perfkit.pools.server import RedisServer
from perfkit.pools.server.cluster import ClusterServer
from tests.cache.coherence.hearing import Notes, others
from tests.pools.waiting import until

NAMES = Names("p:")
WRITE = "return redis.call('SET', KEYS[1], ARGV[1])"


def tracking(client: object, **options: object) -> Tracking:
    """With waits that are the same in every run."""
    given = {"prefix": "p:", "rng": random.Random(7), "probe": null_probe} | options  # noqa: S311  # jitter, not a secret
    return Tracking(client, **given)  # type: ignore[arg-type]


class Writer:
    """An instance that writes entries as the remote tier does: by a script, each with its birth."""

    def __init__(self, client: OptimizedRedis, **options: object) -> None:
        self.client = client
        self.asked = 0
        self.tracking = tracking(client, born_of=self.born_of, **options)

    async def born_of(self, full_key: str) -> float | None:
        self.asked += 1
        head = await self.client.getrange(NAMES.entry(full_key), 0, 7)
        return struct.unpack(">d", head)[0] if head else None

    async def write(self, full_key: str, born_epoch_s: float) -> None:
        self.tracking.writing(full_key, born_epoch_s)
        await self.client.eval(WRITE, 1, NAMES.entry(full_key), struct.pack(">d", born_epoch_s))


async def started(every: dict[Tracking, Notes]) -> None:
    """All of them hear."""
    for each, notes in every.items():
        await each.start(notes)
    await until(lambda: all(each.connected for each in every))


async def test_a_change_is_heard_however_it_was_made_and_without_a_word(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """Written, written by a script, deleted, expired; and nothing of another prefix."""
    here, notes, foreign = tracking(instance(server.url)), Notes(), instance(server.url)
    await started({here: notes})
    before_s = epoch_s()
    entry = NAMES.entry("users:7")

    for number, change in enumerate(
        (
            lambda: foreign.set(entry, b"v"),
            lambda: foreign.eval(WRITE, 1, entry, b"v"),
            lambda: foreign.delete(entry),
            lambda: foreign.set(entry, b"v", px=5),
        )
    ):
        await change()
        await until(lambda number=number: len(notes.names) > number)
    await until(lambda: len(notes.names) == 5)  # the fifth: it has expired
    await foreign.set("q:users:8", b"v")
    await foreign.set(NAMES.lock("users:9"), b"v", px=100)
    await until(lambda: here.ignored == 1)

    assert set(notes.names) == {"users:7"}
    assert all(before_s <= at <= epoch_s() for kind, _name, at in notes.heard if kind == "key")
    assert await here.key_changed("users:7", 1.0)  # Redis has told already
    await here.aclose()


async def test_our_own_writes_leave_memory_alone_and_others_do_not(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """By scripts over the pool's connections, which NOLOOP does not cover; one question each."""
    here, there = Writer(instance(server.url)), Writer(instance(server.url))
    notes, theirs = Notes(), Notes()
    await started({here.tracking: notes, there.tracking: theirs})

    await asyncio.gather(*(here.write(f"users:{number}", 1_000.0 + number) for number in range(200)))
    await until(lambda: here.tracking.echoes == 200)
    await until(lambda: len(theirs.names) == 200)
    assert notes.names == []
    assert here.asked <= 200
    assert there.asked == 0

    await there.write("users:7", 2_000.0)
    await until(lambda: notes.names == ["users:7"])
    await here.tracking.aclose()
    await there.tracking.aclose()


async def test_a_stranger_s_write_is_never_taken_for_our_own(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """Both write the same keys at the same time, many times: who did not write last is told so."""
    here, there = Writer(instance(server.url)), Writer(instance(server.url))
    notes = {here: Notes(), there: Notes()}
    await started({writer.tracking: heard for writer, heard in notes.items()})
    keys = [f"race:{number}" for number in range(300)]

    chance = random.Random(7)  # noqa: S311  # an order, not a secret

    async def both(key: str) -> None:
        writes = [here.write(key, 1.0), there.write(key, 2.0)]
        await asyncio.gather(*writes if chance.random() < 0.5 else reversed(writes))

    await asyncio.gather(*map(both, keys))
    stands = {key: await here.born_of(key) for key in keys}
    lost = {
        here: {key for key, born in stands.items() if born == 2.0},
        there: {key for key, born in stands.items() if born == 1.0},
    }
    await until(lambda: all(lost[writer] <= set(notes[writer].names) for writer in notes))

    assert len(lost[here]) + len(lost[there]) == 300
    await here.tracking.aclose()
    await there.tracking.aclose()


async def test_an_echo_nobody_can_look_into_counts_as_a_change(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """Without `born_of`, and when the question fails: forgetting too much is never wrong."""

    async def away(_full_key: str) -> float | None:
        raise ConnectionResetError

    client = instance(server.url)
    simple, unlucky = tracking(client), tracking(client, born_of=away)
    notes = {simple: Notes(), unlucky: Notes()}
    await started(notes)
    for each in notes:
        each.writing("users:7", 1.0)

    await client.set(NAMES.entry("users:7"), struct.pack(">d", 1.0))
    await until(lambda: all(heard.names == ["users:7"] for heard in notes.values()))

    for each in notes:
        await each.aclose()


async def test_a_write_of_ours_is_remembered_for_a_second_and_within_bounds(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """Later the same name is a stranger's."""
    clock = [100.0]
    here = Writer(instance(server.url), clock=lambda: clock[0])
    notes = Notes()
    await started({here.tracking: notes})
    await here.write("users:7", 1.0)
    await until(lambda: here.tracking.echoes == 1)
    clock[0] += 1.5
    await here.client.set(NAMES.entry("users:7"), struct.pack(">d", 1.0))
    await until(lambda: notes.names == ["users:7"])

    for number in range(20_000):
        here.tracking.writing(f"k:{number}", 1.0)
    assert len(here.tracking._written) <= 10_000
    await here.tracking.aclose()


async def test_a_tag_s_time_is_heard_exactly(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """Its own too, which is no news; one that was told is not told again."""
    here, notes = tracking(instance(server.url)), Notes()
    await started({here: notes})
    tags = TagTimes(instance(server.url), prefix="p:")
    at = epoch_s()

    await tags.invalidate("users:a", at)
    await until(lambda: ("tag", "users:a", at) in notes.heard)
    await tags.invalidate("users:ü", at - 1_000)  # as a replayed one: half a minute ago
    await until(lambda: "users:ü" in notes.names)

    assert notes.names == ["users:a", "users:ü"]
    assert await here.tag_changed("users:a", at)
    await here.aclose()


async def test_a_flush_is_word_that_everything_changed(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """The server names no key then."""
    here, notes = tracking(instance(server.url)), Notes()
    await started({here: notes})
    await instance(server.url).flushdb()
    await until(lambda: notes.missed == 2)

    await here.aclose()


async def test_a_killed_server_is_noticed_and_everything_is_distrusted_when_it_is_back(
    own_server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """Tracking is asked for anew, and hears."""
    events: list[Event] = []
    here, notes = tracking(instance(own_server.url), probe=events.append), Notes()
    await started({here: notes})
    await asyncio.to_thread(own_server.kill)
    await until(lambda: not here.connected, within_s=0.5)
    await asyncio.to_thread(own_server.restart)
    await until(lambda: here.connected)
    foreign = instance(own_server.url)
    await foreign.set(NAMES.entry("users:7"), b"v")
    await until(lambda: notes.names == ["users:7"])

    assert [type(event) for event in events] == [CoherenceLost, CoherenceRestored]
    assert (notes.missed, here.fell_back) == (2, False)
    await here.aclose()


async def test_a_silent_line_is_found_out_and_closing_does_not_wait_for_it(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """As with the backplane."""
    before = others()
    async with FaultProxy.start(server.tcp_url) as proxy:
        here = tracking(instance(proxy.url), heartbeat_seconds=0.05, patience_seconds=0.1)
        await started({here: Notes()})
        proxy.set(Toxics(requests=StreamToxics(blackhole=True), replies=StreamToxics(blackhole=True)))
        await until(lambda: not here.connected, within_s=1.0)
        async with asyncio.timeout(1.0):
            await here.aclose()
    assert [task for task in others() - before if "_keep" in repr(task)] == []


async def test_a_server_without_tracking_is_said_once_and_the_backplane_takes_over(
    instance: Callable[[str], OptimizedRedis],
) -> None:
    """Here by access rules; an old server answers in the same way."""
    rules = "on >pw ~* &* +@all -client|tracking"
    with RedisServer.start(password="secret", users={"app": rules}) as server:  # noqa: S106  # for a test
        url = server.tcp_url.replace(":secret@", "app:pw@")
        events: list[Event] = []
        here, there = tracking(instance(url), probe=events.append), tracking(instance(url))
        notes = Notes()
        await started({here: notes, there: Notes()})
        assert await there.key_changed("users:7", 5.0)
        assert await there.tag_changed("users:*", 6.0)
        await until(lambda: notes.heard[1:] == [("key", "users:7", 5.0), ("tag", "users:*", 6.0)])

        assert here.fell_back
        assert [type(event) for event in events] == [TrackingUnsupported]
        await here.aclose()
        await there.aclose()


@pytest.mark.parametrize("where", ["RESP2", "cluster"])
async def test_where_the_server_cannot_speak_first_the_backplane_does(
    server: RedisServer, instance: Callable[[str], OptimizedRedis], where: str
) -> None:
    """Over RESP2, and in a cluster of many nodes."""
    events: list[Event] = []
    cluster = ClusterServer.start() if where == "cluster" else None
    try:
        url = cluster.url if cluster is not None else f"{server.tcp_url}?protocol=2"
        here, there, notes = tracking(instance(url), probe=events.append), tracking(instance(url)), Notes()
        await started({here: notes, there: Notes()})
        assert await there.key_changed("users:7", 5.0)
        await until(lambda: notes.names == ["users:7"])
        await here.aclose()
        await there.aclose()
    finally:
        if cluster is not None:
            cluster.close()

    (event,) = events
    assert isinstance(event, TrackingUnsupported)
    assert where in event.why


def test_in_virtual_time_the_stand_in_makes_it_a_backplane() -> None:
    """So that a fleet with tracking can be simulated, if not with its latency."""

    async def play() -> list[str]:
        pools = RedisPools(endpoint=Endpoint.embedded(), probe=null_probe)
        client: Any = pools.client(PoolType.CACHE).raising
        here, there, notes = tracking(client), tracking(client), Notes()
        await here.start(notes)
        await there.start(Notes())
        await asyncio.sleep(0.1)
        await there.key_changed("users:7", 1.0)
        await asyncio.sleep(0.1)
        await here.aclose()
        await there.aclose()
        await pools.aclose()
        return notes.names

    assert run_virtual(play()) == ["users:7"]
