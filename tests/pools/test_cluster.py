"""A client of a cluster in good times: what it promises beside redis-py's answers, and how it refuses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import (
    CrossSlotTransactionError,
    RedisClusterException,
)

from perfkit.errors import PoolExhausted, Unavailable
from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, RedisPools
from perfkit.pools.failures import PoolClosed
from perfkit.pools.server.cluster import ClusterServer
from tests.pools.balance import balanced
from tests.pools.waiting import until

Opened = Callable[..., OptimizedRedis]
SECRET = "hunter2"  # noqa: S105  # not one of anything real


@pytest.fixture
async def client(opened: Opened, cluster: ClusterServer) -> AsyncIterator[OptimizedRedis]:
    """A client on empty nodes, whose books balance in the end."""
    fresh: OptimizedRedis = opened(Endpoint.from_url(cluster.url))
    await fresh.flushall()
    yield fresh
    await balanced(fresh)


def clients_of(cluster: ClusterServer, number: int) -> int:
    """Return how many of the nodes' clients bear the name of a pool, besides who asks."""
    import redis

    with redis.Redis.from_url(cluster.nodes[number].url) as plain:
        return sum(each["name"].startswith("perfkit:") for each in plain.client_list())


async def test_one_connection_a_node_carries_everybody(
    client: OptimizedRedis, cluster: ClusterServer
) -> None:
    """Callers, batches, pipelines and transactions alike; reading the map took none of its own."""
    await asyncio.gather(*(client.set(f"k{n}", n) for n in range(300)))
    await client.batch_get([f"k{n}" for n in range(300)])
    await client.pipeline().get("k1").get("k2").execute()
    await client.pipeline(transaction=True).get("k1").execute()

    metrics = await balanced(client)
    assert (metrics["connections"], metrics["connects"], metrics["nodes"]) == (3, 3, 3)
    assert [clients_of(cluster, number) for number in range(3)] == [1, 1, 1]
    assert metrics["connections_max"] == 3 * (1 + 8)


async def test_a_storm_of_cancellations_leaves_no_trace(client: OptimizedRedis) -> None:
    """Of 1,000 callers half leave at some point; each other hears its own answer, and no place is lost."""
    await client.batch_set({f"k{n}": n for n in range(1_000)})
    wrong = 0
    for first in range(0, 1_000, 100):
        tasks = [asyncio.create_task(client.get(f"k{n}")) for n in range(first, first + 100)]
        left: set[asyncio.Task[Any]] = set()
        for turn in range(5):
            await asyncio.sleep(0)
            left |= {task for task in tasks[turn::10] if task.cancel()}
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for n, (task, result) in enumerate(zip(tasks, results, strict=True), first):
            if isinstance(result, asyncio.CancelledError):
                wrong += task not in left
            else:
                wrong += result != str(n).encode() or task in left  # a cancellation was swallowed
    assert wrong == 0
    await until(lambda: client.metrics["in_flight"] == 0)
    metrics = await balanced(client)
    assert metrics["cancelled"] >= 400
    assert metrics["connects"] == 3
    assert await client.batch_get([f"k{n}" for n in range(1_000)]) == [str(n).encode() for n in range(1_000)]


async def test_a_cancelled_batch_and_transaction_are_counted_once(client: OptimizedRedis) -> None:
    """Whatever they were doing when their caller left; the cancellation reaches it."""
    for ask in (
        lambda: client.batch_set({f"k{n}": n for n in range(3_000)}),
        lambda: client.pipeline(transaction=True).incr("{t}a").incr("{t}b").execute(),
        lambda: client.blpop(["nothing"], timeout=5),
        lambda: client.execute_many([("GET", "a"), ("DBSIZE",), ("GET", "b")]),
        lambda: client.dbsize(),
    ):
        for turns in range(8):
            task = asyncio.ensure_future(ask())
            for _ in range(turns):
                await asyncio.sleep(0)
            if task.done():
                continue
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: client.metrics["in_flight"] == 0 == client.metrics["own_connections"])
            await balanced(client)


async def test_a_cluster_without_msetex_stores_the_same(opened: Opened) -> None:
    """As servers before Redis 8.4 and Valkey 9.1; found out once, and then each key is set alone."""
    with ClusterServer.start(options={"rename-command": 'MSETEX ""'}) as old:
        client = opened(Endpoint.from_url(old.url), batch_chunk=100)
        values = {f"k{n}": f"{n}" for n in range(250)}
        await client.batch_set(values, ttl_seconds=60)

        assert not client._has_msetex
        assert await client.batch_get(values) == [value.encode() for value in values.values()]
        left_ms = await client.execute_many([("PTTL", key) for key in values])
        assert all(0 < left <= 60_000 for left in left_ms)
        await balanced(client)


async def test_scripts_are_loaded_where_they_are_missing(client: OptimizedRedis) -> None:
    """A node that has forgotten a script is given it again, by single calls, pipelines and transactions."""
    script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    for key in ("a", "b", "c", "d"):
        assert await script(keys=[key], args=[5]) == 5
    for transaction in (False, True):
        await client.execute_command("SCRIPT FLUSH", target_nodes=client.get_node_from_key("a"))  # type: ignore[attr-defined]
        pipe = client.pipeline(transaction=transaction)
        await script(keys=["a"], args=[1], client=pipe)
        assert await pipe.get("a").execute() == [6 + transaction, b"%d" % (6 + transaction)]


async def test_a_transaction_happens_as_a_whole_on_one_connection(client: OptimizedRedis) -> None:
    """Two hundred of them at once on one slot: each sees its own two counts in a row."""

    async def twice() -> list[int]:
        answers: list[int] = await client.pipeline(transaction=True).incr("{t}n").incr("{t}n").execute()
        return answers

    found = await asyncio.gather(*(twice() for _ in range(200)))
    assert sorted(found) == [[n, n + 1] for n in range(1, 401, 2)]
    assert (await client.get_metrics())["connections"] == 3


async def test_a_transaction_over_several_slots_is_refused_before_anything_is_sent(
    client: OptimizedRedis,
) -> None:
    """It says which commands, why, and what to write instead; so does one that names no key."""
    pipe = client.pipeline(transaction=True).set("a", 1).set("b", 2)
    with pytest.raises(CrossSlotTransactionError, match="common part in braces"):
        await pipe.execute()
    with pytest.raises(RedisClusterException, match="names a key"):
        await client.pipeline(transaction=True).ping().execute()
    assert await client.exists("a", "b") == 0
    assert await client.pipeline(transaction=True).set("a", 1).ping().execute() == [True, True]

    async with client.pipeline(transaction=True) as watching:
        await watching.watch("a")
        with pytest.raises(CrossSlotTransactionError):
            await watching.get("b")


async def test_a_pipeline_over_nodes_refuses_what_belongs_to_a_transaction(client: OptimizedRedis) -> None:
    """Silently doing without would be worse."""
    with pytest.raises(RedisClusterException, match="transaction=True"):
        await client.pipeline().watch("a")
    with pytest.raises(RedisClusterException, match="transaction=True"):
        client.pipeline().multi()


async def test_an_answer_in_a_pipeline_is_made_by_its_options(client: OptimizedRedis) -> None:
    """`withscores` and its like say how the reply is to be read."""
    await client.zadd("z", {"a": 1, "b": 2})
    pipe = client.pipeline().zrange("z", 0, -1, withscores=True).zrange("z", 0, -1)
    assert await pipe.execute() == [[(b"a", 1.0), (b"b", 2.0)], [b"a", b"b"]]


async def test_subscriptions_stand_in_line_for_a_nodes_connections(
    opened: Opened, cluster: ClusterServer
) -> None:
    """They count among `max_connections` of the node, and give back what they had."""
    client = opened(Endpoint.from_url(cluster.url), max_connections=1, acquire_timeout_seconds=0.05)
    async with client.pubsub() as listener:  # the first command of this client: the map is read for it
        await listener.subscribe("news")
        assert (await client.get_metrics())["own_connections"] == 1
        other = client.pubsub()
        with pytest.raises(PoolExhausted):
            await other.subscribe("news")
        await client.publish("news", "x")
        heard = [await listener.get_message(timeout=5) for _ in range(2)]
        assert [each["type"] for each in heard if each] == ["subscribe", "message"]
    metrics = await balanced(client)
    assert (metrics["refusals"], metrics["max_connections"]) == (1, 1)  # one node was met


async def test_sharded_channels_are_heard_on_the_node_of_their_slot(client: OptimizedRedis) -> None:
    """Each on its own; what is published goes there too."""
    async with client.pubsub() as listener:
        await listener.ssubscribe("a", "b", "c")
        for channel in ("a", "b", "c"):
            assert await client.execute_command("SPUBLISH", channel, "x") == 1
        heard = []
        async with asyncio.timeout(5):
            while len(heard) < 3:
                message = await listener.get_sharded_message(ignore_subscribe_messages=True, timeout=0.1)
                heard += [message["channel"]] if message else []
        assert sorted(heard) == [b"a", b"b", b"c"]


async def test_who_waits_is_bounded_by_his_own_time(opened: Opened, cluster: ClusterServer) -> None:
    """BLPOP may wait longer than a command may take, and is counted like any other."""
    client = opened(Endpoint.from_url(cluster.url), command_timeout_seconds=0.3)
    assert await client.blpop(["nothing"], timeout=0.5) is None
    assert await client.execute_many([("BLPOP", "nothing", 0.4), ("SET", "a", 1)]) == [None, True]
    metrics = await balanced(client)
    assert (metrics["ok"], metrics["failed"]) == (3, 0)


async def test_nothing_stays_open_when_the_pools_are_closed(cluster: ClusterServer) -> None:
    """Neither a connection nor a task; who waits is told, and who comes later is refused."""
    tasks_before = asyncio.all_tasks()
    pools = RedisPools(endpoint=Endpoint.from_url(cluster.url), probe=null_probe)
    client = pools.client()
    async with client:  # as redis-py's users write it; others use the same connections, so nothing is closed
        await client.batch_set({f"k{n}": n for n in range(20)})
    assert await client.get("k1") == b"1"
    waiting = asyncio.create_task(client.blpop(["nothing"], timeout=30))
    listener = client.pubsub()
    await listener.subscribe("news")
    await until(lambda: client.metrics["own_connections"] == 2)
    client._nodes.map.doubt()  # type: ignore[attr-defined]  # a reading is under way
    asking = asyncio.create_task(client.get("k1"))
    await asyncio.sleep(0)
    await pools.aclose()

    with pytest.raises((Unavailable, RedisConnectionError)):
        await waiting
    assert (await asyncio.gather(asking, return_exceptions=True))[0] != b""
    with pytest.raises(PoolClosed):
        await client.get("k1")
    await listener.aclose()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks_before
    await until(lambda: sum(clients_of(cluster, number) for number in range(3)) == 0)


async def test_metrics_may_be_read_in_any_thread_while_nodes_are_met(client: OptimizedRedis) -> None:
    """An exporter's thread reads while the loop makes clients of further nodes."""
    failures: list[BaseException] = []
    over = threading.Event()

    def read() -> None:
        try:
            while not over.is_set():
                assert client.metrics["pool"] == "default"
        except BaseException as failure:
            failures.append(failure)

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(200):
        await client.set(f"k{n}", n)
    over.set()
    await asyncio.to_thread(reader.join)
    assert failures == []


async def test_readiness_and_health_ask_every_primary(client: OptimizedRedis) -> None:
    """Well, they say so; a breaker opened by hand is past for `ready` and told by `health`."""
    assert await client.ready()
    assert (await client.health()).verdict == "ready"
    node = client.get_primaries()[0]  # type: ignore[attr-defined]
    client._nodes.lane_of(node).gate.breaker.force_open()  # type: ignore[attr-defined]
    assert await client.ready()
    assert (await client.health()).verdict == "circuit_open"
    client._nodes.lane_of(node).gate.breaker.reset()  # type: ignore[attr-defined]
