"""A connection on which Redis speaks first: beside the pool's, bounded in time, closed with the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from redis.exceptions import ResponseError

from perfkit.pools import Endpoint, OptimizedRedis
from perfkit.pools.failures import PoolClosed, RedisLost, RedisTimeout
from perfkit.pools.server import RedisServer


async def test_it_hears_what_is_published_with_each_kind_of_address(
    endpoint: Endpoint, opened: Callable[..., OptimizedRedis]
) -> None:
    """Over a socket, over TCP, and from the stand-in."""
    client = opened(endpoint)
    listener = await client.open_listener()
    await listener.say("SUBSCRIBE", "news")
    assert (await listener.hear_in_time(1.0))[:2] == [b"subscribe", b"news"]

    await client.publish("news", "hello")

    assert await listener.hear_in_time(1.0) == [b"message", b"news", b"hello"]
    assert await listener.hear(0.01) is None
    await listener.aclose()


@pytest.mark.parametrize("transport", ["mux", "classic"])
async def test_it_takes_none_of_the_connections_that_are_lent(
    server: RedisServer, opened: Callable[..., OptimizedRedis], transport: str
) -> None:
    """A pool of one still serves, and has no other connection open than before."""
    client = opened(Endpoint.from_url(server.url), transport=transport, max_connections=1)
    await client.set("a", "1")
    before = client.metrics["connections"]
    listener, another = await client.open_listener(), await client.open_listener()

    assert await client.get("a") == b"1"
    assert client.metrics["connections"] == before
    await listener.aclose()
    await another.aclose()


async def test_it_hears_of_keys_that_changed(
    server: RedisServer, opened: Callable[..., OptimizedRedis]
) -> None:
    """redis-py alone drops such pushes."""
    client = opened(Endpoint.from_url(server.url))
    listener = await client.open_listener()
    assert listener.takes_pushes
    await listener.say("CLIENT", "TRACKING", "ON", "BCAST")
    assert await listener.hear_in_time(1.0) == b"OK"
    await client.set("a", "1")

    assert await listener.hear_in_time(1.0) == [b"invalidate", [b"a"]]
    await listener.aclose()


async def test_a_refusal_is_raised_and_leaves_it_usable(
    server: RedisServer, opened: Callable[..., OptimizedRedis]
) -> None:
    """It is the command that was wrong."""
    listener = await opened(Endpoint.from_url(server.url)).open_listener()
    await listener.say("CLIENT", "TRACKING", "PERHAPS")
    with pytest.raises(ResponseError):
        await listener.hear_in_time(1.0)
    await listener.say("PING")

    assert await listener.hear_in_time(1.0) in (b"PONG", "PONG")
    await listener.aclose()


async def test_silence_where_an_answer_is_due_is_a_timeout_and_an_end_is_a_loss(
    own_server: RedisServer, opened: Callable[..., OptimizedRedis]
) -> None:
    """Both are perfkit's exceptions, and closing after either does not wait."""
    client = opened(Endpoint.from_url(own_server.url))
    listener = await client.open_listener()
    own_server.stall()
    await listener.say("PING")
    with pytest.raises(RedisTimeout, match=r"0\.05 s"):
        await listener.hear_in_time(0.05)
    await asyncio.to_thread(own_server.kill)
    with pytest.raises(RedisLost):
        await listener.hear(5.0)
    async with asyncio.timeout(1.0):
        await listener.aclose()
    with pytest.raises(RedisLost, match="closed"):
        await listener.say("PING")
    with pytest.raises(RedisLost, match="closed"):
        await listener.hear(0.01)
    with pytest.raises((RedisLost, RedisTimeout)):
        await client.open_listener()


async def test_words_that_came_while_our_own_loop_was_away_are_in_time(
    server: RedisServer, opened: Callable[..., OptimizedRedis]
) -> None:
    """The timer is as late as we are; the server is not to blame."""
    listener = await opened(Endpoint.from_url(server.url)).open_listener()
    await listener.say("PING")
    asyncio.get_running_loop().call_later(0.001, _sleep)

    assert await listener.hear_in_time(0.05) in (b"PONG", "PONG")
    await listener.aclose()


def _sleep() -> None:
    import time

    time.sleep(0.2)  # on purpose: this is the stall


async def test_closing_the_pool_closes_it(server: RedisServer, opened: Callable[..., OptimizedRedis]) -> None:
    """Whoever listens is told, and nobody begins."""
    client = opened(Endpoint.from_url(server.url))
    listener = await client.open_listener()
    await client.close_pool()

    with pytest.raises(RedisLost):
        await listener.hear(1.0)
    with pytest.raises(PoolClosed):
        await client.open_listener()
