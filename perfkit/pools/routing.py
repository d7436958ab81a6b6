"""From a slot of a Redis Cluster to the lane of its node, and after the slot where it moves.

    slot ──▶ node ──▶ lane of that node ──▶ reply
     ▲                      │
     └── MOVED: learn ◀─────┤
         ASK:  once ◀───────┘   (`ASKING` and the command leave as one piece)

Every node has a gate of its own, so one that is down shuts nobody out of the others. Where redis-py follows
`ASK` by two commands after each other, here they cannot be torn apart: on a shared connection somebody else's
command would come between. A node that is lost makes the map of slots doubtful: it is read again beside the
traffic, so that callers of the other nodes do not wait for it.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from redis.asyncio.cluster import ClusterNode, NodesManager
from redis.cluster import LoadBalancingStrategy
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    RedisClusterException,
    RedisError,
    SlotNotCoveredError,
    TryAgainError,
)

from perfkit.clock import Clock
from perfkit.pools.failures import RedisLost, blames_server
from perfkit.pools.gate import Gate
from perfkit.pools.lane import Lane
from perfkit.pools.mux import MuxTransport
from perfkit.pools.settings import PoolSettings
from perfkit.pools.wire import pack
from perfkit.resilience import full_jitter_s

__all__ = ["REPLICAS_IN_TURN", "NodeLanes", "is_redirection"]

REPLICAS_IN_TURN = LoadBalancingStrategy.ROUND_ROBIN_REPLICAS

_MOST_HOPS = 16
_REREAD_S = 0.25
_ASKING = pack(("ASKING",))
_REDIRECTIONS = (MovedError, AskError, TryAgainError, ClusterDownError)


def is_redirection(reply: object) -> bool:
    """Tell whether a node's reply sends the caller elsewhere, or asks to come again."""
    return isinstance(reply, _REDIRECTIONS)


class NodeLanes:
    """One lane a node, opened when first needed, over redis-py's map of slots."""

    def __init__(
        self,
        nodes: NodesManager,
        settings: PoolSettings,
        connection: Mapping[str, Any],
        make_gate: Callable[[str], Gate],
        *,
        pool: str,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._rng = rng
        self._nodes = nodes
        self._settings = settings
        self._connection = connection
        self._make_gate = make_gate
        self._lanes: dict[str, Lane] = {}
        self._reading: asyncio.Task[None] | None = None
        self._read_again_s = -math.inf
        self._from_replicas = settings.read_from != "primary"

    def __iter__(self) -> Iterator[tuple[str, Lane]]:
        return iter(list(self._lanes.items()))  # a copy: whoever reads metrics does so in any thread

    def node_of(self, slot: int, *, reads: bool) -> ClusterNode:
        """Return the node to ask for a slot.

        Raises:
            RedisLost: no node serves the slot.
        """
        try:
            if reads and self._from_replicas:
                return self._nodes.get_node_from_slot(slot, False, REPLICAS_IN_TURN)
            return self._nodes.slots_cache[slot][0]
        except (SlotNotCoveredError, LookupError):
            self._doubt(None)
            raise RedisLost(
                f"No node of the cluster of pool {self._pool} serves slot {slot}: it lost a shard, or is "
                "being set up; CLUSTER INFO says more.",
                pool=self._pool,
                sent=False,
            ) from None

    def lane_of(self, node: ClusterNode) -> Lane:
        """Return the way to a node."""
        lane = self._lanes.get(node.name)
        if lane is None:
            gate = self._make_gate(f" at {node.name}")
            connection = {**self._connection, "host": node.host, "port": node.port}
            mux = MuxTransport(gate, self._settings, connection, replica=self._from_replicas)
            lane = self._lanes[node.name] = Lane(gate, self._settings, mux)
        return lane

    async def send(self, slot: int, packed: bytes, *, reads: bool) -> Any:
        """Send a command to the node of its slot, wherever that is by now, and return the reply.

        Raises:
            Unavailable, redis.exceptions.RedisError: as `Lane.send`.
        """
        return await self.send_to(self.node_of(slot, reads=reads), packed)

    async def send_to(self, node: ClusterNode, packed: bytes, commands: int | None = None) -> Any:
        """Send a command, or several of one slot as one, to a node, and follow where it points."""
        asking = False
        pointer: RedisError | None = None
        for hop in range(_MOST_HOPS):
            lane = self.lane_of(node)
            try:
                if not asking:
                    reply = await lane.send(packed, commands)
                else:
                    asked, *answers = await lane.send(_ASKING + packed, 1 + (commands or 1))
                    reply = answers if commands else answers[0]
                    if isinstance(asked, Exception):
                        raise asked
                pointer = _first_redirection(reply if commands else [reply])
                if pointer is None:
                    if isinstance(reply, Exception):
                        raise reply
                    return reply
            except _REDIRECTIONS as redirection:
                pointer = redirection
            except BaseException as failure:
                self.note(node, failure)
                raise
            node, asking = await self._follow(node, pointer, hop)
        assert pointer is not None  # noqa: S101  # for the type checker: there was at least one hop
        raise pointer

    def note(self, node: ClusterNode | None, failure: BaseException) -> None:
        """Take note of a failure to ask a node: when it is lost, the map of slots may be out of date."""
        if blames_server(failure):
            self._doubt(node)

    async def aclose(self) -> None:
        """Close the way to every node."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        for lane in self._lanes.values():
            if lane.mux is not None:
                await lane.mux.aclose()

    async def _follow(self, node: ClusterNode, pointer: RedisError, hop: int) -> tuple[ClusterNode, bool]:
        if isinstance(pointer, MovedError):
            pointer.host = pointer.host or node.host  # empty: the same host on another port
            await self._nodes.move_slot(pointer)
            return self._nodes.slots_cache[pointer.slot_id][0], False
        if isinstance(pointer, AskError):
            host = pointer.host or node.host
            there = self._nodes.get_node(host=host, port=pointer.port)
            return there or ClusterNode(host, pointer.port, **self._nodes.connection_kwargs), True
        if isinstance(pointer, ClusterDownError):
            self._doubt(None)
        await asyncio.sleep(full_jitter_s(hop, self._rng, base_s=0.005, cap_s=0.25))
        return node, False

    def _doubt(self, lost: ClusterNode | None) -> None:
        """Have the map of slots read again, unless that was just done; last of all from the node lost."""
        if (self._reading is None or self._reading.done()) and self._clock() >= self._read_again_s:
            self._reading = asyncio.get_running_loop().create_task(self._read_map(lost))

    async def _read_map(self, lost: ClusterNode | None) -> None:
        """Read the map; what cannot be read leaves the old one, which may still be right for other nodes."""
        patience_s = self._settings.connect_timeout_seconds + self._settings.command_timeout_seconds
        with suppress(RedisError, RedisClusterException, OSError, TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._nodes.initialize(last_failed_node_name=lost.name if lost else None)
        self._read_again_s = self._clock() + _REREAD_S


def _first_redirection(replies: Iterable[Any]) -> RedisError | None:
    return next((reply for reply in replies if isinstance(reply, _REDIRECTIONS)), None)
