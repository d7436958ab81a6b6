"""redis-py's client of a cluster, of which the routing is kept and the carrying replaced.

What stays: the map of slots, which commands go to which nodes and how their replies are joined, and where the
keys are among the arguments. What goes: its connections, which it takes without waiting and beyond any
deadline; its retries, which repeat writes; and its way with trouble, which closes the connections of all
callers when one of them meets a cluster that is down, or the fifth slot that has moved.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError
from redis.maint_notifications import MaintNotificationsConfig

from perfkit.errors import Unavailable
from perfkit.pools.answers import Answers
from perfkit.pools.batch import Command
from perfkit.pools.client import OptimizedRedis
from perfkit.pools.commands import is_read, needs_own_connection, word
from perfkit.pools.gate import Gate
from perfkit.pools.routing import REDIRECTIONS, NodeClients
from perfkit.pools.settings import PoolSettings
from perfkit.pools.slots import slot_of
from perfkit.pools.wire import pack

__all__ = ["RoutingCluster"]

_ON_ALL_PRIMARIES = ("DBSIZE", "KEYS")
"""redis-py asks one node alone, whose answer is a part of what was asked for."""


class RoutingCluster(RedisCluster):
    """Finds the nodes of a command and lets their clients carry it; `OptimizedRedisCluster` is made of it."""

    def __init__(
        self,
        gate: Gate,
        make_client: Callable[[str, int], OptimizedRedis],
        settings: PoolSettings,
        connection: Mapping[str, Any],
    ) -> None:
        super().__init__(**_redis_py_options(connection))
        self.command_flags |= dict.fromkeys(_ON_ALL_PRIMARIES, RedisCluster.PRIMARIES)
        self.commands_parser.node = _AnyNode(self)  # type: ignore[assignment]  # all that it asks of a node
        self._answers = Answers(self.response_callbacks)
        self._rng = gate.rng
        self._clock = gate.clock
        self._nodes = NodeClients(
            self.nodes_manager,
            partial(self._answering_alike, make_client),
            settings,
            pool=gate.name,
            clock=gate.clock,
            rng=gate.rng,
        )

    async def initialize(self, *_args: Any, **_options: Any) -> RoutingCluster:
        """Read the map of slots, once; every command does so when it is the first.

        Raises:
            SettingsError: the server is no cluster.
            RedisLost, RedisTimeout, CircuitOpen: it does not answer.
            redis.exceptions.AuthenticationError: user or password are wrong.
        """
        if self._initialize:
            await self._nodes.map.read()
            self._initialize = False  # for redis-py, which would read it in its own way
        return self

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command, once, where redis-py says it belongs; it joins the answers of several nodes."""
        await self.initialize()
        return await super().execute_command(word(args[0]), *args[1:], **dict(options))

    async def slot_found(self, args: Command) -> int | None:
        """Return the slot of a command's keys, asking a node where they are if need be.

        None where there is none, or no single one, or where the command needs a connection of its own: then
        `execute_command` knows what to do, or how to refuse it.
        """
        if needs_own_connection(args) and word(args[0]) != "WATCH":
            return None
        slot = slot_of(args)
        name = word(args[0])
        if (
            slot is not None
            or name in self.command_flags
            or await self._policy_resolver.resolve(name.lower())
        ):
            return slot
        try:
            await self.initialize()
            return await self._determine_slot(name, *args[1:])
        except (RedisError, RedisClusterException, Unavailable):
            return None  # it is told where it is counted, when the command is run

    transaction = Redis.transaction  # type: ignore[assignment]  # redis-py's of a cluster blocks the loop to wait

    async def get_nodes_from_slot(self, command: str, *args: Any) -> list[ClusterNode]:
        """Return the node of the keys of a command that only redis-py can find."""
        slot = await self._determine_slot(command, *args)
        return [self._nodes.node_of(slot, reads=is_read((command,)))]

    def get_default_node(self) -> ClusterNode:
        """Return the node that is asked what any can answer: not one that is known to be down."""
        return self._one_that_answers(self.get_primaries())

    def get_random_primary_node(self) -> ClusterNode:
        """Return some primary, not one that is known to be down."""
        primaries = self.get_primaries()
        self._rng.shuffle(primaries)
        return self._one_that_answers(primaries)

    async def aclose(self) -> None:
        """Do nothing: others use the same connections, and `RedisPools` closes them."""

    async def _execute_command(self, target_node: ClusterNode, *args: Any, **options: Any) -> Any:
        if needs_own_connection(args):
            return await self._execute_alone(target_node, args, options)
        reply = await self._nodes.send_to(target_node, pack(args))
        answer = self._answers.answer(args, reply, options)
        return await answer if inspect.isawaitable(answer) else answer

    async def _execute_alone(self, node: ClusterNode, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Run a command on a connection lent to it, on the node that serves its slot by now."""
        since_s, hop, asking = self._clock(), 0, False
        while True:
            client = self._nodes.client_of(node)
            try:
                if not asking:
                    return await client.send_alone(args, dict(options))
                async with client.client() as own:
                    await own.execute_command("ASKING")  # type: ignore[no-untyped-call]  # redis-py's
                    return await own.execute_command(*args, **options)  # type: ignore[no-untyped-call]
            except REDIRECTIONS as pointer:
                node, asking = await self._nodes.follow(node, pointer, hop, since_s)
                hop += 1
            except BaseException as failure:
                self._nodes.note(node, failure)
                raise

    def _answering_alike(
        self, make_client: Callable[[str, int], OptimizedRedis], host: str, port: int
    ) -> OptimizedRedis:
        """Make the client of a node, which makes answers as the whole cluster's does."""
        client = make_client(host, port)
        client.response_callbacks = self.response_callbacks
        client.answers = self._answers
        return client

    def _one_that_answers(self, nodes: list[ClusterNode]) -> ClusterNode:
        return next((node for node in nodes if not self._nodes.refuses(node)), nodes[0])

    def __del__(self, *_: Any) -> None:
        """Say nothing: `RedisPools` closes it, and redis-py would warn of every copy that `raising` makes."""


class _AnyNode:
    """Where redis-py asks for the table of commands, when a command's keys are not known by its name."""

    def __init__(self, client: RoutingCluster) -> None:
        self._client = client

    async def execute_command(self, *args: Any) -> Any:
        client = self._client
        return await client._execute_command(client.get_default_node(), *args)


def _redis_py_options(connection: Mapping[str, Any]) -> dict[str, Any]:
    """redis-py's keywords: it opens no connection here; it routes and makes answers."""
    options = {"host": "localhost", **connection}
    if issubclass(options.pop("connection_class", object), SSLConnection):
        options["ssl"] = True
    return {
        **options,
        "driver_info": None,
        "dynamic_startup_nodes": False,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "require_full_coverage": False,
        "retry": Retry(NoBackoff(), 0),
    }
