"""One pool per workload, so that a slow or busy workload cannot take another's connections."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Mapping
from enum import StrEnum
from functools import partial
from typing import cast

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from perfkit.clock import Clock, now_s
from perfkit.errors import SettingsError, did_you_mean
from perfkit.events import Probe, log_probe
from perfkit.knobs import iter_knobs, parsed, replaced
from perfkit.pools.client import OptimizedRedis
from perfkit.pools.cluster import OptimizedRedisCluster
from perfkit.pools.endpoint import Endpoint
from perfkit.pools.fair import FairPool
from perfkit.pools.gate import Gate
from perfkit.pools.health import Readiness
from perfkit.pools.lane import Lane
from perfkit.pools.mux import MuxTransport
from perfkit.pools.settings import PoolSettings, PoolsSettings

__all__ = ["PoolType", "RedisPools", "get_optimized_redis_client", "get_redis_pools"]


class PoolType(StrEnum):
    """What a connection is used for; each has a section of knobs, `pools.<value>`."""

    DEFAULT = "default"
    READ_HEAVY = "read_heavy"
    WRITE_HEAVY = "write_heavy"
    ANALYTICS = "analytics"
    CACHE = "cache"


class RedisPools:
    """One pool per workload, each opening connections as they are needed; they belong to one event loop.

    >>> import asyncio
    >>> async def main() -> list[bytes | None]:
    ...     pools = RedisPools(endpoint=Endpoint.embedded())
    ...     client = pools.client(PoolType.CACHE)
    ...     await client.batch_set({"a": 1, "b": 2}, ttl_seconds=300)
    ...     values = await client.batch_get(["a", "b", "c"])
    ...     await pools.aclose()
    ...     return values
    >>> asyncio.run(main())
    [b'1', b'2', None]
    """

    def __init__(
        self,
        settings: PoolsSettings | None = None,
        endpoint: Endpoint | None = None,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        probe: Probe = log_probe,
    ) -> None:
        """Make the pools; nothing is opened yet.

        Args:
            settings: Default: the knobs' defaults.
            endpoint: Where Redis is; default: as the environment says.
            clock: Breakers, limits and deadlines go by it; default: the running loop's.
            rng: Draws the jitter of retries and of the breaker's waits.
            probe: Hears when a circuit opens or closes, and when the embedded stand-in is used.
        """
        self._settings = settings or PoolsSettings()
        self._endpoint = endpoint or Endpoint.from_env(probe=probe)
        self._clock = clock
        self._rng = rng
        self._probe = probe
        self._clients: dict[PoolType, OptimizedRedis] = {}

    def client(self, pool_type: PoolType = PoolType.DEFAULT) -> OptimizedRedis:
        """Return the workload's client, the same one every time; to be called within the running loop."""
        kind = pool_type if self._settings.partitioned else PoolType.DEFAULT
        if kind not in self._clients:
            self._clients[kind] = self._open(kind)
        return self._clients[kind]

    @property
    def clients(self) -> Mapping[PoolType, OptimizedRedis]:
        """The workloads' clients that have been asked for so far."""
        return dict(self._clients)

    @property
    def endpoint(self) -> Endpoint:
        """Where Redis is."""
        return self._endpoint

    async def ready(self, *pool_types: PoolType, within_seconds: float = 1.0) -> Readiness:
        """Ask whether pools can serve now: a readiness check. Nothing is raised but a cancellation.

        Name the pools the service cannot do without; `cache`, which degrades to misses, rarely is one.

        Args:
            pool_types: Whom to ask, all at once; default: those in use, and `default` when none is.
            within_seconds: How long it may take in all.
        """
        asked = {self.client(kind) for kind in pool_types} or self.clients.values() or [self.client()]
        found = await asyncio.gather(*(client.health(within_seconds) for client in asked))
        return Readiness(tuple(found))

    async def aclose(self) -> None:
        """Close every connection; clients handed out so far are closed for good."""
        clients, self._clients = self._clients, {}
        closing = (client.close_pool() for client in clients.values())
        outcomes = await asyncio.gather(
            *closing, return_exceptions=True
        )  # one that fails keeps no other open
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def _open(self, kind: PoolType) -> OptimizedRedis:
        settings: PoolSettings = getattr(self._settings, kind.value)
        make_gate = partial(
            Gate, kind.value, settings, clock=self._clock or _loops_clock(), rng=self._rng, probe=self._probe
        )
        gate = make_gate()
        if not self._endpoint.cluster:
            return _client(self._endpoint, settings, gate)
        if settings.transport != "mux":
            raise SettingsError(
                f"pools.{kind.value}.transport is {settings.transport!r}, and a cluster is reached over mux "
                "only: callers would wait for each other at every node. Leave the knob at 'mux'.",
                path=f"pools.{kind.value}.transport",
                value=settings.transport,
                allowed="mux",
            )

        def client_at(host: str, port: int) -> OptimizedRedis:
            endpoint = self._endpoint.at(host, port)
            return _client(endpoint, settings, make_gate(where=f" at {host}:{port}", counts=gate.counts))

        over_nodes = OptimizedRedisCluster(gate, client_at, settings, self._endpoint.connection)
        return cast("OptimizedRedis", over_nodes)  # the same commands, spread over nodes


async def get_optimized_redis_client(pool_type: PoolType = PoolType.DEFAULT) -> OptimizedRedis:
    """Return the workload's client as the environment configures it, shared by all of the running loop.

    Nobody needs to close it: its connections are closed when the loop shuts down.

    Raises:
        SettingsError: a `PERFKIT_POOLS__…` variable or `PERFKIT_REDIS_URL` is refused.
        RealServerRequired: no Redis is configured and the embedded one is forbidden.
    """
    return (await get_redis_pools()).client(pool_type)


async def get_redis_pools() -> RedisPools:
    """Return the pools behind `get_optimized_redis_client`, for a readiness check or an exporter.

    Raises:
        SettingsError, RealServerRequired: as there.
    """
    loop = asyncio.get_running_loop()
    if loop not in _of_loop:
        _forget_closed_loops()
        lifetime = _lifetime(loop)
        _of_loop[loop] = (await anext(lifetime), lifetime)
    return _of_loop[loop][0]


_Lifetime = AsyncGenerator[RedisPools, None]
_of_loop: dict[asyncio.AbstractEventLoop, tuple[RedisPools, _Lifetime]] = {}
"""Not weakly keyed: a pool's connections refer to their loop, so no loop in here would ever be collected."""


async def _lifetime(loop: asyncio.AbstractEventLoop) -> _Lifetime:
    """Hold a loop's pools until `loop.shutdown_asyncgens`, with which `asyncio.run` ends, closes this."""
    pools = RedisPools(_settings_from(os.environ))
    try:
        yield pools
    finally:
        del _of_loop[loop]
        await pools.aclose()


def _forget_closed_loops() -> None:
    """Drop the pools of loops that were closed without being shut down."""
    for loop in [loop for loop in _of_loop if loop.is_closed()]:
        del _of_loop[loop]


def _settings_from(env: Mapping[str, str]) -> PoolsSettings:
    knobs = {info.env_name: info for info in iter_knobs(PoolsSettings(), "pools.")}
    values = {}
    for name in (name for name in env if name.startswith("PERFKIT_POOLS__")):
        if name not in knobs:
            raise SettingsError(
                f"The environment variable {name} names no knob.{did_you_mean(name, knobs)}", path=name
            )
        info = knobs[name]
        values[info.path.removeprefix("pools.")] = parsed(info, env[name], place=name)
    return replaced(PoolsSettings(), values)


def _client(endpoint: Endpoint, settings: PoolSettings, gate: Gate) -> OptimizedRedis:
    """Return a client of one server; in a cluster, of one node."""
    embedded = endpoint.backend == "fakeredis"
    mux = None
    if settings.transport == "mux" and not embedded:
        replica = endpoint.cluster and settings.read_from != "primary"
        mux = MuxTransport(gate, settings, endpoint.connection, replica=replica)
    pool = FairPool(gate.name, _lent(settings, embedded=embedded), **_connection(endpoint, settings))
    return OptimizedRedis(Lane(gate, settings, mux), pool, settings, backend=endpoint.backend)


def _loops_clock() -> Clock:
    """The running loop's clock itself: finding the loop at every call would cost more than the breaker."""
    try:
        return asyncio.get_running_loop().time
    except RuntimeError:
        return now_s


def _lent(settings: PoolSettings, *, embedded: bool) -> PoolSettings:
    """The stand-in has no socket to share; a connection for each call under way comes to the same."""
    if embedded and settings.transport == "mux":
        return settings.model_copy(update={"max_connections": settings.inflight_max})
    return settings


def _connection(endpoint: Endpoint, settings: PoolSettings) -> dict[str, object]:
    """redis-py's keywords, with its surprises switched off.

    No retries: they repeat writes. No maintenance notifications: with them on, a connection with an unread
    reply is lent to the next caller. No `socket_timeout`: below Python 3.12 it swallows cancellations, and
    everywhere it would cut `BLPOP` short; the client has deadlines of its own. No driver info: it costs a
    round trip on every connect. (Measured with redis-py 8.1; docs/pools.md.)
    """
    if endpoint.backend == "fakeredis":
        return dict(endpoint.connection)
    return {
        **endpoint.connection,
        "retry": Retry(NoBackoff(), 0),
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "driver_info": None,
        "socket_connect_timeout": settings.connect_timeout_seconds,
        "socket_timeout": None,
    }
