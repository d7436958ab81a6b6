"""A cluster of which a node is lost, stalled or replaced: the others serve on, and nobody is told wrong."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import pytest
from redis.crc import key_slot
from redis.exceptions import RedisError

from perfkit.errors import CircuitOpen, Unavailable
from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, PoolType, RedisPools
from perfkit.pools.failures import RedisCircuitOpen, RedisLost, RedisTimeout
from perfkit.pools.server import find_server
from perfkit.pools.server.cluster import ClusterServer
from tests.pools.balance import balanced
from tests.pools.waiting import until

Opened = Callable[..., OptimizedRedis]
KEYS = [f"k{n}" for n in range(60)]


@pytest.fixture(scope="module")
def tolerant() -> Iterator[ClusterServer]:
    """Three primaries that go on when one is lost."""
    if find_server() is None:
        pytest.skip("no Redis server to start; install perfkit[server]")
    with ClusterServer.start(options={"cluster-require-full-coverage": "no"}) as started:
        yield started


@pytest.fixture
def losing(tolerant: ClusterServer) -> Iterator[ClusterServer]:
    """The same; whoever was killed or stalled is brought back."""
    yield tolerant
    for node in tolerant.nodes:
        if not node.alive():
            node.restart()
        node.resume()
    tolerant.wait_until_whole()


@pytest.fixture
def copied() -> Iterator[ClusterServer]:
    """Three primaries with a replica each, of this test's own."""
    if find_server() is None:
        pytest.skip("no Redis server to start; install perfkit[server]")
    with ClusterServer.start(replicas=1) as started:
        yield started


@pytest.fixture
async def client(opened: Opened, losing: ClusterServer) -> AsyncIterator[OptimizedRedis]:
    """A client that repeats nothing, and whose books balance in the end."""
    fresh: OptimizedRedis = opened(Endpoint.from_url(losing.url), retries=0, command_timeout_seconds=0.5)
    await fresh.flushall()
    await fresh.batch_set(dict.fromkeys(KEYS, "v"))
    yield fresh
    await balanced(fresh)


async def knows_replicas(client: OptimizedRedis) -> bool:
    """Have the map read again and tell whether there is a replica for each primary."""
    await client.ping()
    client._nodes.map.doubt()  # type: ignore[attr-defined]
    return len(client.get_replicas()) == 3  # type: ignore[attr-defined]


def of_node(cluster: ClusterServer, number: int) -> list[str]:
    """Return the keys that a node serves."""
    return [key for key in KEYS if cluster.owner(key_slot(key.encode())) == number]


async def test_a_node_that_was_killed_is_refused_and_the_others_serve_on(
    client: OptimizedRedis, losing: ClusterServer
) -> None:
    """Its breaker opens at once, theirs stay closed; the errors name the node."""
    lost = of_node(losing, 1)
    others = [key for key in KEYS if key not in lost]
    losing.kill_node(1)
    began_s = time.monotonic()

    refused: list[BaseException] = []
    while not any(isinstance(refusal, CircuitOpen) for refusal in refused):
        outcomes = await asyncio.gather(*(client.get(key) for key in lost), return_exceptions=True)
        refused += [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert await asyncio.gather(*(client.get(key) for key in others)) == [b"v"] * len(others)
    took_s = time.monotonic() - began_s

    assert took_s < 1  # 0.05 on an idle machine
    assert {type(refusal) for refusal in refused} == {RedisLost, RedisCircuitOpen}
    assert all(f"127.0.0.1:{losing.nodes[1].port}" in str(refusal) for refusal in refused)
    metrics = await client.get_metrics()
    assert (metrics["circuit_state"], metrics["circuits_open"]) == ("open", 1)
    assert not await client.ready()
    assert (await client.health()).verdict == "no_answer"


async def test_a_batch_with_a_lost_node_says_so_after_the_others_had_theirs(
    client: OptimizedRedis, losing: ClusterServer
) -> None:
    """One error, raised when every node has answered or failed; what the others were sent has happened."""
    lost = of_node(losing, 1)
    losing.kill_node(1)

    with pytest.raises(RedisLost, match=str(losing.nodes[1].port)):
        await client.batch_set(dict.fromkeys(KEYS, "new"))

    others = [key for key in KEYS if key not in lost]
    assert await client.batch_get(others) == [b"new"] * len(others)
    with pytest.raises(Unavailable):
        await client.pipeline().get(lost[0]).get(others[0]).execute()
    with pytest.raises(Unavailable):
        await client.pipeline(transaction=True).incr(lost[0]).execute()
    with pytest.raises(Unavailable):
        await client.blpop([lost[0]], timeout=1)


async def test_what_any_node_can_answer_is_asked_of_one_that_does(
    client: OptimizedRedis, losing: ClusterServer
) -> None:
    """PING, or a script without keys, does not stop working with the first node of the list."""
    first = losing.nodes.index(
        next(node for node in losing.nodes if node.port == client.get_default_node().port)  # type: ignore[attr-defined]
    )
    losing.kill_node(first)
    await asyncio.gather(*(client.get(key) for key in of_node(losing, (first + 1) % 3)))
    await asyncio.gather(*(client.get(key) for key in KEYS), return_exceptions=True)

    assert [await client.ping() for _ in range(10)] == [True] * 10


async def test_the_cache_misses_only_what_the_lost_node_had(losing: ClusterServer) -> None:
    """Reads answer as an empty node would; a removal that could not be made raises; `raising` does always."""
    pools = RedisPools(
        PoolsSettings(cache=PoolsSettings().cache.model_copy(update={"command_timeout_seconds": 5.0})),
        Endpoint.from_url(losing.url),
        probe=null_probe,
    )
    client = pools.client(PoolType.CACHE)
    await client.batch_set(dict.fromkeys(KEYS, "v"))
    lost = of_node(losing, 1)
    losing.kill_node(1)

    expected = [None if key in lost else b"v" for key in KEYS]
    for _ in range(12):  # before and after the breaker opens
        assert await client.batch_get(KEYS) == expected
        assert [await client.get(key) for key in KEYS] == expected
        assert await client.pipeline().get(KEYS[0]).get(lost[0]).execute() == [expected[0], None]
        assert await client.set(lost[0], "x") is None
    await client.batch_set(dict.fromkeys(KEYS, "w"))
    assert await client.batch_get(KEYS) == [None if key in lost else b"w" for key in KEYS]
    for ask in (client.delete(lost[0]), client.batch_delete(KEYS), client.incr(lost[0])):
        with pytest.raises(Unavailable):
            await ask
    with pytest.raises(Unavailable):
        await client.raising.get(lost[0])
    assert client.raising is client.raising
    await balanced(client)
    await pools.aclose()


async def test_a_node_that_came_back_is_asked_again(client: OptimizedRedis, losing: ClusterServer) -> None:
    """After the breaker's wait the first calls try it, and then all."""
    key = of_node(losing, 1)[0]
    losing.kill_node(1)
    await asyncio.gather(*(client.get(key) for _ in range(20)), return_exceptions=True)
    losing.nodes[1].restart()

    async def answers() -> bool:
        try:
            return await client.set(key, "again") is True and client.metrics["circuit_state"] == "closed"
        except (
            RedisError,
            CircuitOpen,
        ):  # of the circuit, and for 2 s of the node, which calls the cluster down
            return False

    await until(answers)
    assert await client.get(key) == b"again"


async def test_a_stalled_node_delays_nobody_elsewhere(client: OptimizedRedis, losing: ClusterServer) -> None:
    """Its callers wait out their deadline; the others' reads meanwhile do not take a tenth of that."""
    stalled = of_node(losing, 2)
    others = [key for key in KEYS if key not in stalled]
    losing.nodes[2].stall()
    waiting = [asyncio.create_task(client.get(key)) for key in stalled]
    await asyncio.sleep(0)

    slowest_s = 0.0
    answered = 0
    while not all(task.done() for task in waiting):
        began_s = time.monotonic()
        assert await asyncio.gather(*(client.get(key) for key in others)) == [b"v"] * len(others)
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        answered += 1

    assert answered > 5
    assert slowest_s < 0.4
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, RedisTimeout | CircuitOpen)
    assert (await client.get_metrics())["circuits_open"] == 1
    losing.nodes[2].resume()


async def test_the_map_is_read_again_though_a_node_is_stalled(
    client: OptimizedRedis, losing: ClusterServer
) -> None:
    """Whoever is asked for the map answers: the stalled one is asked last of all."""
    stalled = of_node(losing, 2)
    losing.nodes[2].stall()
    await asyncio.gather(*(client.get(key) for key in stalled), return_exceptions=True)
    for _ in range(5):
        client._nodes.map._not_before_s = 0.0  # type: ignore[attr-defined]
        with pytest.raises(CircuitOpen):
            await client.get(stalled[0])
        reading = client._nodes.map._reading  # type: ignore[attr-defined]
        async with asyncio.timeout(0.4):
            assert await reading is None
    losing.nodes[2].resume()


async def test_a_replica_takes_over_and_the_client_follows(copied: ClusterServer, opened: Opened) -> None:
    """Without retries and without being told: until then callers fail, and the map is read again."""
    client = opened(Endpoint.from_url(copied.url), retries=0)
    await client.batch_set(dict.fromkeys(KEYS, "v"))
    await client.wait(1, 2_000, target_nodes="primaries")
    lost = of_node(copied, 0)
    others = [key for key in KEYS if key not in lost]
    copied.kill_node(0)

    async def all_are_back() -> bool:
        outcomes = await asyncio.gather(*(client.get(key) for key in lost), return_exceptions=True)
        for outcome in outcomes:
            assert outcome == b"v" or isinstance(outcome, RedisError | Unavailable)
        return outcomes == [b"v"] * len(lost)

    await until(all_are_back, within_s=30)
    assert await client.batch_get(KEYS) == [b"v"] * len(KEYS)
    assert await client.incr("counter") == 1
    await asyncio.gather(*(client.set(key, "w") for key in lost + others))
    copied.nodes[0].restart()  # it comes back as the replica of its successor
    await asyncio.to_thread(copied.wait_until_whole)
    assert await client.batch_get(KEYS) == [b"w"] * len(KEYS)
    await balanced(client)


async def test_reads_go_to_replicas_and_to_the_primary_when_they_are_away(
    copied: ClusterServer, opened: Opened
) -> None:
    """`replica_preferred` keeps reads from the primaries while it can, and writes where they belong."""
    client = opened(Endpoint.from_url(copied.url), read_from="replica_preferred", retries=0)
    strict = opened(Endpoint.from_url(copied.url), read_from="replica", retries=0)
    await client.batch_set(dict.fromkeys(KEYS, "v"))
    await client.wait(1, 2_000, target_nodes="primaries")
    for each in (client, strict):  # nodes do not tell of a replica that has copied nothing yet
        await until(partial(knows_replicas, each))
    plain = opened(Endpoint.from_url(copied.url))

    async def reads_of(kind: str) -> int:
        told = await plain.execute_command("INFO", "commandstats", target_nodes=kind)
        return sum(each.get("cmdstat_get", {}).get("calls", 0) for each in told.values())

    before = {kind: await reads_of(kind) for kind in ("primaries", "replicas")}
    assert [await client.get(key) for key in KEYS] == [b"v"] * len(KEYS)
    assert await client.execute_many([("GET", key) for key in KEYS]) == [b"v"] * len(KEYS)
    assert await client.batch_get(KEYS) == [b"v"] * len(KEYS)
    assert await client.execute_many([("SET", "k0", "w"), ("GET", "k0")]) == [True, b"w"]
    assert await reads_of("replicas") - before["replicas"] == 2 * len(KEYS)
    assert await reads_of("primaries") - before["primaries"] == 1  # after a write in the same batch

    for number in (3, 4, 5):
        copied.nodes[number].kill()
    values = [b"w", *[b"v"] * (len(KEYS) - 1)]
    for _ in range(3):
        assert [await client.get(key) for key in KEYS] == values
        assert await client.batch_get(KEYS) == values
    assert (await client.get_metrics())["failed"] == 0
    with pytest.raises(Unavailable):
        await strict.get("k0")
    await balanced(client)


async def test_a_cluster_that_is_down_as_a_whole_is_refused_as_a_whole(opened: Opened) -> None:
    """Where a lost shard stops all, CLUSTERDOWN opens the breakers; a cache misses."""
    if find_server() is None:
        pytest.skip("no Redis server to start; install perfkit[server]")
    with ClusterServer.start(node_timeout_ms=300) as cluster:
        pools = RedisPools(
            PoolsSettings(default=PoolSettings(retries=0)), Endpoint.from_url(cluster.url), probe=null_probe
        )
        client, cache = pools.client(), pools.client(PoolType.CACHE)
        await client.batch_set(dict.fromkeys(KEYS, "v"))
        assert await cache.get("k0") == b"v"
        living = of_node(cluster, 0)
        cluster.kill_node(1)

        async def is_down() -> bool:
            try:
                await client.get(living[0])
            except Exception as refusal:
                return "CLUSTERDOWN" in str(refusal) or isinstance(refusal, CircuitOpen)
            return False

        await until(is_down)
        await asyncio.gather(*(client.get(key) for key in living * 3), return_exceptions=True)
        with pytest.raises(CircuitOpen):
            await client.get(living[0])
        assert [await cache.get(key) for key in KEYS] == [None] * len(KEYS)
        assert await cache.batch_get(KEYS) == [None] * len(KEYS)
        await balanced(client)
        await balanced(cache)
        await pools.aclose()


async def test_a_failure_leaves_no_garbage_behind(client: OptimizedRedis, losing: ClusterServer) -> None:
    """An exception whose traceback holds the frame that holds it stays until the next collection."""
    lost = of_node(losing, 1)
    losing.kill_node(1)
    gc.collect()
    gc.disable()
    try:
        for ask in (
            lambda: client.get(lost[0]),
            lambda: client.exists(lost[0]),
            lambda: client.batch_get(lost),
            lambda: client.pipeline().get(lost[0]).execute(),
            lambda: client.pipeline(transaction=True).get(lost[0]).execute(),
        ):
            for _ in range(5):
                with contextlib.suppress(RedisLost, CircuitOpen):
                    await ask()
        await until(lambda: client._nodes.map._reading.done())  # type: ignore[attr-defined]
        left = [each for each in gc.get_objects() if issubclass(type(each), RedisLost | CircuitOpen)]
    finally:
        gc.enable()
    assert len(left) <= 2  # the last one, and that of the reading of the map, which its task keeps
