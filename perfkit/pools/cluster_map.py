"""The map of a cluster: which node serves which slot, read when first needed and again when in doubt.

    first command ──▶ read from the address given ──▶ known
                                                        │ a node is lost, or points elsewhere
                                                        ▼
                              keep the old one ◀── read again beside the traffic ──▶ known

Nobody waits for the second reading: the old map stays right for most nodes, and where it is wrong a node says
`MOVED`. A node that was just lost is asked last, and the address given is never forgotten, so that the map is
found again even when every node has moved. redis-py makes the map of the answer to `CLUSTER SLOTS`; the
question travels on the shared connections, because redis-py's own would wait for a stalled node.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from redis.asyncio.cluster import ClusterNode, NodesManager
from redis.exceptions import RedisError, ResponseError

from perfkit.clock import Clock
from perfkit.errors import SettingsError, Unavailable
from perfkit.pools.failures import PoolClosed, RedisLost, anew
from perfkit.pools.lane import Lane
from perfkit.pools.wire import pack

__all__ = ["ClusterMap"]

_SLOTS = pack(("CLUSTER", "SLOTS"))
_SOONEST_S: Final = 0.25
_LATEST_S: Final = 2.0
"""How long after a reading the next may begin: longer each time nothing was new, as during a failover."""
_OLD_S: Final = 30.0
"""A map so old is read again where replicas serve: no node tells of a new one, as it does of a moved slot."""
_UNKNOWN_HOSTS = frozenset({None, b"", b"?"})


class ClusterMap:
    """Reads the map into redis-py's `NodesManager`, one reading at a time."""

    def __init__(
        self,
        manager: NodesManager,
        lane_of: Callable[[ClusterNode], Lane],
        *,
        pool: str,
        clock: Clock,
        rng: random.Random,
        on_read: Callable[[], Awaitable[None]],
    ) -> None:
        self.known = False
        self._pool = pool
        self._manager = manager
        self._lane_of = lane_of
        self._clock = clock
        self._rng = rng
        self._on_read = on_read
        self._given = list(manager.startup_nodes.values())
        self._seen: list[Any] = []
        self._reading: asyncio.Task[Exception | None] | None = None
        self._pause_s = _SOONEST_S
        self._not_before_s = -math.inf
        self._old_at_s = math.inf
        self._closed = False

    async def read(self) -> None:
        """Return once the map is known; callers who come meanwhile wait for the same reading.

        Raises:
            SettingsError: the server is no cluster.
            RedisLost, RedisTimeout, CircuitOpen: it does not answer.
            redis.exceptions.RedisError: it refuses us, as for a wrong password.
        """
        while not self.known:
            if self._closed:
                raise PoolClosed(self._pool)
            if self._reading is None or self._reading.done():
                self._begin(None)
            assert self._reading is not None  # noqa: S101  # for the type checker: it was begun
            failure = await asyncio.shield(self._reading)
            if failure is not None:
                raise anew(failure)

    def doubt(self, lost: str | None = None) -> None:
        """Have the map read again, unless that is under way or was just done; last of all from the lost."""
        idle = self._reading is None or self._reading.done()
        if idle and self.known and not self._closed and self._clock() >= self._not_before_s:
            self._begin(lost)

    def freshen(self) -> None:
        """Have the map read again if it is old."""
        if self._clock() >= self._old_at_s:
            self.doubt()

    async def aclose(self) -> None:
        """Read no more; to be called when the ways to the nodes are closed, with which a reading ends."""
        self._closed = True
        if self._reading is not None:
            await self._reading

    def _begin(self, lost: str | None) -> None:
        self._reading = asyncio.get_running_loop().create_task(self._read(lost))

    async def _read(self, lost: str | None) -> Exception | None:
        """Ask one node after the other and return what kept the last from answering, if all were kept."""
        trouble: Exception | None = None
        for node in self._in_order(lost):
            try:
                changed = await self._learn(node)
            except (RedisError, Unavailable, SettingsError) as failure:
                trouble = self._explained(failure)
                continue
            self._pause_s = _SOONEST_S if changed else min(2 * self._pause_s, _LATEST_S)
            trouble = None
            break
        now_s, jitter = self._clock(), self._rng.uniform(0.8, 1.2)
        self._not_before_s, self._old_at_s = now_s + self._pause_s * jitter, now_s + _OLD_S * jitter
        return trouble

    def _in_order(self, lost: str | None) -> list[ClusterNode]:
        """Those that answer first, by chance so that a fleet does not ask one; the address given last."""
        nodes = list(self._manager.nodes_cache.values())
        self._rng.shuffle(nodes)
        nodes.sort(key=lambda node: (node.name == lost, self._lane_of(node).gate.breaker.state != "closed"))
        return nodes + [node for node in self._given if node.name not in self._manager.nodes_cache]

    async def _learn(self, node: ClusterNode) -> bool:
        reply = await self._lane_of(node).send(_SLOTS)
        seen = _as_seen_from(node.host, reply)
        if not seen:
            raise RedisLost(
                f"The node {node.name} of pool {self._pool} serves no slots: the cluster is being set up, or "
                "was left by this node.",
                pool=self._pool,
                sent=False,
            )
        changed = seen != self._seen
        if changed:
            self._manager.startup_nodes = {node.name: _Told(node, _as_seen_from(node.host, reply))}  # type: ignore[dict-item]  # all that redis-py needs of a node here
            await self._manager.initialize()
            self._seen = seen
        self.known = True
        await self._on_read()
        return changed

    def _explained(self, failure: Exception) -> Exception:
        if isinstance(failure, ResponseError) and "cluster support disabled" in str(failure):
            return SettingsError(
                f"The server of pool {self._pool} is no cluster ({failure}). Remove cluster=true from its "
                "address, or name a node of a cluster.",
                path="PERFKIT_REDIS_URL",
            )
        return failure


class _Told:
    """Stands where redis-py would ask a node: it has been asked already."""

    def __init__(self, node: ClusterNode, answer: list[Any]) -> None:
        self.name = node.name
        self.host = node.host
        self._answer = answer

    async def execute_command(self, *_args: Any) -> list[Any]:
        return self._answer


def _as_seen_from(host: str, reply: Sequence[Any]) -> list[Any]:
    """Return what CLUSTER SLOTS said, with the host that was asked where a node does not know its own."""
    return [
        [first, last, *([host if at in _UNKNOWN_HOSTS else at, *rest] for at, *rest in nodes)]
        for first, last, *nodes in reply
    ]
