"""The whole cache on a real server that dies, stalls, is flushed and comes back; and on four processes."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from perfkit.cache.settings import CacheSettings
from perfkit.events import null_probe
from perfkit.pools import Endpoint
from perfkit.pools.server import RedisServer, find_server
from perfkit.settings import Settings
from perfkit.stack import Outside, Stack
from tests.pools.waiting import until

pytestmark = pytest.mark.skipif(find_server() is None, reason="no Redis server is installed")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that this test may hurt."""
    with RedisServer.start() as started:
        yield started


@pytest.fixture
async def instance(server: RedisServer) -> AsyncIterator[Callable[..., Any]]:
    """Open instances of a service over the server; they are closed when the test ends."""
    stacks: list[Any] = []

    async def open_one(**knobs: Any) -> Stack:
        settings = Settings(cache=CacheSettings(ttl_jitter=0.0, **knobs)).model_copy()
        opened = Stack.open(
            settings,
            outside=Outside(endpoint=Endpoint.from_url(server.url), probe=null_probe, key_prefix="t:"),
        )
        stacks.append(opened)
        return await opened.__aenter__()

    yield open_one
    for opened in reversed(stacks):
        await opened.__aexit__(None, None, None)


class Source:
    """An origin whose answer changes; counts its calls."""

    def __init__(self) -> None:
        self.version = 1
        self.calls = 0

    async def __call__(self) -> int:
        self.calls += 1
        return self.version


@pytest.mark.parametrize("how", ["backplane", "tracking"])
async def test_a_change_here_is_seen_there_within_a_message(instance: Callable[..., Any], how: str) -> None:
    source = Source()
    here, there = await instance(coherence=how), await instance(coherence=how)
    for stack in (here, there):
        await stack.cache.get_or_load("k", source)
    await until(lambda: here.cache.tiers.coherence.connected and there.cache.tiers.coherence.connected)
    assert await there.cache.get_or_load("k", source) == 1
    source.version = 2
    assert await here.cache.invalidate("k")
    await until(lambda: there.cache.memory.peek(":k") is None)

    assert await there.cache.get_or_load("k", source) == 2


async def test_a_server_killed_and_restarted_serves_nothing_taken_back_meanwhile(
    server: RedisServer, instance: Callable[..., Any]
) -> None:
    source = Source()
    here, there = await instance(l1_ttl_seconds=0.05), await instance(l1_ttl_seconds=0.05)
    for stack in (here, there):
        await stack.cache.get_or_load("k", source)
    await asyncio.to_thread(server.kill)
    source.version = 2
    told = await here.cache.invalidate("k")
    during = await here.cache.get_or_load("k", source)
    await asyncio.to_thread(server.restart)
    await asyncio.wait_for(here.cache.tiers.recovery.settled(), 30)

    assert (told, during) == (False, 2)
    await until(lambda: here.cache.tiers.coherence.connected and there.cache.tiers.coherence.connected)
    assert await here.cache.get_or_load("k", source) == 2
    assert await there.cache.get_or_load("k", source) == 2


async def test_a_stalled_server_delays_no_longer_than_its_timeout_and_takes_nothing_back_to_life(
    server: RedisServer, instance: Callable[..., Any]
) -> None:
    source = Source()
    here = await instance(l1_ttl_seconds=0.01)
    await here.cache.get_or_load("k", source)
    loop = asyncio.get_running_loop()
    server.stall()
    try:
        source.version = 2
        began = loop.time()
        told = await here.cache.invalidate("k")
        answers = {await here.cache.get_or_load("k", source) for _ in range(20)}
        waited = loop.time() - began
    finally:
        server.resume()
    await asyncio.wait_for(here.cache.tiers.recovery.settled(), 30)

    assert (told, answers) == (False, {2})
    assert waited < 10  # some timeouts, then the breaker refuses at once
    assert await here.cache.get_or_load("k", source) == 2


async def test_a_flushed_server_is_an_empty_cache_and_nothing_worse(
    server: RedisServer, instance: Callable[..., Any]
) -> None:
    source = Source()
    here, there = await instance(l1_ttl_seconds=0.01), await instance(l1_ttl_seconds=0.01)
    await here.cache.get_or_load("k", source)
    await here.cache.invalidate_tag("unused")
    client = here.pools.client()
    await client.flushdb()
    source.version = 2
    await asyncio.sleep(0.02)

    assert await there.cache.get_or_load("k", source) == 2
    assert await here.cache.get_or_load("k", source) == 2


async def test_a_load_under_way_elsewhere_cannot_bring_back_what_was_taken_back(
    instance: Callable[..., Any],
) -> None:
    """Its answer is refused by Redis itself, because something younger stands there."""
    here, there = await instance(coherence="off"), await instance(coherence="off")
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow_and_old() -> int:
        reached.set()
        await go_on.wait()
        return 1

    asking = asyncio.create_task(there.cache.get_or_load("k", slow_and_old))
    await reached.wait()
    await asyncio.sleep(0.002)
    assert await here.cache.invalidate("k")
    go_on.set()

    assert await asking == 1
    assert await here.cache.get("k") is None


async def test_four_processes_that_miss_the_same_cost_one_call(server: RedisServer) -> None:
    program = textwrap.dedent(
        """
        import asyncio, sys
        from perfkit.cache import get_tiered_cache
        from perfkit.pools import get_optimized_redis_client

        async def main():
            redis = await get_optimized_redis_client()

            async def load():
                await redis.incr("calls")
                await asyncio.sleep(0.3)
                return "answer"

            cache = get_tiered_cache("stampede")
            await cache.get("warm up")
            await redis.incr("ready")
            while int(await redis.get("ready")) < 4:
                await asyncio.sleep(0.002)
            answers = await asyncio.gather(*(cache.get_or_load("k", load) for _ in range(25)))
            print(set(answers), await redis.get("calls"))

        asyncio.run(main())
        """
    )
    environment = {"PERFKIT_REDIS_URL": server.url}
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(4)
    ]
    said = [await asyncio.wait_for(process.communicate(), 60) for process in processes]

    assert [out.decode().strip() for out, _ in said] == ["{'answer'} b'1'"] * 4, said
