"""From a slot of a Redis Cluster to the node that serves it, and after the slot where it moves.

    slot ──▶ node ──▶ lane of that node ──▶ reply
     ▲                      │
     └── MOVED: learn ◀─────┤
         ASK: once ◀────────┤   (`ASKING` and the command leave as one piece)
         TRYAGAIN: wait ◀───┘

Every node has a client of its own, with its own gate, so one that is down shuts nobody out of the others.
Where redis-py follows `ASK` by two commands after each other, here they cannot be torn apart: on a shared
connection somebody else's command would come between.

A replica serves reads where the knob says so. One that cannot answer is no reason to fail while there is a
primary: with `replica_preferred` the primary is asked in its place, at once.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from redis.asyncio.cluster import ClusterNode, NodesManager
from redis.exceptions import AskError, MovedError, RedisError, TryAgainError

from perfkit.clock import Clock
from perfkit.errors import CircuitOpen, Unavailable
from perfkit.pools.client import OptimizedRedis
from perfkit.pools.cluster_map import ClusterMap
from perfkit.pools.failures import PoolClosed, RedisLost, RedisTimeout, blames_server
from perfkit.pools.lane import Lane
from perfkit.pools.settings import PoolSettings
from perfkit.pools.wire import pack
from perfkit.resilience import full_jitter_s

__all__ = ["REDIRECTIONS", "NodeClients"]

REDIRECTIONS: Final = (MovedError, AskError, TryAgainError)
"""What sends the caller elsewhere, or asks to come again; nothing was carried out."""

_ASKING = pack(("ASKING",))
_FREE_HOPS: Final = 3
"""So often a redirection is followed at once; later ones wait, as nodes that disagree need time."""
_SUMMED: Final = ("circuit_opened", "waits", "refusals", "loop_stalls")
"""Totals of a node that stay in the pool's when the node has left."""


class NodeClients:
    """One client a node, made when first needed, over redis-py's map of slots."""

    def __init__(
        self,
        manager: NodesManager,
        make_client: Callable[[str, int], OptimizedRedis],
        settings: PoolSettings,
        *,
        pool: str,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.lanes: dict[str, Lane] = {}
        """The ways to the nodes asked so far, by the nodes' names."""
        self.gone: Counter[str] = Counter()
        """What nodes that have left had counted."""
        self.from_replicas = settings.read_from != "primary"
        self.map = ClusterMap(manager, self.lane_of, pool=pool, clock=clock, rng=rng, on_read=self._part)
        self._pool = pool
        self._manager = manager
        self._make_client = make_client
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._clients: dict[str, OptimizedRedis] = {}
        self._turn = 0
        self._closed = False

    def __iter__(self) -> Iterator[OptimizedRedis]:
        return iter(list(self._clients.values()))  # a copy: metrics may be read in another thread

    def node_of(self, slot: int, *, reads: bool) -> ClusterNode:
        """Return the node to ask for a slot.

        Raises:
            RedisLost: no node serves the slot.
        """
        nodes = self._manager.slots_cache.get(slot)
        if not nodes:
            self.map.doubt()
            raise RedisLost(
                f"No node of the cluster of pool {self._pool} serves slot {slot}: it lost a shard, or is "
                "being set up; CLUSTER INFO says more.",
                pool=self._pool,
                sent=False,
            )
        if reads and self.from_replicas:
            self.map.freshen()
            if len(nodes) > 1:
                return self._replica(nodes)
        return nodes[0]

    def client_of(self, node: ClusterNode) -> OptimizedRedis:
        """Return the client of a node."""
        client = self._clients.get(node.name)
        if client is None:
            if self._closed:
                raise PoolClosed(self._pool)
            client = self._clients[node.name] = self._make_client(node.host, int(node.port))
            self.lanes[node.name] = client.lane
        return client

    def lane_of(self, node: ClusterNode) -> Lane:
        """Return the shared connections of a node."""
        return self.lanes.get(node.name) or self.client_of(node).lane

    def refuses(self, node: ClusterNode) -> bool:
        """Tell whether a node's breaker is open and would not let a call try."""
        lane = self.lanes.get(node.name)
        return lane is not None and lane.gate.breaker.retry_after_seconds > 0

    async def send(self, slot: int, packed: bytes, *, reads: bool) -> Any:
        """Send a command to the node of its slot, wherever that is by now, and return the reply.

        Raises:
            Unavailable, redis.exceptions.RedisError: as `Lane.send`.
        """
        node = self.node_of(slot, reads=reads)
        try:
            return await self.lane_of(node).send(packed)
        except BaseException as failure:
            return await self.go_on(slot, node, packed, failure)

    async def send_to(self, node: ClusterNode, packed: bytes) -> Any:
        """Send a command to a node, and follow where it points."""
        try:
            return await self.lane_of(node).send(packed)
        except REDIRECTIONS as pointer:
            return await self._followed(node, packed, pointer)
        except BaseException as failure:
            self.note(node, failure)
            raise

    async def go_on(self, slot: int, node: ClusterNode | None, packed: bytes, failure: BaseException) -> Any:
        """Follow where a node points, or ask the primary where a replica failed; else raise the failure."""
        try:
            if node is None:
                raise failure
            if isinstance(failure, REDIRECTIONS):
                return await self._followed(node, packed, failure)
            self.note(node, failure)
            if self.has_substitute(node, failure):
                return await self.send_to(self.node_of(slot, reads=False), packed)
            raise failure
        finally:
            del failure  # its traceback holds this frame

    def has_substitute(self, node: ClusterNode, failure: BaseException) -> bool:
        """Tell whether the primary may be asked in place of a replica that failed so."""
        if self._settings.read_from != "replica_preferred" or node.server_type != "replica":
            return False
        return blames_server(failure) or (
            isinstance(failure, Unavailable) and not isinstance(failure, PoolClosed)
        )

    def note(self, node: ClusterNode, failure: BaseException) -> None:
        """Take note that a node could not be asked: another may have taken its place."""
        if isinstance(failure, CircuitOpen) or blames_server(failure):
            self.map.doubt(node.name)

    async def follow(
        self, node: ClusterNode, pointer: BaseException, hop: int, since_s: float
    ) -> tuple[ClusterNode, bool]:
        """Return the node that a redirection points to, and whether for this once; wait where it says so.

        Args:
            node: Who answered with it.
            pointer: The redirection.
            hop: How many were followed before.
            since_s: When the first was followed.

        Raises:
            RedisTimeout: this has taken as long as a command may take.
        """
        if isinstance(pointer, TryAgainError) or hop >= _FREE_HOPS:
            await self._pause(node, pointer, hop, since_s)
        if isinstance(pointer, MovedError):  # an AskError too: to be looked at first
            self.map.doubt()  # rarely is a slot moved alone
            pointer.host = pointer.host or node.host  # empty: the same host on another port
            self._manager.slots_cache.setdefault(pointer.slot_id, [])
            await self._manager.move_slot(pointer)
            return self._manager.slots_cache[pointer.slot_id][0], False
        if isinstance(pointer, AskError):
            host = pointer.host or node.host
            there = self._manager.get_node(host=host, port=pointer.port)
            return there or ClusterNode(host, pointer.port, **self._manager.connection_kwargs), True
        return node, False

    async def aclose(self) -> None:
        """Close the way to every node."""
        self._closed = True
        for client in self:
            await client.close_pool()
        await self.map.aclose()

    async def _followed(self, node: ClusterNode, packed: bytes, pointer: RedisError) -> Any:
        since_s, hop = self._clock(), 0
        try:
            while True:
                node, asking = await self.follow(node, pointer, hop, since_s)
                hop += 1
                try:
                    if not asking:
                        return await self.lane_of(node).send(packed)
                    asked, reply = await self.lane_of(node).send(_ASKING + packed, 2)
                    for answer in (asked, reply):
                        if isinstance(answer, Exception):
                            raise answer
                    return reply
                except REDIRECTIONS as next_pointer:
                    pointer = next_pointer
                except BaseException as failure:
                    self.note(node, failure)
                    raise
        finally:
            del pointer  # its traceback holds this frame

    async def _pause(self, node: ClusterNode, pointer: BaseException, hop: int, since_s: float) -> None:
        patience_s = self._settings.command_timeout_seconds
        if self._clock() - since_s >= patience_s:
            raise RedisTimeout(
                f"The cluster of pool {self._pool} sent a command to and fro for {patience_s:g} s, last at "
                f"{node.name}: {pointer}. It was not carried out. Its slot is being moved; a command of "
                "several keys is answered once all of them are on one side.",
                pool=self._pool,
                sent=False,
            ) from None
        await asyncio.sleep(full_jitter_s(hop, self._rng, base_s=0.005, cap_s=0.25))

    def _replica(self, nodes: list[ClusterNode]) -> ClusterNode:
        """Return the next replica whose breaker lets calls through, or the primary, where that is allowed."""
        self._turn += 1
        replicas = len(nodes) - 1
        for step in range(replicas):
            node = nodes[1 + (self._turn + step) % replicas]
            if not self.refuses(node):
                return node
        return nodes[0] if self._settings.read_from == "replica_preferred" else node

    async def _part(self) -> None:
        """Close what is open to nodes that have left, once nobody uses it."""
        left = self._clients.keys() - self._manager.nodes_cache.keys()
        for name in left:
            metrics = self._clients[name].metrics
            if not (metrics["in_flight"] or metrics["waiting"] or metrics["own_connections"]):
                client = self._clients.pop(name)
                del self.lanes[name]
                self.gone.update({total: int(metrics[total]) for total in _SUMMED})
                await client.close_pool()
