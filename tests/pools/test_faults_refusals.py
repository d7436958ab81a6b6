"""A real server that is there but cannot or will not serve, and what is said of it: all but its password."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from perfkit.errors import CircuitOpen, Unavailable
from perfkit.pools import Endpoint, OptimizedRedis
from perfkit.pools.failures import RedisLost, RedisTimeout
from perfkit.pools.server import RedisServer
from tests.pools.waiting import until
from tests.pools.watched import Watched, answers, filled

TRANSPORTS = pytest.mark.parametrize("transport", ["mux", "classic"])
SECRET = "correct-horse-battery"  # noqa: S105  # of a server that lives for a second


@TRANSPORTS
async def test_a_server_that_admits_no_more_clients_is_named_and_its_breaker_opens(
    own_server: RedisServer, watch: Callable[..., Watched], transport: str
) -> None:
    """maxclients: the error says so, in words of the server; room made, service goes on."""
    async with Redis.from_url(own_server.tcp_url, single_connection_client=True) as admin:
        await admin.config_set("maxclients", 1)
        watched = watch(Endpoint.from_url(own_server.url), transport=transport, breaker_open_seconds=0.05)
        with pytest.raises(
            RedisLost, match="max number of clients" if transport == "mux" else "could not connect"
        ):
            await watched.client.get("a")
        for _ in range(12):
            with pytest.raises(Unavailable):
                await watched.client.get("a")
        assert watched.client.metrics["circuit_state"] == "open"

        await admin.config_set("maxclients", 100)
        await until(lambda: answers(watched.client))
        await until(lambda: answers(watched.client))
    watched.balanced()


@TRANSPORTS
async def test_a_full_memory_is_an_answer(watch: Callable[..., Watched], transport: str) -> None:
    """OOM refuses writes and serves reads: raised as redis-py's error, and no reason to shut out reads."""
    with RedisServer.start(maxmemory_bytes=2 * 1024**2, maxmemory_policy="noeviction") as small:
        watched = watch(Endpoint.from_url(small.url), transport=transport)
        await watched.client.set("a", "v")
        fill = [("SET", f"big{n}", b"x" * 100_000) for n in range(100)]
        with pytest.raises(OutOfMemoryError):
            await watched.client.execute_many(fill)
        for _ in range(30):
            with pytest.raises(OutOfMemoryError):
                await watched.client.set("more", b"x" * 100_000)
            assert await watched.client.get("a") == b"v"
        with pytest.raises(OutOfMemoryError):
            await watched.client.batch_set({"more": b"x" * 100_000}, ttl_seconds=5)

        assert watched.balanced()["circuit_opened"] == 0


@TRANSPORTS
async def test_a_replica_refuses_writes_and_the_breaker_hears_of_it(
    own_server: RedisServer, watch: Callable[..., Watched], transport: str
) -> None:
    """READONLY after a failover means that this is not the primary any more; promoted, it serves again."""
    watched = await filled(
        watch(Endpoint.from_url(own_server.url), transport=transport, breaker_open_seconds=0.05)
    )
    async with Redis.from_url(own_server.tcp_url) as admin:
        await admin.replicaof("127.0.0.1", "1")
        for _ in range(10):
            with pytest.raises(ReadOnlyError):
                await watched.client.set("a", 1)
        with pytest.raises(CircuitOpen):
            await watched.client.set("a", 1)
        await admin.replicaof("NO", "ONE")
        await until(lambda: answers(watched.client))

        assert await watched.client.set("a", 1)
    watched.balanced()


@TRANSPORTS
async def test_a_script_that_does_not_end_opens_the_breaker_not_for_ever(
    own_server: RedisServer, watch: Callable[..., Watched], transport: str
) -> None:
    """BUSY: the server answers, but serves nothing; once the script is killed it is taken up again."""
    watched = await filled(
        watch(Endpoint.from_url(own_server.url), transport=transport, breaker_open_seconds=0.05)
    )
    async with Redis.from_url(own_server.tcp_url) as admin, Redis.from_url(own_server.tcp_url) as stuck:
        await admin.config_set("busy-reply-threshold", 10)
        script = asyncio.create_task(stuck.eval("while true do end", 0))
        await until(lambda: _busy(watched.client))
        for _ in range(12):
            with pytest.raises((ResponseError, Unavailable)):
                await watched.client.get("k1")
        assert watched.client.metrics["circuit_state"] == "open"
        await admin.script_kill()
        with pytest.raises(ResponseError):
            await script
        await until(lambda: answers(watched.client))

        assert await watched.client.get("k1") == b"value of k1"
    watched.balanced()


async def _busy(client: OptimizedRedis) -> bool:
    try:
        await client.get("k1")
    except RedisTimeout:
        return False
    except ResponseError as error:
        return str(error).startswith("BUSY")
    return False


@TRANSPORTS
async def test_a_server_that_reads_its_data_is_waited_for(
    tmp_path: Any, watch: Callable[..., Watched], transport: str
) -> None:
    """LOADING after a restart with data on disk: told as what it is, and over by itself."""
    slow = {"save": "3600 1", "enable-debug-command": "yes", "loading-process-events-interval-bytes": 1024}
    with RedisServer.start(options=slow) as loading:
        watched = await filled(
            watch(Endpoint.from_url(loading.url), transport=transport, breaker_open_seconds=0.05)
        )
        async with Redis.from_url(loading.tcp_url, protocol=2) as admin, Redis.from_url(loading.url) as other:
            await admin.execute_command("DEBUG", "POPULATE", 300_000, "key", 200)
            await admin.config_set("key-load-delay", 10)
            reload = asyncio.create_task(other.execute_command("DEBUG", "RELOAD"))
            await until(lambda: _loading(watched.client))
            await admin.config_set("key-load-delay", 0)
            await reload
        await until(lambda: answers(watched.client))

        assert await watched.client.get("k1") == b"value of k1"
        watched.balanced()


async def _loading(client: OptimizedRedis) -> bool:
    try:
        await client.get("k1")
    except BusyLoadingError:
        return True
    except Unavailable:
        return False
    return False


@TRANSPORTS
@pytest.mark.parametrize("given", ["", "wrong-password"])
async def test_a_password_that_is_missing_or_wrong_is_said_and_never_shown(
    watch: Callable[..., Watched], transport: str, given: str, caplog: pytest.LogCaptureFixture
) -> None:
    """NOAUTH and WRONGPASS are answers: redis-py's errors, none of the breaker's business, and discreet."""
    caplog.set_level(logging.DEBUG)
    with RedisServer.start(password=SECRET) as guarded:
        address = guarded.tcp_url.replace(SECRET, given) if given else f"redis://127.0.0.1:{guarded.port}/0"
        watched = watch(Endpoint.from_url(address), transport=transport)
        said = []
        for _ in range(12):
            for ask in (
                lambda: watched.client.get("a"),
                lambda: watched.client.batch_get(["a"]),
                lambda: watched.client.pipeline().get("a").execute(),
            ):
                with pytest.raises(AuthenticationError) as refused:
                    await ask()
                said.append(f"{refused.value!r} {refused.value}")
        health = await watched.client.health()

        assert watched.balanced()["circuit_opened"] == 0
        assert health.verdict == "refused"
        shown = " ".join([*said, caplog.text, health.detail])
        assert SECRET not in shown
        assert not given or given not in shown


@TRANSPORTS
async def test_a_password_is_in_no_repr_log_or_error(
    watch: Callable[..., Watched], transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a program prints of a pool that works, stalls or is dead."""
    caplog.set_level(logging.DEBUG)
    with RedisServer.start(password=SECRET) as guarded:
        endpoint = Endpoint.from_url(guarded.tcp_url)
        watched = watch(
            endpoint, transport=transport, command_timeout_seconds=0.1, connect_timeout_seconds=0.1
        )
        client = watched.client
        await client.set("a", 1)
        shown = [repr(endpoint), str(endpoint), repr(client), repr(client.pipeline()), repr(watched.pools)]
        shown += [
            repr(client.connection_pool),
            repr(client.client()),
            repr(client.metrics),
            repr(client._lane),
        ]
        shown += [repr(client.raising), repr(client.pubsub()), repr(client._mux), repr(client._settings)]
        guarded.stall()
        with pytest.raises(Unavailable) as late:
            await client.get("a")
        guarded.kill()
        await until(lambda: watched.client.metrics["connections"] == 0 or transport == "classic")
        with pytest.raises(Unavailable) as gone:
            await client.get("a")
        shown += [repr(late.value), str(late.value), repr(gone.value), str(gone.value), caplog.text]

        assert SECRET not in " ".join(shown)


@TRANSPORTS
async def test_a_user_without_the_right_is_told(watch: Callable[..., Watched], transport: str) -> None:
    """NOPERM is about the command, not about the connection."""
    with RedisServer.start(users={"reader": f"on >{SECRET} ~* +get +ping +hello +client"}) as guarded:
        address = f"redis://reader:{SECRET}@127.0.0.1:{guarded.port}/0"
        watched = watch(Endpoint.from_url(address), transport=transport)
        for _ in range(12):
            with pytest.raises(NoPermissionError):
                await watched.client.set("a", 1)
        assert await watched.client.get("a") is None
        assert watched.balanced()["circuit_opened"] == 0
