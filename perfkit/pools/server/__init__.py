"""Real Redis-compatible servers of our own, one or a cluster, for as long as a run or a test needs them."""

from perfkit.pools.server.best import open_endpoint
from perfkit.pools.server.binary import ServerBinary, find_server
from perfkit.pools.server.cluster import ClusterServer
from perfkit.pools.server.port import free_port
from perfkit.pools.server.redis_server import EvictionPolicy, RedisServer

__all__ = [
    "ClusterServer",
    "EvictionPolicy",
    "RedisServer",
    "ServerBinary",
    "find_server",
    "free_port",
    "open_endpoint",
]
