"""A real server that dies, stalls, comes back, or can not or will not serve."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from perfkit.errors import CircuitOpen, PerfkitError, Unavailable
from perfkit.events import CircuitChanged
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, PoolType, RedisPools
from perfkit.pools.failures import RedisLost, RedisTimeout
from perfkit.pools.server import RedisServer
from tests.pools.waiting import until

TRANSPORTS = pytest.mark.parametrize("transport", ["mux", "classic"])
SECRET = "correct-horse-battery"  # noqa: S105  # of a server that lives for a second
SLACK_S = 0.3
"""What a shared machine may add to a bound; the figures themselves are printed."""


class Watched:
    """Pools whose breakers' changes are noted with their time."""

    def __init__(self, endpoint: Endpoint, **knobs: Any) -> None:
        settings = PoolSettings.model_validate({"retries": 0} | knobs)
        self.changes: list[tuple[float, str]] = []
        self.pools = RedisPools(PoolsSettings(default=settings), endpoint, probe=self._hear)
        self.client = self.pools.client()

    def _hear(self, event: object) -> None:
        if isinstance(event, CircuitChanged):
            self.changes.append((asyncio.get_running_loop().time(), event.after))

    def when(self, state: str, after_s: float) -> float | None:
        return next((at for at, became in self.changes if became == state and at >= after_s), None)

    def balanced(self) -> dict[str, Any]:
        metrics = self.client.metrics
        ends = sum(int(metrics[name]) for name in ("ok", "failed", "rejected", "cancelled"))
        assert metrics["calls"] == ends
        assert (metrics["in_flight"], metrics["waiting"], metrics["own_connections"]) == (0, 0, 0)
        return metrics


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that this test may hurt."""
    with RedisServer.start() as started:
        yield started


@pytest.fixture
async def watch() -> AsyncIterator[Callable[..., Watched]]:
    """Open watched pools that are closed when the test ends."""
    every: list[Watched] = []

    def open_pools(endpoint: Endpoint, **knobs: Any) -> Watched:
        every.append(Watched(endpoint, **knobs))
        return every[-1]

    yield open_pools
    for each in every:
        await each.pools.aclose()


class Traffic:
    """Workers that read without pause; each value carries its key, so a wrong reply is seen."""

    def __init__(self, client: OptimizedRedis, workers: int = 32) -> None:
        self._client = client
        self.right = self.wrong = 0
        self.failures: set[type[Exception]] = set()
        self._over = False
        self._tasks = [asyncio.create_task(self._work(n)) for n in range(workers)]

    async def _work(self, n: int) -> None:
        while not self._over:
            try:
                value = await self._client.get(f"k{n}")
            except (RedisError, PerfkitError) as failure:
                self.failures.add(type(failure))
                await asyncio.sleep(0.005)  # as a service that has other things to do
            else:
                self.right += value == f"value of k{n}".encode()
                self.wrong += value not in (None, f"value of k{n}".encode())  # None: a restart forgets

    async def end(self) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)


async def filled(watched: Watched) -> Watched:
    await watched.client.batch_set({f"k{n}": f"value of k{n}" for n in range(32)})
    return watched


def report(what: str, took_s: float, bound_s: float) -> None:
    print(f"{what}: {1000 * took_s:.0f} ms, bound {1000 * bound_s:.0f} ms")
    assert took_s <= bound_s + SLACK_S


@TRANSPORTS
async def test_a_killed_server_is_found_out_at_once_and_found_again_when_it_is_back(
    own_server: RedisServer, watch: Callable[..., Watched], transport: str
) -> None:
    """kill -9: the breaker opens within 50 ms; back on the same port, service goes on after its wait."""
    watched = await filled(
        watch(Endpoint.from_url(own_server.tcp_url), transport=transport, max_connections=32)
    )
    loop = asyncio.get_running_loop()
    traffic = Traffic(watched.client)
    await until(lambda: traffic.right > 500)
    killed_s = loop.time()
    await asyncio.to_thread(own_server.kill)
    await until(lambda: watched.when("open", killed_s) is not None)
    report("breaker open after a kill", watched.when("open", killed_s) - killed_s, 0.05)

    await asyncio.to_thread(own_server.restart)
    back_s = loop.time()
    longest_wait_s = watched.client._breaker.retry_after_seconds
    await until(lambda: watched.when("closed", back_s) is not None)
    report("recovery after a restart", watched.when("closed", back_s) - back_s, longest_wait_s + 0.1)
    seen = traffic.right
    await filled(watched)
    await until(lambda: traffic.right > seen)
    await traffic.end()

    assert traffic.wrong == 0
    assert all(issubclass(failure, Unavailable) for failure in traffic.failures)
    assert all(issubclass(failure, RedisError) for failure in traffic.failures)
    watched.balanced()


@TRANSPORTS
async def test_a_stalled_server_is_found_out_in_one_timeout_and_nothing_is_mixed_up_after(
    own_server: RedisServer, watch: Callable[..., Watched], transport: str
) -> None:
    """SIGSTOP and SIGCONT: late replies are dropped, the breaker opens within the timeout and 50 ms."""
    watched = await filled(
        watch(
            Endpoint.from_url(own_server.url),
            transport=transport,
            max_connections=32,
            command_timeout_seconds=0.3,
            connect_timeout_seconds=0.3,
        )
    )
    loop = asyncio.get_running_loop()
    traffic = Traffic(watched.client)
    await until(lambda: traffic.right > 500)
    stalled_s = loop.time()
    own_server.stall()
    try:
        await until(lambda: watched.when("open", stalled_s) is not None)
        report("breaker open after a stall", watched.when("open", stalled_s) - stalled_s, 0.35)
    finally:
        own_server.resume()
    back_s = loop.time()
    wait_s = watched.client._breaker.retry_after_seconds
    await until(lambda: watched.when("closed", back_s) is not None)
    report("recovery after a stall", watched.when("closed", back_s) - back_s, wait_s + 0.1)
    seen = traffic.right
    await until(lambda: traffic.right > seen + 100)
    await traffic.end()

    assert traffic.wrong == 0
    watched.balanced()


@TRANSPORTS
async def test_incr_is_executed_at_most_once_whatever_happens(
    own_server: RedisServer, watch: Callable[..., Watched], transport: str
) -> None:
    """Through a stall, connections killed and the readers' retries: never more than were asked for."""
    watched = watch(
        Endpoint.from_url(own_server.tcp_url),
        transport=transport,
        max_connections=32,
        retries=3,
        command_timeout_seconds=0.2,
        breaker_open_seconds=0.05,
    )
    asked: dict[str, int] = {}
    succeeded: dict[str, int] = {}
    over = False

    async def count(name: str) -> None:
        while not over:
            asked[name] = asked.get(name, 0) + 1
            try:
                await watched.client.incr(name)
            except (Unavailable, RedisError):
                await asyncio.sleep(0.001)
            else:
                succeeded[name] = succeeded.get(name, 0) + 1

    workers = [asyncio.create_task(count(f"n{n}")) for n in range(32)]
    async with Redis.from_url(own_server.url) as admin:
        for _ in range(3):
            await until(lambda: len(succeeded) == 32)
            await admin.client_kill_filter(_type="normal", skipme=True)
            own_server.stall()
            await until(lambda: watched.client.metrics["circuit_state"] == "open")
            own_server.resume()
            await until(lambda: watched.client.metrics["circuit_state"] == "closed")
        over = True
        await asyncio.gather(*workers)
        executed = {name: int(await admin.get(name) or 0) for name in asked}

    assert all(succeeded[name] <= executed[name] <= asked[name] for name in asked)
    watched.balanced()


@TRANSPORTS
async def test_a_paused_server_is_given_up_and_taken_up_again(
    own_server: RedisServer, watch: Callable[..., Watched], transport: str
) -> None:
    """CLIENT PAUSE holds replies back for longer than a command may take."""
    watched = await filled(
        watch(Endpoint.from_url(own_server.url), transport=transport, command_timeout_seconds=0.1)
    )
    async with Redis.from_url(own_server.tcp_url) as admin:
        await admin.client_pause(300)
    with pytest.raises(RedisTimeout):
        await watched.client.get("k1")
    await until(lambda: watched.client.ready(), within_s=5)

    assert await watched.client.get("k2") == b"value of k2"
    watched.balanced()


@TRANSPORTS
async def test_a_killed_client_connects_again_and_the_breaker_stays_closed(
    own_server: RedisServer, watch: Callable[..., Watched], transport: str
) -> None:
    """CLIENT KILL: whoever was on the line is told; the server is well, so nobody is shut out."""
    watched = await filled(watch(Endpoint.from_url(own_server.url), transport=transport))
    async with Redis.from_url(own_server.tcp_url) as admin:
        for _ in range(20):
            assert await watched.client.get("k1") == b"value of k1"
            await admin.client_kill_filter(_type="normal", skipme=True)
            await until(lambda: _killed(watched, transport))

    assert watched.balanced()["circuit_opened"] == 0


async def _killed(watched: Watched, transport: str) -> bool:
    if transport == "mux":
        return watched.client.metrics["connections"] == 0
    try:  # a lent connection's end is noticed by whoever borrows it
        return bool(await watched.client.get("k1"))
    except RedisLost:
        return False


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
        await until(lambda: _answers(watched.client))
        await until(lambda: _answers(watched.client))
    watched.balanced()


async def _answers(client: OptimizedRedis) -> bool:
    try:
        return bool(await client.ping())
    except (Unavailable, RedisError):
        return False


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
        await until(lambda: _answers(watched.client))

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
        await until(lambda: _answers(watched.client))

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
        await until(lambda: _answers(watched.client))

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


async def test_the_cache_pool_serves_misses_while_redis_is_killed_and_hits_when_it_is_back(
    own_server: RedisServer,
) -> None:
    """Reads never fail; a removal does, for whoever asked must know."""
    pools = RedisPools(endpoint=Endpoint.from_url(own_server.tcp_url), probe=lambda _event: None)
    cache = pools.client(PoolType.CACHE)
    await cache.batch_set({"a": 1, "b": 2}, ttl_seconds=60)
    await asyncio.to_thread(own_server.kill)

    for _ in range(30):
        assert await cache.get("a") is None
        assert await cache.batch_get(["a", "b"]) == [None, None]
        await cache.batch_set({"a": 1}, ttl_seconds=5)
        with pytest.raises(Unavailable) as lost:
            await cache.delete("a")
        assert isinstance(lost.value, RedisError)

    await asyncio.to_thread(own_server.restart)

    async def stored() -> bool:
        await cache.batch_set({"a": 1}, ttl_seconds=60)
        return await cache.get("a") == b"1"

    await until(stored)
    metrics = cache.metrics
    assert metrics["calls"] == sum(metrics[name] for name in ("ok", "failed", "rejected", "cancelled"))
    await pools.aclose()
