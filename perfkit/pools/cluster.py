"""The client of a Redis Cluster: the same commands and batches, each key's on the node that holds it.

redis-py knows where commands go (`perfkit.pools.cluster_redis_py`), the clients of the nodes carry them
(`perfkit.pools.routing`). Calls are counted once, for the workload, however many nodes it has.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode

from perfkit.pools.answers import made_by
from perfkit.pools.batch import BatchCommands, Command
from perfkit.pools.client import OptimizedRedis
from perfkit.pools.cluster_batch import ClusterBatches
from perfkit.pools.cluster_metrics import over_nodes
from perfkit.pools.cluster_pieces import all_of
from perfkit.pools.cluster_pipeline import NodesPipeline, SlotTransaction
from perfkit.pools.cluster_pubsub import NodesPubSub
from perfkit.pools.cluster_redis_py import RoutingCluster
from perfkit.pools.commands import is_read, is_repeatable, miss_of, needs_own_connection
from perfkit.pools.counts import PoolCounts
from perfkit.pools.deadline import CommandDeadline
from perfkit.pools.gate import Gate
from perfkit.pools.health import PoolHealth, health_of
from perfkit.pools.lane import Lane, Recovered
from perfkit.pools.listener import Listener
from perfkit.pools.settings import PoolSettings
from perfkit.pools.slots import slot_of, slot_of_key
from perfkit.pools.wire import pack

__all__ = ["OptimizedRedisCluster"]


class OptimizedRedisCluster(BatchCommands, RoutingCluster):  # type: ignore[misc]  # redis-py's own bases disagree
    """One workload's client of a cluster; see `perfkit.pools.OptimizedRedis` for what it promises.

    Each node has shared connections, a breaker, a limit and connections to lend of its own. A batch goes to
    all nodes at once, one piece each. Keys that one command names must lie in one slot, as the cluster
    demands: give them a common part in braces, or use the batch commands, which sort them.
    """

    def __init__(
        self,
        gate: Gate,
        make_client: Callable[[str, int], OptimizedRedis],
        settings: PoolSettings,
        connection: Mapping[str, Any],
    ) -> None:
        """Make a client; nothing is opened yet.

        Args:
            gate: Counts the workload's calls and holds its retry budget; its breaker is not asked.
            make_client: Makes the client of the node at a host and port; its gate counts where `gate` does.
            settings: The workload's knobs.
            connection: redis-py's keywords, as an `Endpoint` of a cluster holds them.
        """
        RoutingCluster.__init__(self, gate, make_client, settings, connection)
        BatchCommands.__init__(self, settings)
        self.backend = "redis"
        self._lane = Lane(gate, settings, None)
        self._counts = gate.counts
        self._settings = settings
        self._deadline = CommandDeadline(gate.name, settings.command_timeout_seconds)
        self._batches = self._make_batches()
        self._strict: OptimizedRedisCluster | None = None

    @property
    def raising(self) -> OptimizedRedisCluster:
        """The same pool for callers who want to know: what would be answered with a miss is raised."""
        if self._settings.when_unavailable == "raise":
            return self
        if self._strict is None:
            strict = self._strict = copy.copy(self)  # shares the map, the nodes and what they hold
            strict._settings = self._settings.model_copy(update={"when_unavailable": "raise"})
            strict._lane = Lane(self._lane.gate, strict._settings, None)
            strict._batches = strict._make_batches()
        return self._strict

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
        counts, nodes, slot = self._counts, self._nodes, slot_of_key(args[1])
        node: ClusterNode | None = None
        counts.calls += 1
        try:
            node = nodes.node_of(slot, reads=kind.reads)
            lane = nodes.lanes.get(node.name) or nodes.lane_of(node)
            gate, mux = lane.gate, lane.mux
            if gate.breaker.state == "closed" and mux and (ready := mux.ready()) and gate.limiter.take():
                reply = await ready.call(packed, gate.breaker.generation)
            else:
                reply = await lane.send(packed)
        except BaseException as failure:
            recovered = await self._go_on(failure, slot, node, packed, args)
            if recovered.missed:
                return recovered.reply
            reply = recovered.reply
        else:
            counts.ok += 1
        if kind.callback is None:
            return reply
        answer = made_by(kind.callback, reply, options)
        return await answer if inspect.isawaitable(answer) else answer

    def pipeline(self, transaction: bool | None = None, shard_hint: None = None) -> Any:
        """Return a pipeline: one piece a node, or as a transaction on the node of one slot."""
        if transaction:
            return SlotTransaction(self, self._lane, self._nodes, self._deadline)
        return NodesPipeline(self, self._batches.run)

    def pubsub(self, **options: Any) -> NodesPubSub:  # type: ignore[override]  # the same, all by keyword
        """Return redis-py's subscriptions; see there for the options."""
        return NodesPubSub(self, self._nodes, **options)

    async def open_listener(self) -> Listener:
        """Open a connection on which a node speaks first; what is published on any node reaches it.

        Raises:
            RedisTimeout, RedisLost, redis.exceptions.RedisError: there was no connection to be had.
        """
        await self.initialize()
        primaries = self.get_primaries()
        return await self._nodes.client_of(self._rng.choice(primaries)).open_listener()

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
        nodes = [client.metrics for client in self._nodes]
        return {**self._lane.metrics, **over_nodes(nodes, self._nodes.gone), "backend": self.backend}

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

    async def _execute_slowly(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Run a command whose place must be found out: by the names of its keys, or by redis-py."""
        packed = pack(args)
        elsewhere = "target_nodes" in options or needs_own_connection(args)
        slot = None if elsewhere else slot_of(args)
        self._counts.calls += 1
        send: Callable[[], Coroutine[Any, Any, Any]]
        if slot is None:
            send = partial(super().execute_command, *args, **options)
        else:
            send = partial(self._send_to_slot, slot, packed, reads=is_read(args))
        try:
            reply = await send()
        except BaseException as failure:
            recovered = await self._recovered(failure, send, args)
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
        self, failure: BaseException, slot: int, node: ClusterNode | None, packed: bytes, args: Command
    ) -> Recovered:
        """Follow a node that points elsewhere, or ask the primary for its replica; else as any failure."""
        try:
            try:
                reply = await self._nodes.go_on(slot, node, packed, failure)
            except BaseException as later:
                failure = later
            else:
                self._counts.ok += 1
                return Recovered(reply, missed=False)
            again = partial(self._nodes.send, slot, packed, reads=is_read(args))
            return await self._recovered(failure, again, args)
        finally:
            del failure  # its traceback holds this frame

    async def _recovered(
        self, failure: BaseException, again: Callable[[], Coroutine[Any, Any, Any]], args: Command
    ) -> Recovered:
        try:
            return await self._lane.recover(
                failure, again, repeatable=partial(is_repeatable, args), miss=partial(miss_of, args)
            )
        finally:
            del failure  # as above

    async def _send_to_slot(self, slot: int, packed: bytes, *, reads: bool) -> Any:
        await self.initialize()
        return await self._nodes.send(slot, packed, reads=reads)

    async def _ping_past_circuit(self) -> None:
        await self.initialize()
        await all_of([self._nodes.lane_of(node).ping() for node in self.get_primaries()])

    async def _run_many(self, commands: Sequence[Command]) -> list[Any]:
        return await self._batches.run(commands)

    def _make_batches(self) -> ClusterBatches:
        degrades = self._settings.when_unavailable == "miss"
        return ClusterBatches(
            self._lane, self._nodes, self._answers, self.slot_found, self.execute_command, degrades=degrades
        )

    def _together(self, keys: Sequence[str | bytes]) -> list[Sequence[int]]:
        slots: dict[int, list[int]] = {}
        for at, key in enumerate(keys):
            slots.setdefault(slot_of_key(key), []).append(at)
        return list(slots.values())
