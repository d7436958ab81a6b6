"""Instances hear of each other's changes, of nothing else, and know when they may have missed some."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import fakeredis
import pytest

from perfkit.cache.coherence import Backplane, Silent
from perfkit.cache.coherence.message import LONGEST_NAME_BYTES, Message, pack
from perfkit.clock import epoch_s, now_s
from perfkit.errors import MeasurementError
from perfkit.events import CoherenceLost, CoherenceRestored, Event, null_probe
from perfkit.lab.virtual import run_virtual
from perfkit.pools import Endpoint, OptimizedRedis, PoolType, RedisPools
from perfkit.pools.fault_proxy import FaultProxy
from perfkit.pools.fault_proxy.toxics import StreamToxics, Toxics
from perfkit.pools.server import RedisServer
from perfkit.pools.server.cluster import ClusterServer
from tests.cache.coherence.hearing import Notes, others
from tests.pools.waiting import until

CHANNEL = b"p:%said"


def backplane(client: object, **options: object) -> Backplane:
    """With waits that are the same in every run."""
    given = {"prefix": "p:", "rng": random.Random(7), "probe": null_probe} | options  # noqa: S311  # jitter, not a secret
    return Backplane(client, **given)  # type: ignore[arg-type]


async def test_what_one_instance_changes_all_others_hear_and_it_does_not(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """Keys and tags, with the time of the change, in order."""
    three = [(backplane(instance(server.url)), Notes()) for _ in range(3)]
    for each, notes in three:
        await each.start(notes)
    await until(lambda: all(each.connected for each, _notes in three))
    speaker = three[0][0]

    assert await speaker.key_changed("users:7", 1_000.5)
    assert await speaker.tag_changed("users:*", 1_001.5)
    await until(lambda: all(len(notes.names) == 2 for _each, notes in three[1:]))
    await asyncio.sleep(0.02)  # long enough for its own words to come back

    for _each, notes in three[1:]:
        assert notes.heard[1:] == [("key", "users:7", 1_000.5), ("tag", "users:*", 1_001.5)]
    assert three[0][1].names == []
    assert (speaker.said, speaker.heard, three[1][0].heard) == (2, 0, 2)
    for each, _notes in three:
        await each.aclose()


async def test_memory_is_distrusted_once_when_hearing_begins(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """What was filled before anybody listened may be as wrong as what was filled while the line was cut."""
    here, notes = backplane(instance(server.url)), Notes()
    await here.start(notes)
    await here.start(notes)
    await until(lambda: here.connected)

    assert (notes.missed, here.interruptions) == (1, 0)
    await here.aclose()


@pytest.mark.parametrize(
    "alien",
    [
        b"",
        b"hello",
        b"pk\x02k" + bytes(18),
        pack(Message("key", "k", 1.0, b"somebody"))[:-1],
        b"pk\x01k" + bytes(10_000),
    ],
    ids=["empty", "alien", "of a later version", "torn", "oversized"],
)
async def test_what_is_no_message_is_counted_and_changes_nothing(
    server: RedisServer, instance: Callable[[str], OptimizedRedis], alien: bytes
) -> None:
    """And what comes after it is heard."""
    client = instance(server.url)
    here, there, notes = backplane(client), backplane(client), Notes()
    await here.start(notes)
    await until(lambda: here.connected)

    await client.publish(CHANNEL, alien)
    await there.key_changed("users:7", 1.0)
    await until(lambda: notes.names == ["users:7"])

    assert (here.aliens, notes.missed) == (1, 1)
    await here.aclose()


async def test_a_name_that_does_not_fit_makes_others_distrust_everything(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """Rather than keep what may be wrong."""
    client = instance(server.url)
    here, there, notes = backplane(client), backplane(client), Notes()
    await here.start(notes)
    await until(lambda: here.connected)

    assert await there.key_changed("k" * (LONGEST_NAME_BYTES + 1), 1.0)
    await until(lambda: notes.missed == 2)

    await here.aclose()


async def test_a_clock_that_is_days_ahead_voids_a_minute_at_most(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """Else one wrong clock would make a tag void for days, everywhere."""
    client = instance(server.url)
    here, there, notes = backplane(client, epoch=lambda: 1_000.0), backplane(client), Notes()
    await here.start(notes)
    await until(lambda: here.connected)

    await there.tag_changed("users:*", 500_000.0)
    await until(lambda: notes.names == ["users:*"])

    assert notes.heard[-1] == ("tag", "users:*", 1_060.0)
    await here.aclose()


async def test_a_server_that_is_away_delays_nobody_and_is_found_when_it_is_there(
    own_server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """`start` returns at once, what is said is not acknowledged, and hearing begins when it can."""
    own_server.kill()
    events: list[Event] = []
    client = instance(own_server.url)
    here, notes = backplane(client, probe=events.append), Notes()
    began_s = now_s()
    await here.start(notes)
    assert now_s() - began_s < 0.05
    assert not await here.key_changed("users:7", 1.0)
    await until(lambda: len(events) == 1)

    await asyncio.to_thread(own_server.restart)
    await until(lambda: here.connected)

    assert isinstance(events[0], CoherenceLost)
    assert isinstance(events[1], CoherenceRestored)
    assert events[1].away_seconds > 0
    assert notes.missed == 1
    await here.aclose()


async def test_a_killed_server_is_noticed_at_once_and_heard_again_within_the_backoff(
    own_server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """Once lost, once restored; everything is distrusted before anything is heard again."""
    events: list[Event] = []
    here, notes = backplane(instance(own_server.url), probe=events.append), Notes()
    there = backplane(instance(own_server.url))
    await here.start(notes)
    await until(lambda: here.connected)

    await asyncio.to_thread(own_server.kill)
    await until(lambda: not here.connected, within_s=0.5)
    await asyncio.to_thread(own_server.restart)
    back_s = now_s()
    await until(lambda: here.connected)
    assert now_s() - back_s < 2.5  # the longest wait, and connecting
    await until(lambda: there.key_changed("users:7", 1.0))
    await until(lambda: "users:7" in notes.names)

    assert [type(event) for event in events] == [CoherenceLost, CoherenceRestored]
    assert (notes.missed, here.interruptions) == (2, 1)
    assert [kind for kind, _name, _at in notes.heard[:2]] == ["missed", "missed"]
    await here.aclose()


async def test_a_stalled_server_is_found_out_by_the_heartbeat_and_messages_are_heard_after(
    own_server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """It accepts connections and says nothing: that must neither hang nor pass for silence."""
    here = backplane(instance(own_server.url), heartbeat_seconds=0.05, patience_seconds=0.1)
    notes = Notes()
    await here.start(notes)
    await until(lambda: here.connected)
    own_server.stall()
    try:
        await until(lambda: not here.connected, within_s=1.0)
    finally:
        own_server.resume()
    await until(lambda: here.connected)

    there = backplane(instance(own_server.url))
    assert await there.key_changed("users:7", 1.0)
    await until(lambda: notes.names == ["users:7"])
    assert notes.missed == 2
    await here.aclose()


async def test_a_line_that_swallows_everything_is_found_out_by_the_heartbeat(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """A cut line sends no word of it; closing does not wait for it either."""
    async with FaultProxy.start(server.tcp_url) as proxy:
        here = backplane(instance(proxy.url), heartbeat_seconds=0.05, patience_seconds=0.1)
        await here.start(Notes())
        await until(lambda: here.connected)
        proxy.set(Toxics(requests=StreamToxics(blackhole=True), replies=StreamToxics(blackhole=True)))
        await until(lambda: not here.connected, within_s=1.0)

        async with asyncio.timeout(1.0):
            await here.aclose()


async def test_words_that_come_in_pieces_are_heard_whole(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """A heartbeat that is due in the middle of a message does not tear it."""
    slow = StreamToxics(slicer_bytes=7, slicer_delay_ms=10)
    async with FaultProxy.start(server.tcp_url) as proxy:
        here = backplane(instance(proxy.url), heartbeat_seconds=0.02, patience_seconds=2.0)
        there, notes = backplane(instance(server.url)), Notes()
        await here.start(notes)
        await until(lambda: here.connected)
        proxy.set(Toxics(replies=slow))
        names = [f"users:{number}" for number in range(20)]
        for name in names:
            await there.key_changed(name, 1.0)
        await until(lambda: notes.names == names)

        assert (here.aliens, here.interruptions) == (0, 0)
        await here.aclose()


async def test_closing_ends_every_task_and_connection(
    own_server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """While it listens, while it waits to connect again, twice, and when it never began."""
    watcher = instance(own_server.url)
    before = others()
    listening, waiting, never = (backplane(instance(own_server.url)) for _ in range(3))
    await listening.start(Notes())
    await until(lambda: listening.connected)
    assert len(await watcher.client_list(_type="pubsub")) == 1

    await listening.aclose()
    await listening.aclose()
    await never.aclose()
    await until(lambda: _none_listens(watcher))
    await asyncio.to_thread(own_server.kill)
    await waiting.start(Notes())
    await until(lambda: waiting.interruptions == 1)
    await waiting.aclose()

    assert not listening.connected
    assert [task for task in others() - before if "_keep" in repr(task)] == []


async def _none_listens(watcher: OptimizedRedis) -> bool:
    return await watcher.client_list(_type="pubsub") == []


async def test_a_listener_that_fails_makes_it_listen_again_and_not_deaf(
    server: RedisServer, instance: Callable[[str], OptimizedRedis]
) -> None:
    """A fault of the cache's own counts as an interruption."""

    class Clumsy(Notes):
        def key_invalidated(self, full_key: str, at_epoch_s: float) -> None:
            super().key_invalidated(full_key, at_epoch_s)
            if full_key == "bad":
                raise ValueError(full_key)

    client = instance(server.url)
    here, there, notes = backplane(client), backplane(client), Clumsy()
    await here.start(notes)
    await until(lambda: here.connected)
    await there.key_changed("bad", 1.0)
    await until(lambda: here.interruptions == 1 and here.connected)
    await there.key_changed("good", 1.0)
    await until(lambda: "good" in notes.names)

    assert notes.missed == 2
    await here.aclose()


async def test_in_a_cluster_what_is_said_at_one_node_is_heard_at_any() -> None:
    """Messages travel between the nodes."""
    with ClusterServer.start() as cluster:
        pools = [
            RedisPools(
                endpoint=Endpoint.from_url(cluster.url),
                rng=random.Random(seed),  # noqa: S311  # which node it listens at, not a secret
                probe=null_probe,
            )
            for seed in range(4)
        ]
        all_of_them = [backplane(each.client(PoolType.CACHE).raising) for each in pools]
        notes = [Notes() for _ in all_of_them]
        for each, heard in zip(all_of_them, notes, strict=True):
            await each.start(heard)
        await until(lambda: all(each.connected for each in all_of_them))

        assert await all_of_them[0].key_changed("users:7", 1.0)
        await until(lambda: all(heard.names == ["users:7"] for heard in notes[1:]))

        for each in all_of_them:
            await each.aclose()
        for each in pools:
            await each.aclose()


def test_in_virtual_time_instances_hear_each_other_and_no_timer_runs_for_it() -> None:
    """Several on one stand-in; when nothing can happen any more, the simulation still notices."""
    server = fakeredis.FakeServer(version=(7,))

    async def hour() -> tuple[list[str], float]:
        pools = [RedisPools(endpoint=Endpoint.embedded(server), probe=null_probe) for _ in range(3)]
        every = [(backplane(each.client(PoolType.CACHE).raising), Notes()) for each in pools]
        for each, notes in every:
            await each.start(notes)
        await asyncio.sleep(1)
        assert all(each.connected for each, _notes in every)
        await every[0][0].key_changed("users:7", epoch_s())
        await asyncio.sleep(3_600)
        for (each, _notes), pool in zip(every, pools, strict=True):
            await each.aclose()
            await pool.aclose()
        return every[1][1].names + every[2][1].names, asyncio.get_running_loop().time()

    assert run_virtual(hour()) == (["users:7", "users:7"], 3_601.0)

    async def stuck() -> None:
        here = backplane(RedisPools(endpoint=Endpoint.embedded(), probe=null_probe).client(PoolType.CACHE))
        await here.start(Notes())
        await asyncio.get_running_loop().create_future()

    with pytest.raises(MeasurementError):
        run_virtual(stuck())


async def test_silence_says_nothing_and_calls_that_a_success() -> None:
    """One instance alone owes nobody anything."""
    silent, notes = Silent(), Notes()
    await silent.start(notes)
    silent.writing("k", 1.0)

    assert silent.connected
    assert await silent.key_changed("k", 1.0)
    assert await silent.tag_changed("t", 1.0)
    await silent.aclose()
    assert notes.heard == []
