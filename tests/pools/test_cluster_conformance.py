"""The conformance suite of a client, on a cluster: redis-py's answers, wherever the keys are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import RedisCluster
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, RedisPools
from perfkit.pools.server.cluster import ClusterServer
from tests.pools.client_case import ClientCase
from tests.pools.sessions import SESSIONS


class TestCluster(ClientCase):
    """A client of a cluster beside redis-py's own, with keys in one slot where commands name several."""

    tag = "{conformance}"
    lacks = frozenset({"the_server", "execabort", "held client"})

    @pytest.mark.parametrize("transaction", [True, False])
    async def test_pipelines_answer_as_redis_pys(self, client: Any, plain: Any, transaction: bool) -> None:
        """As its pipelines that are none: in its transactions of a cluster some answers raise TypeError."""
        await super().test_pipelines_answer_as_redis_pys(client, _WithoutTransactions(plain), transaction)

    @pytest.mark.parametrize("transaction", [True, False])
    async def test_an_error_in_a_pipeline_is_redis_pys(
        self, client: Any, plain: Any, transaction: bool
    ) -> None:
        """As in its pipelines that are none: its transactions of a cluster garble the message."""
        await super().test_an_error_in_a_pipeline_is_redis_pys(
            client, _WithoutTransactions(plain), transaction
        )

    async def test_an_error_is_redis_pys_and_leaves_the_connection_fit(self, client: Any) -> None:
        """What no server knows is refused by redis-py: nobody can say where its keys are."""
        await client.set("text", "x")
        for ask in (lambda: client.hget("text", "f"), lambda: client.execute_command("NOSUCH", "text")):
            with pytest.raises(RedisError):
                await ask()
        with pytest.raises(RedisClusterException, match="Missing key"):
            await client.execute_command("NOSUCH")
        assert await client.get("text") == b"x"
        metrics = await self.balanced(client)
        assert (metrics["failed"], metrics["circuit_state"]) == (3, "closed")

    @pytest.mark.parametrize("name", ["hashes", "streams", "geography", "scripts"])
    async def test_answers_are_those_of_redis_py_wherever_the_keys_are(
        self, client: Any, plain: Any, name: str
    ) -> None:
        """Sessions whose commands name one key each, on several nodes."""
        expected = await SESSIONS[name](plain, str)
        await plain.flushall()

        answers = await SESSIONS[name](client, str)

        assert answers == expected
        await self.balanced(client)

    async def test_what_concerns_several_nodes_is_answered_as_by_redis_py(
        self, client: Any, plain: Any
    ) -> None:
        """Commands that redis-py divides, sends everywhere, or to whom it is told."""

        async def ask(r: Any) -> list[Any]:
            keys = [f"k{n}" for n in range(30)]
            node = r.get_primaries()[0] if r.get_primaries() else (await r.initialize()).get_primaries()[0]
            return [
                await r.mset_nonatomic(dict.fromkeys(keys, "v")),
                await r.mget_nonatomic([*keys, "absent"]),
                await r.exists(*keys, "absent"),
                await r.touch(*keys),
                await r.delete("k0", "k1", "absent"),
                await r.unlink("k2", "k3"),
                await r.dbsize(),
                sorted(await r.keys("k1*")),
                sorted([key async for key in r.scan_iter(match="k2*", count=3)]),
                await r.ping(),
                await r.ping(target_nodes=node),
                await r.execute_command(
                    "GET",
                    r.get_primaries()[0].name,
                    target_nodes=r.get_node_from_key(r.get_primaries()[0].name),
                ),
                sorted(await r.info(target_nodes=node)) != [],
                await r.config_get("maxmemory", target_nodes=node),
                await r.script_exists("f" * 40),
                await r.publish("nobody", "x"),
                await r.cluster_keyslot("k1"),
                await r.cluster_countkeysinslot(r.keyslot("k9")),
                type(await r.cluster_slots()),
                type(await r.cluster_nodes()),
                type(await r.time()),
                await r.flushdb(target_nodes="primaries"),
                await r.dbsize(),
                type(await r.randomkey()),
                await r.wait(0, 10, target_nodes=node),
            ]

        expected = await ask(plain)
        assert await ask(client) == expected
        await self.balanced(client)

    @pytest.mark.parametrize(
        "ask",
        [
            lambda client: client.mget("a", "b"),
            lambda client: client.mset({"a": 1, "b": 2}),
            lambda client: client.sinter("a", "b"),
            lambda client: client.eval("return 1", 2, "a", "b"),
            lambda client: client.blpop(["a", "b"], timeout=1),
        ],
    )
    async def test_keys_of_several_slots_in_one_command_are_refused(
        self, client: Any, plain: Any, ask: Any
    ) -> None:
        """By redis-py or by the server, as an error of the command alone."""
        with pytest.raises((RedisClusterException, ResponseError), match=r"(?i)slot"):
            await ask(client)
        await self.balanced(client)

    async def test_many_commands_of_every_kind_answer_in_order(self, client: Any) -> None:
        """What concerns all nodes comes between what was before it and what is after."""
        commands = [
            *[("SET", f"k{n}", n) for n in range(50)],
            ("DBSIZE",),
            ("MGET", "k1", "k2"),
            ("EVAL", "return redis.call('INCRBY', KEYS[1], 100)", 1, "k3"),
            ("INCR", "k3"),
            ("BLPOP", "nothing", 0.01),
            ("GET", "k3"),
            ("FLUSHALL",),
            ("DBSIZE",),
            ("SET", "k1", "again"),
            ("GET", "k1"),
        ]
        answers = await client.execute_many(commands, return_exceptions=True)

        assert answers[:51] == [True] * 50 + [50]
        assert isinstance(answers[51], RedisClusterException)
        assert answers[52:56] == [103, 104, None, b"104"]
        assert set(answers[56].values()) == {True}
        assert answers[57:] == [0, True, b"again"]
        await self.balanced(client)

    @pytest.fixture
    async def client(self, cluster: ClusterServer) -> AsyncIterator[OptimizedRedis]:
        """With batches in threes, on empty nodes."""
        settings = PoolSettings(batch_chunk=3, command_timeout_seconds=10)
        pools = RedisPools(PoolsSettings(default=settings), Endpoint.from_url(cluster.url), probe=null_probe)
        yield pools.client()
        await pools.aclose()

    @pytest.fixture
    async def plain(self, cluster: ClusterServer) -> AsyncIterator[RedisCluster]:
        """redis-py's client of a cluster as it comes, save that it counts the keys of all nodes."""
        async with RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port) as redis_py:
            redis_py.command_flags |= dict.fromkeys(("DBSIZE", "KEYS"), RedisCluster.PRIMARIES)
            yield redis_py

    @pytest.fixture(autouse=True)
    async def _empty(self, plain: RedisCluster) -> None:
        await plain.flushall()


class _WithoutTransactions:
    """redis-py's client of a cluster, every pipeline of which is spread over the nodes."""

    def __init__(self, plain: RedisCluster) -> None:
        self._plain = plain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def pipeline(self, transaction: bool = False) -> Any:
        del transaction
        return self._plain.pipeline()
