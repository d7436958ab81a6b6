"""The clients that are measured beside each other, each as its documentation has it, on one server.

Peers live in an environment of their own (`bash scripts/peers.sh`); where one is not installed it is left
out, and the tables say so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis

from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolsSettings, PoolType, RedisPools

Get = Callable[[str], Awaitable[Any]]

CALLERS = 64
NOT_INSTALLED = "not installed, see scripts/peers.sh"


@dataclass(slots=True)
class Clients:
    """What to measure, by name; perfkit first."""

    ours: OptimizedRedis
    redis_py: Redis
    get: dict[str, Get] = field(default_factory=dict)
    mget: dict[str, Callable[[list[str]], Awaitable[Any]]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


OURS = "perfkit"
REDIS_PY = f"redis-py {version('redis')} + hiredis {version('hiredis')}, BlockingConnectionPool({CALLERS})"


def named(package: str) -> str:
    """Return a peer's name with its version, or the name alone where it is not installed."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package


GLIDE, COREDIS = named("valkey-glide"), named("coredis")


@asynccontextmanager
async def clients(url: str) -> AsyncIterator[Clients]:
    """Yield every client that is installed, connected to one address."""
    host, port = address(url)
    async with AsyncExitStack() as stack:
        pools = RedisPools(PoolsSettings(), Endpoint.from_url(url), probe=null_probe)
        stack.push_async_callback(pools.aclose)
        redis_py = redis_py_client(url, CALLERS)
        stack.push_async_callback(redis_py.aclose)
        ours = pools.client(PoolType.DEFAULT)
        found = Clients(ours, redis_py, {OURS: ours.get, REDIS_PY: redis_py.get})
        try:
            glide = await stack.enter_async_context(_glide(host, port))
            found.get[GLIDE], found.mget[GLIDE] = glide.get, glide.mget
        except ImportError:
            found.absent[GLIDE] = NOT_INSTALLED
        try:
            core = await stack.enter_async_context(_coredis(host, port))
            found.get[COREDIS], found.mget[COREDIS] = core.get, core.mget
        except ImportError:
            found.absent[COREDIS] = NOT_INSTALLED
        yield found


def redis_py_client(url: str, connections: int) -> Redis:
    """Return redis-py as its documentation has it for a bounded number of connections."""
    pool = BlockingConnectionPool.from_url(url, max_connections=connections)
    return Redis.from_pool(pool)


def address(url: str) -> tuple[str, int]:
    """Return host and port of an address."""
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 6379


@asynccontextmanager
async def _glide(host: str, port: int) -> AsyncIterator[Any]:
    from glide import GlideClient, GlideClientConfiguration, NodeAddress

    client = await GlideClient.create(GlideClientConfiguration([NodeAddress(host, port)]))
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def _coredis(host: str, port: int) -> AsyncIterator[Any]:
    from coredis import Redis as CoredisRedis

    async with CoredisRedis(host=host, port=port) as client:
        yield client
