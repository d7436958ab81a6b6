"""Pools over TLS: the certificate is checked, and everything else is as without."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from perfkit.pools import Endpoint, OptimizedRedis
from perfkit.pools.server import RedisServer

Opened = Callable[..., OptimizedRedis]
PATIENT = {
    "acquire_timeout_seconds": 10.0,
    "command_timeout_seconds": 10.0,
    "connect_timeout_seconds": 10.0,
    "slow_call_seconds": 10.0,
}
"""Both sides of every handshake are computed in this process, on a machine that may be busy."""

TRANSPORTS = pytest.mark.parametrize("transport", ["mux", "classic"])


def test_a_blocking_client_reaches_the_server_by_tls(
    tls_endpoint_url: str, tls_ca_file: Path, server: RedisServer
) -> None:
    """The address carries the authority, and what answers behind it is the module's server."""
    assert tls_endpoint_url.endswith(f"?ssl_ca_certs={tls_ca_file}")
    with redis.Redis.from_url(tls_endpoint_url) as client:
        assert client.info("server")["process_id"] == server.pid
        assert client.connection_pool.connection_class is redis.SSLConnection


@TRANSPORTS
async def test_a_pool_reads_and_writes_by_tls(opened: Opened, tls_endpoint_url: str, transport: str) -> None:
    """Many at once, and a value larger than any buffer on the way."""
    client = opened(Endpoint.from_url(tls_endpoint_url), transport=transport, max_connections=4, **PATIENT)
    large = bytes(range(256)) * 8_192
    await client.set("large", large)
    await asyncio.gather(*(client.set(f"k{number}", number) for number in range(100)))

    assert await client.get("large") == large
    assert await client.batch_get([f"k{number}" for number in range(100)]) == [
        str(number).encode() for number in range(100)
    ]


@TRANSPORTS
async def test_a_server_that_nobody_vouches_for_is_refused(
    opened: Opened, tls_endpoint_url: str, transport: str
) -> None:
    """Without the authority's certificate the connection fails, and says that it is for the certificate."""
    url = tls_endpoint_url.partition("?")[0]
    stranger = opened(Endpoint.from_url(url), transport=transport, **PATIENT)

    with pytest.raises(Exception, match="certificate verify failed"):
        await stranger.get("a")


@TRANSPORTS
async def test_a_server_of_another_name_is_refused(
    opened: Opened, tls_endpoint_url: str, transport: str
) -> None:
    """A certificate for 127.0.0.1 proves nothing about localhost, even where that is the same machine."""
    url = tls_endpoint_url.replace("127.0.0.1", "localhost")
    elsewhere = opened(Endpoint.from_url(url), transport=transport, **PATIENT)

    with pytest.raises(Exception, match=r"not valid for 'localhost'"):
        await elsewhere.get("a")


@TRANSPORTS
async def test_a_plain_client_gets_no_answer_from_a_tls_server(
    opened: Opened, tls_endpoint_url: str, transport: str
) -> None:
    """It is refused; it never waits for a reply that cannot come."""
    plain = tls_endpoint_url.replace("rediss://", "redis://").partition("?")[0]
    client = opened(Endpoint.from_url(plain), transport=transport)

    with pytest.raises(redis.ConnectionError):
        await client.get("a")


def test_the_authority_signs_for_loopback_only(tls_ca_file: Path) -> None:
    """Its certificate is all a client needs to judge, and holds no key."""
    context = ssl.create_default_context(cafile=str(tls_ca_file))

    assert [found["issuer"] for found in context.get_ca_certs()]
    assert "PRIVATE KEY" not in tls_ca_file.read_text()
