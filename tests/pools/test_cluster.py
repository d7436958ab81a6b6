"""A client of a cluster in good times: what it promises beside redis-py's answers, and how it refuses."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.credentials import UsernamePasswordCredentialProvider
from redis.exceptions import (
    AuthenticationError,
    CrossSlotTransactionError,
    NoPermissionError,
    RedisClusterException,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from perfkit.errors import CircuitOpen, PoolExhausted, SettingsError, Unavailable
from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, PoolType, RedisPools
from perfkit.pools.failures import PoolClosed, RedisLost, RedisTimeout
from perfkit.pools.server import RedisServer, free_port
from perfkit.pools.server.cluster import ClusterServer
from tests.pools.scripted_server import OK, Answer, Command, Visit, bulk, scripted
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


async def balanced(client: OptimizedRedis) -> dict[str, Any]:
    """Return the metrics of an idle client, each of whose calls has ended once."""
    metrics: dict[str, Any] = await client.get_metrics()
    assert metrics["calls"] == metrics["ok"] + metrics["failed"] + metrics["rejected"] + metrics["cancelled"]
    assert (metrics["in_flight"], metrics["own_connections"], metrics["waiting"]) == (0, 0, 0)
    return metrics


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
    assert metrics["cancelled"] > 400
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


async def test_the_map_is_read_once_for_all_who_come_at_the_start(
    opened: Opened, cluster: ClusterServer
) -> None:
    """A hundred first callers ask one node one time; one of them leaving takes nothing from the others."""
    client = opened(Endpoint.from_url(cluster.url))
    tasks = [asyncio.create_task(client.get(f"absent{n}")) for n in range(100)]
    await asyncio.sleep(0)
    for task in tasks[:10]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert results[10:] == [None] * 90
    assert (await balanced(client))["connects"] == 3


async def test_an_address_where_nobody_listens_opens_the_breaker(opened: Opened) -> None:
    """All are told what to look at; after ten failures without being kept waiting."""
    client = opened(Endpoint.from_url(f"redis://127.0.0.1:{free_port()}/0?cluster=true"), retries=0)
    with pytest.raises(RedisLost, match="PERFKIT_REDIS_URL"):
        await client.get("a")
    outcomes = [
        *await asyncio.gather(*(client.get("a") for _ in range(5)), return_exceptions=True),
        *[await asyncio.gather(client.batch_get(["a"]), return_exceptions=True) for _ in range(12)],
    ]
    assert all(isinstance(outcome, Unavailable | list) for outcome in outcomes)
    with pytest.raises(CircuitOpen):
        await client.set("a", 1)
    assert not await client.ready()
    assert (await balanced(client))["circuit_state"] == "open"


async def test_the_cache_starts_without_its_cluster(opened: Opened) -> None:
    """A cache that is not there misses, from the first call on."""
    pools = RedisPools(
        endpoint=Endpoint.from_url(f"redis://127.0.0.1:{free_port()}/0?cluster=true"), probe=null_probe
    )
    client = pools.client(PoolType.CACHE)
    for _ in range(12):
        assert await client.get("a") is None
        assert await client.batch_get(["a", "b"]) == [None, None]
        await client.batch_set({"a": 1, "b": 2}, ttl_seconds=5)
    with pytest.raises(Unavailable):
        await client.batch_delete(["a", "b"])
    await balanced(client)
    await pools.aclose()


async def test_a_seed_that_does_not_answer_is_given_up_in_time(opened: Opened) -> None:
    """The kernel accepts, nobody greets: all callers learn it at once, not one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0?cluster=true"
        client = opened(Endpoint.from_url(url), connect_timeout_seconds=0.1, retries=0)
        async with asyncio.timeout(1):
            outcomes = await asyncio.gather(*(client.get("a") for _ in range(50)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {RedisTimeout}
    assert len({id(outcome) for outcome in outcomes}) == 50


async def test_a_single_server_is_no_cluster(opened: Opened, server: RedisServer) -> None:
    """The error names the word in the address that is wrong."""
    client = opened(Endpoint.from_url(f"{server.tcp_url}?cluster=true"))
    for ask in (client.get("a"), client.batch_get(["a"]), client.dbsize()):
        with pytest.raises(SettingsError, match="Remove cluster=true"):
            await ask
    assert not await client.ready()
    await balanced(client)


async def test_a_node_that_serves_no_slots_says_so(opened: Opened) -> None:
    """As of a cluster that is being set up."""
    with RedisServer.start(options={"cluster-enabled": "yes", "cluster-port": free_port()}) as lonely:
        client = opened(Endpoint.from_url(f"{lonely.tcp_url}?cluster=true"), retries=0)
        with pytest.raises(RedisLost, match="serves no slots"):
            await client.get("a")


async def test_passwords_and_permissions(opened: Opened) -> None:
    """A wrong password is redis-py's error and shows nowhere; a provider is asked for every connection."""
    with ClusterServer.start(nodes=3, password=SECRET) as guarded:
        host = f"127.0.0.1:{guarded.nodes[0].port}"
        for wrong in (f"redis://:not-{SECRET}@{host}/0?cluster=true", f"redis://{host}/0?cluster=true"):
            client = opened(Endpoint.from_url(wrong))
            for ask in (client.get("a"), client.batch_get(["a"]), client.pipeline().get("a").execute()):
                with pytest.raises(AuthenticationError) as failure:
                    await ask
                assert SECRET not in f"{failure.value!r} {failure.value}"
            assert SECRET not in f"{client!r} {await balanced(client)} {await client.health()}"
            assert (await client.health()).verdict == "refused"

        asked = 0

        class Provider(UsernamePasswordCredentialProvider):
            async def get_credentials_async(self) -> tuple[str, str]:
                nonlocal asked
                asked += 1
                return "default", SECRET

        client = opened(Endpoint.from_url(f"redis://{host}/0?cluster=true", credential_provider=Provider()))
        await client.batch_set({f"k{n}": n for n in range(30)})
        assert await client.blpop(["nothing"], timeout=0.01) is None
        assert asked == 4
        assert SECRET not in repr(client)

        await client.acl_setuser(
            "limited",
            enabled=True,
            passwords=["+x"],
            commands=["+@read"],
            keys=["*"],
            target_nodes=client.get_primaries(),
        )  # type: ignore[attr-defined]
        limited = opened(Endpoint.from_url(f"redis://limited:x@{host}/0?cluster=true"))
        with pytest.raises(NoPermissionError):
            await limited.get("a")


async def test_a_cluster_is_reached_over_mux_only(cluster: ClusterServer) -> None:
    """A knob that would have no effect is refused."""
    settings = PoolsSettings(default=PoolSettings(transport="classic"))
    pools = RedisPools(settings, Endpoint.from_url(cluster.url), probe=null_probe)
    with pytest.raises(SettingsError, match=r"pools\.default\.transport"):
        pools.client()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("redis://h/3?cluster=true", "database"),
        ("unix:///s?cluster=true", "socket"),
        ("redis://h/0?cluster=maybe", "cluster='maybe'"),
        ("redis://h/0?clutser=true", "cluster"),
    ],
)
def test_an_address_that_no_cluster_has_is_refused(options: str, why: str) -> None:
    """Before anything is opened."""
    with pytest.raises(SettingsError, match=why):
        Endpoint.from_url(options)


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


async def test_a_node_that_left_is_parted_from_and_its_totals_stay(opened: Opened) -> None:
    """Two nodes by what the first says, then one: the connection to the other is closed, its sums remain."""
    others: list[int] = []

    def slots(command: Command, visit: Visit) -> Answer:
        if command[:2] == [b"CLUSTER", b"SLOTS"]:
            return _slots_reply(first.port, others)
        return bulk("v") if command[0] == b"GET" else OK

    async with scripted(slots) as first, scripted(slots) as second:
        others.append(second.port)
        client = opened(Endpoint.from_url(f"redis://127.0.0.1:{first.port}/0?cluster=true"))
        assert [await client.get(f"k{n}") for n in range(20)] == [b"v"] * 20
        assert (await client.get_metrics())["connections"] == 2
        lane = client._nodes.lanes[f"127.0.0.1:{second.port}"]  # type: ignore[attr-defined]
        lane.gate.limiter.waits += 3
        others.clear()
        client._nodes.map._not_before_s = 0.0  # type: ignore[attr-defined]
        client._nodes.map.doubt()  # type: ignore[attr-defined]
        await until(lambda: second.visits[0].ended)
        metrics = await balanced(client)
        assert (metrics["connections"], metrics["waits"], metrics["nodes"]) == (1, 3, 1)


async def test_two_nodes_that_point_at_each_other_do_not_keep_a_caller_for_ever(opened: Opened) -> None:
    """After some turns it waits between them, and at last it is told."""

    def answer_of(mine: int) -> Callable[[Command, Visit], Answer]:
        def answer(command: Command, _visit: Visit) -> Answer:
            if command[:2] == [b"CLUSTER", b"SLOTS"]:
                return _slots_reply(servers[0].port, [servers[1].port])
            return f"-MOVED 1 127.0.0.1:{servers[1 - mine].port}\r\n".encode()

        return answer

    servers: list[Any] = []
    async with scripted(answer_of(0)) as first, scripted(answer_of(1)) as second:
        servers += [first, second]
        client = opened(
            Endpoint.from_url(f"redis://127.0.0.1:{first.port}/0?cluster=true"),
            command_timeout_seconds=0.1,
            retries=0,
        )
        with pytest.raises(RedisTimeout, match="to and fro"):
            await client.get("a")
        with pytest.raises(RedisTimeout, match="to and fro"):
            await client.pipeline(transaction=True).get("a").execute()
        (answer,) = await client.execute_many([("GET", "a")], return_exceptions=True)
        assert isinstance(answer, ResponseError)
        assert len(first.heard) + len(second.heard) < 200
        await balanced(client)


def _slots_reply(first: int, others: list[int]) -> bytes:
    ports = [first, *others]
    shares = b""
    for number, port in enumerate(ports):
        low, high = 16_384 * number // len(ports), 16_384 * (number + 1) // len(ports) - 1
        shares += b"*3\r\n:%d\r\n:%d\r\n*3\r\n$0\r\n\r\n:%d\r\n$1\r\n%d\r\n" % (low, high, port, number)
    return b"*%d\r\n" % len(ports) + shares
