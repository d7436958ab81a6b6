"""The client of a Redis Cluster: the same commands and batches, each key's on the node that holds it.

redis-py keeps the map of slots and knows where commands without keys go; the shared connections of each node
carry (`perfkit.pools.routing`). Calls are counted once, for the workload, however many nodes it has.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode, ClusterPipeline
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from perfkit.errors import SettingsError
from perfkit.pools.answers import Answers, made_by
from perfkit.pools.batch import BatchCommands, Command
from perfkit.pools.commands import (
    is_read,
    is_repeatable,
    longest_wait_s,
    miss_of,
    misses_of,
    needs_own_connection,
)
from perfkit.pools.counts import PoolCounts
from perfkit.pools.deadline import CommandDeadline
from perfkit.pools.failures import RedisLost, blames_server
from perfkit.pools.gate import Gate
from perfkit.pools.health import PoolHealth, health_of
from perfkit.pools.lane import Lane, Recovered
from perfkit.pools.pipeline import NodePipeline
from perfkit.pools.routing import REPLICAS_IN_TURN, NodeLanes, is_redirection
from perfkit.pools.settings import PoolSettings
from perfkit.pools.slots import slot_of, slot_of_key
from perfkit.pools.wire import pack, pack_many

__all__ = ["OptimizedRedisCluster"]

_NO_CLUSTER = "Cluster mode is not enabled"
_SUMMED = (
    "circuit_opened",
    "in_flight",
    "limit",
    "waiting",
    "waits",
    "refusals",
    "connections",
    "connections_used",
    "loop_stalls",
)
_BY_WORST = ("disabled", "metrics_only", "closed", "half_open", "open", "forced_open")


class OptimizedRedisCluster(BatchCommands, RedisCluster):  # type: ignore[misc]  # redis-py's own bases disagree
    """One workload's client of a cluster; see `perfkit.pools.OptimizedRedis` for what it promises.

    Each node has shared connections, a breaker and a limit of its own. A batch goes to all nodes at once, one
    piece each. Keys that one command names must lie in one slot, as the cluster demands: give them a common
    part in braces, or use the batch commands, which sort them.
    """

    def __init__(
        self,
        gate: Gate,
        make_gate: Callable[[str], Gate],
        settings: PoolSettings,
        connection: Mapping[str, Any],
    ) -> None:
        """Make a client; nothing is opened yet.

        Args:
            gate: Counts the workload's calls and holds its retry budget; its breaker is not asked.
            make_gate: Makes the gate of a node, named as in ` at host:port`.
            settings: The workload's knobs.
            connection: redis-py's keywords, as an `Endpoint` of a cluster holds them.
        """
        RedisCluster.__init__(self, **_redis_py_options(connection, settings))
        BatchCommands.__init__(self, settings)
        self.backend = "redis"
        self._lane = Lane(gate, settings, None)
        self._counts = gate.counts
        self._settings = settings
        self._answers = Answers(self.response_callbacks)
        self._deadline = CommandDeadline(gate.name, settings.command_timeout_seconds)
        self._nodes = NodeLanes(
            self.nodes_manager,
            settings,
            connection,
            make_gate,
            pool=gate.name,
            clock=gate.clock,
            rng=gate.rng,
        )

    @property
    def raising(self) -> OptimizedRedisCluster:
        """The same pool for callers who want to know: what would be answered with a miss is raised."""
        if self._settings.when_unavailable == "raise":
            return self
        strict = copy.copy(self)  # shares the map, the nodes and what they hold
        strict._settings = self._settings.model_copy(update={"when_unavailable": "raise"})
        strict._lane = Lane(self._lane.gate, strict._settings, None)
        return strict

    async def initialize(self, *args: Any, **options: Any) -> Any:
        """Read the map of slots, once; every command does so when it is the first.

        Raises:
            SettingsError: the server is no cluster.
            RedisLost: no node answers.
            redis.exceptions.AuthenticationError: user or password are wrong.
        """
        if not self._initialize:
            return self
        name, settings = self._lane.gate.name, self._settings
        patience_s = settings.connect_timeout_seconds + settings.command_timeout_seconds
        try:
            async with CommandDeadline(name, patience_s, sent=False).over("Reading the map of the cluster"):
                return await super().initialize(*args, **options)
        except RedisClusterException as trouble:
            cause = trouble.__cause__
            if _NO_CLUSTER in str(trouble):
                raise SettingsError(
                    f"The server of pool {name} is no cluster. Remove cluster=true from its address, or "
                    "name a node of a cluster.",
                    path="PERFKIT_REDIS_URL",
                ) from None
            if isinstance(cause, RedisError) and not blames_server(cause):
                raise cause from None
            raise RedisLost(
                f"No node of the cluster of pool {name} answers: {trouble}", pool=name, sent=False
            ) from None

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command on the node that holds its key, or where redis-py says it belongs.

        Raises:
            CircuitOpen, PoolExhausted, RedisTimeout, RedisLost: as on one server, of the node it concerns.
            redis.exceptions.RedisClusterException: its keys lie in several slots.
            redis.exceptions.RedisError: Redis refused the command.
        """
        kind = self._answers.known.get(args[0]) or self._answers.learn(args[0])
        if not kind.one_key or self._initialize or "target_nodes" in options or len(args) < 2:
            return await self._execute_slowly(args, options)
        packed = pack(args)
        counts, slot, node = self._counts, slot_of_key(args[1]), None
        counts.calls += 1
        try:
            node = self._nodes.node_of(slot, reads=kind.reads)
            lane = self._nodes.lane_of(node)
            breaker, mux = lane.gate.breaker, lane.mux
            if breaker.state == "closed" and mux and (ready := mux.ready()) and lane.gate.limiter.take():
                reply = await ready.call(packed, breaker.generation)
            else:
                reply = await lane.send(packed)
        except BaseException as failure:
            self._nodes.note(node, failure)
            again = partial(self._nodes.send, slot, packed, reads=kind.reads)
            recovered = await self._go_on(failure, again, args)
            if recovered.missed:
                return recovered.reply
            reply = recovered.reply
        else:
            counts.ok += 1
        if kind.callback is None:
            return reply
        answer = made_by(kind.callback, reply, options)
        return await answer if inspect.isawaitable(answer) else answer

    async def _execute_slowly(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Run a command whose place must be found out: by the names of its keys, or by redis-py."""
        slot = None if "target_nodes" in options or needs_own_connection(args) else slot_of(args)
        send: Callable[[], Coroutine[Any, Any, Any]]
        if slot is None:
            send = partial(self._send_anywhere, args, options)
        else:
            send = partial(self._nodes.send, slot, pack(args), reads=is_read(args))
        self._counts.calls += 1
        try:
            await self.initialize()
            reply = await send()
        except BaseException as failure:
            recovered = await self._go_on(failure, send, args)
            if recovered.missed:
                return recovered.reply
            reply = recovered.reply
        else:
            self._counts.ok += 1
        if slot is None:
            return reply  # redis-py has made the answer
        answer = self._answers.answer(args, reply, options)
        return await answer if inspect.isawaitable(answer) else answer

    async def _go_on(
        self, failure: BaseException, send: Callable[[], Coroutine[Any, Any, Any]], args: tuple[Any, ...]
    ) -> Recovered:
        """Follow a node that points elsewhere; otherwise as `Lane.recover`."""
        if is_redirection(failure):
            try:
                reply = await send()
            except BaseException as again:
                failure = again
            else:
                self._counts.ok += 1
                return Recovered(reply, missed=False)
        return await self._lane.recover(
            failure, send, repeatable=partial(is_repeatable, args), miss=partial(miss_of, args)
        )

    def pipeline(self, transaction: bool | None = None, shard_hint: None = None) -> Any:
        """Return a pipeline: one piece a node, or as a transaction redis-py's own, of one slot."""
        if transaction:
            return _Transaction(self, self._deadline)  # type: ignore[abstract]  # an attribute, and unused
        return NodePipeline(self, self._run_many)

    def set_response_callback(self, command: str, callback: Callable[..., Any]) -> None:
        """Let a function of your own make the answer out of the reply, as in redis-py."""
        super().set_response_callback(command, callback)
        self._answers.forget()

    @property
    def counts(self) -> PoolCounts:
        """The pool's totals over all nodes, its durations and the breakers' transitions among them."""
        return self._counts

    @property
    def metrics(self) -> dict[str, str | int | float]:
        """What this pool has done since it was made and is doing, over all nodes, read in any thread.

        `circuit_state` is the worst of the nodes; `circuits_open` says how many of them are refused.
        """
        lanes = [lane.metrics for _name, lane in self._nodes]
        states = [str(lane["circuit_state"]) for lane in lanes]
        nodes = self.get_nodes()
        own = sum(len(node._connections) - len(node._free) for node in nodes)
        summed = {name: sum(int(lane[name]) for lane in lanes) for name in _SUMMED}
        connections = summed["connections"] + sum(len(node._connections) for node in nodes)
        used = summed["connections_used"] + own
        most = self._settings.mux_connections + self._settings.max_connections
        return {
            **self._lane.metrics,
            **summed,
            "circuit_state": max(states, key=_BY_WORST.index) if states else "closed",
            "backend": self.backend,
            "nodes": len(lanes),
            "circuits_open": sum(state in ("open", "forced_open") for state in states),
            "connections": connections,
            "connections_used": used,
            "connections_idle": max(0, connections - used),
            "connections_max": most * max(len(nodes), 1),
            "own_connections": own,
            "max_connections": self._settings.max_connections,
        }

    async def get_metrics(self) -> dict[str, str | int | float]:
        """Return `metrics`."""
        return self.metrics

    async def health(self, within_seconds: float | None = None) -> PoolHealth:
        """Ask whether every primary can serve now, and if not, why; nothing is raised but a cancellation.

        Args:
            within_seconds: How long the answer may take; default: a new connection and a command.
        """
        settings = self._settings
        patience_s = within_seconds or settings.connect_timeout_seconds + settings.command_timeout_seconds
        ask = partial(self.ping, target_nodes=RedisCluster.PRIMARIES)
        return await health_of(self._lane.gate.name, ask, self._ping_past_circuit, within_s=patience_s)

    async def ready(self) -> bool:
        """Tell whether every primary answers within the pool's deadlines, be a circuit open or not."""
        settings = self._settings
        patience_s = settings.connect_timeout_seconds + settings.command_timeout_seconds
        ask = self._ping_past_circuit
        return (await health_of(self._lane.gate.name, ask, ask, within_s=patience_s)).answers

    async def close_pool(self) -> None:
        """Close every connection to every node for good."""
        await self._nodes.aclose()
        await super().aclose()

    async def _ping_past_circuit(self) -> None:
        await self.initialize()
        await asyncio.gather(*(self._nodes.lane_of(node).ping() for node in self.get_primaries()))

    async def _run_many(self, commands: Sequence[Command]) -> list[Any]:
        if self._initialize:
            await self.initialize()
        replies: list[Any] = [None] * len(commands)
        nodes: dict[str, tuple[ClusterNode, list[int]]] = {}
        pieces: list[Coroutine[Any, Any, None]] = []
        for at, command in enumerate(commands):
            slot = slot_of(command)
            if slot is None or needs_own_connection(command):
                pieces.append(self._run_one(commands, [at], replies))
            else:
                node = self._nodes.node_of(slot, reads=is_read(command))
                nodes.setdefault(node.name, (node, []))[1].append(at)
        pieces += [self._run_on(node, commands, ats, replies) for node, ats in nodes.values()]
        if len(pieces) == 1:
            await pieces[0]
        else:
            outcomes = await asyncio.gather(*pieces, return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
        return await self._answers.settled(replies)

    async def _run_on(
        self, node: ClusterNode, commands: Sequence[Command], ats: list[int], replies: list[Any]
    ) -> None:
        """Send a node its part as one piece; what it points elsewhere is asked again one by one."""
        part = [commands[at] for at in ats]
        send = partial(self._nodes.lane_of(node).send, pack_many(part), len(part))
        self._counts.calls += 1
        try:
            found = await send()
        except BaseException as failure:
            self._nodes.note(node, failure)
            recovered = await self._lane.recover(
                failure, send, repeatable=lambda: all(map(is_repeatable, part)), miss=lambda: misses_of(part)
            )
            if recovered.missed:
                for at, answer in zip(ats, recovered.reply, strict=True):
                    replies[at] = answer
                return
            found = recovered.reply
        else:
            self._counts.ok += 1
        elsewhere = []
        for at, reply in zip(ats, found, strict=True):
            if is_redirection(reply):
                elsewhere.append(at)
            else:
                replies[at] = self._answers.answer(commands[at], reply, {})
        if elsewhere:
            await self._run_one(commands, elsewhere, replies)

    async def _run_one(self, commands: Sequence[Command], ats: list[int], replies: list[Any]) -> None:
        for at in ats:
            try:
                replies[at] = await self.execute_command(*commands[at])
            except (ResponseError, RedisClusterException) as refusal:
                replies[at] = refusal

    def _together(self, keys: Sequence[str | bytes]) -> list[Sequence[int]]:
        slots: dict[int, list[int]] = {}
        for at, key in enumerate(keys):
            slots.setdefault(slot_of_key(key), []).append(at)
        return list(slots.values())

    async def _send_anywhere(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Let redis-py say which nodes a command belongs to; it calls `_execute_command` for each."""
        return await super().execute_command(*args, **dict(options))

    async def _execute_command(self, target_node: ClusterNode, *args: Any, **options: Any) -> Any:
        if not needs_own_connection(args):
            return self._answers.answer(args, await self._nodes.send_to(target_node, pack(args)), options)
        breaker = self._nodes.lane_of(target_node).gate.breaker
        generation = breaker.admit()
        try:
            async with self._deadline.over(str(args[0]), waits_s=longest_wait_s(args)):
                reply = await super()._execute_command(target_node, *args, **options)
        except BaseException as failure:
            if blames_server(failure):
                breaker.record(generation, failed=1)
            else:
                breaker.release(generation)
            if type(failure) is RedisConnectionError:
                name = self._lane.gate.name
                raise RedisLost(
                    f"The connection of pool {name} to {target_node.name} was lost: {failure}; a command "
                    "that writes may have happened.",
                    pool=name,
                    sent=True,
                ) from None
            raise
        breaker.record(generation, ok=1)
        return reply

    def __del__(self, *_: Any) -> None:
        """Say nothing: `RedisPools` closes it, and redis-py would warn of every copy that `raising` makes."""


class _Transaction(ClusterPipeline):
    """redis-py's transaction on one slot, `WATCH` included, within the pool's deadline."""

    def __init__(self, client: OptimizedRedisCluster, deadline: CommandDeadline) -> None:
        super().__init__(client, True)
        self._deadline = deadline

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        """Send the transaction and return its replies.

        Raises:
            RedisTimeout: it took too long.
            redis.exceptions.CrossSlotTransactionError: its keys lie in several slots.
            redis.exceptions.RedisError: as in redis-py.
        """
        async with self._deadline.over("A transaction"):
            replies: list[Any] = await super().execute(raise_on_error, allow_redirections)
        return replies


def _redis_py_options(connection: Mapping[str, Any], settings: PoolSettings) -> dict[str, Any]:
    """redis-py's keywords with its surprises switched off, as `perfkit.pools.pools` does for one server."""
    options = dict(connection)
    if issubclass(options.pop("connection_class", object), SSLConnection):
        options["ssl"] = True
    return {
        **options,
        "driver_info": None,
        "load_balancing_strategy": None if settings.read_from == "primary" else REPLICAS_IN_TURN,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "max_connections": settings.max_connections,
        "require_full_coverage": False,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": settings.connect_timeout_seconds,
        "socket_timeout": None,
    }
