"""From an endpoint to a connection that is ready: socket, TLS, and the whole greeting in one round trip.

`HELLO 3 AUTH user password SETNAME name` and `SELECT db` leave in one write. redis-py 8 waits for each of
its greeting's commands in turn, which on a cold start is several times the distance to Redis.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, cast

from redis.asyncio.connection import SSLConnection
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from perfkit.pools.failures import RedisLost, RedisTimeout
from perfkit.pools.wire import MuxConnection, pack_many

__all__ = ["open_connection"]

_NO_HELLO = ("unknown command", "NOPROTO")


async def open_connection(
    make: Callable[[], MuxConnection],
    connection: Mapping[str, Any],
    *,
    pool: str,
    where: str = "",
    patience_s: float,
    replica: bool = False,
) -> MuxConnection:
    """Return a connection that is ready for commands.

    Args:
        make: Makes the protocol; called once the socket is there.
        connection: redis-py's keywords, as `perfkit.pools.Endpoint` holds them.
        pool: Names the connection for `CLIENT LIST`, and in errors.
        where: Which server, for errors, where a pool has several.
        patience_s: For all of it: name, socket, TLS, greeting.
        replica: Whether to ask for reads from a replica of a cluster.

    Raises:
        RedisTimeout: it was not ready in time.
        RedisLost: the server refused or closed the connection.
        redis.exceptions.AuthenticationError: user or password are wrong.
        redis.exceptions.ResponseError: the server refused the greeting, as for a database it does not have.
    """
    opened: MuxConnection | None = None
    try:
        async with asyncio.timeout(patience_s):
            opened = await _open_socket(make, connection)
            await _greet(opened, connection, pool, replica=replica)
            return opened
    except TimeoutError:
        _drop(opened)
        raise RedisTimeout(
            f"A connection of pool {pool}{where} was not ready within {patience_s:g} s: the server is away "
            f"or stalled. See pools.{pool}.connect_timeout_seconds.",
            pool=pool,
            sent=False,
        ) from None
    except OSError as trouble:
        _drop(opened)
        raise RedisLost(
            f"Pool {pool} could not connect{where}: {trouble}. Is Redis there, and PERFKIT_REDIS_URL right?",
            pool=pool,
            sent=False,
        ) from None
    except AuthenticationError:
        _drop(opened)
        raise
    except RedisConnectionError as trouble:  # lost during the greeting, or too many clients
        _drop(opened)
        raise RedisLost(f"Pool {pool} could not connect{where}: {trouble}", pool=pool, sent=False) from None
    except BaseException:
        _drop(opened)
        raise


async def _open_socket(make: Callable[[], MuxConnection], connection: Mapping[str, Any]) -> MuxConnection:
    loop = asyncio.get_running_loop()
    if path := connection.get("path"):
        _transport, protocol = await loop.create_unix_connection(make, path)
        return protocol
    host, port = connection.get("host", "localhost"), int(connection.get("port", 6379))
    transport, protocol = await loop.create_connection(make, host, port, ssl=_tls(connection))
    if raw := transport.get_extra_info("socket"):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return protocol


def _tls(connection: Mapping[str, Any]) -> ssl.SSLContext | None:
    """Return what `rediss://` and its options mean, as redis-py reads them."""
    options = dict(connection)
    if not issubclass(options.pop("connection_class", object), SSLConnection):
        return None
    context: ssl.SSLContext = SSLConnection(**options).ssl_context.get()
    return context


async def _greet(opened: MuxConnection, connection: Mapping[str, Any], pool: str, *, replica: bool) -> None:
    hello: list[Any] = ["HELLO", int(connection.get("protocol") or 3)]  # redis-py picks its callbacks by it
    if credentials := await _credentials(connection):
        hello += ["AUTH", *credentials]
    hello += ["SETNAME", f"{connection.get('client_name') or 'perfkit'}:{pool}"]
    commands: list[list[Any]] = [hello]
    if database := int(connection.get("db") or 0):
        commands.append(["SELECT", database])
    if replica:
        commands.append(["READONLY"])
    for reply in await opened.greet(pack_many(commands), len(commands)):
        if isinstance(reply, ResponseError) and any(part in str(reply) for part in _NO_HELLO):
            raise ResponseError(
                f"The server of pool {pool} does not speak RESP3 ({reply}). Set pools.{pool}.transport to "
                "classic, or use Redis 6 or newer."
            )
        if isinstance(reply, Exception):
            raise reply


async def _credentials(connection: Mapping[str, Any]) -> tuple[str, str] | None:
    """Ask the provider anew for each connection: its tokens expire."""
    provider = cast("CredentialProvider | None", connection.get("credential_provider"))
    if provider is not None:
        given = await provider.get_credentials_async()
    elif password := connection.get("password"):
        given = (connection.get("username") or "default", password)
    else:
        return None
    return ("default", given[0]) if len(given) == 1 else (given[0], given[1])


def _drop(opened: MuxConnection | None) -> None:
    if opened is not None:
        opened.abort("its greeting failed")
