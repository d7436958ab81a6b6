"""redis-py's subscriptions in a cluster, on connections lent by the nodes' own pools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterNode, ClusterPubSub

from perfkit.pools.routing import NodeClients

if TYPE_CHECKING:
    from perfkit.pools.cluster import OptimizedRedisCluster

__all__ = ["NodesPubSub"]


class NodesPubSub(ClusterPubSub):
    """Listens on the node of the first channel's slot, and for sharded channels on that of each.

    redis-py takes its connections without waiting and beyond any bound but its own; here they count among the
    `max_connections` of the node, and who finds none free stands in line.
    """

    def __init__(self, client: OptimizedRedisCluster, nodes: NodeClients, **options: Any) -> None:
        super().__init__(client, **options)
        self._nodes = nodes
        self._client = client
        self._listens = False
        if (node := cast("ClusterNode | None", self.node)) is not None:
            self._listen_at(node)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command of a subscription; the first one chooses the node.

        Raises:
            PoolExhausted, RedisTimeout, RedisLost: as for any connection that is lent.
        """
        await self._client.initialize()
        sharded = str(args[0]).upper() in ("SSUBSCRIBE", "SUNSUBSCRIBE", "SPUBLISH")
        if not self._listens and not sharded:
            channel = args[1] if len(args) > 1 else ""
            self._listen_at(self._nodes.node_of(self._client.keyslot(channel), reads=False))
        return await super().execute_command(*args, **options)

    async def ssubscribe(self, *args: Any, **handlers: Any) -> None:
        """Subscribe to sharded channels, each on the node of its slot."""
        await self._client.initialize()
        await super().ssubscribe(*args, **handlers)

    def _listen_at(self, node: ClusterNode) -> None:
        self._listens = True
        self.node = node  # type: ignore[assignment]  # redis-py types it by its first value, None
        self.connection_pool = self._nodes.client_of(node).connection_pool

    def _get_node_pubsub(self, node: ClusterNode) -> PubSub:
        known = node.name in self.node_pubsub_mapping
        pubsub = super()._get_node_pubsub(node)
        if not known:
            pubsub.connection_pool = self._nodes.client_of(node).connection_pool
        return pubsub
