"""Where a fault proxy leads to: a Redis on a host and port, or on a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

__all__ = ["LOOPBACK", "Upstream"]

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Upstream:
    """The server behind a proxy.

    >>> Upstream.from_url("unix://ada:secret@/run/redis.sock?db=2").url_through(port=1234)
    'redis://ada:secret@127.0.0.1:1234/2'
    """

    place: str | tuple[str, int]
    """A Unix socket's path, or a host and a port."""
    address: str = ""
    """For people: without password and options."""
    url: str = field(default="", repr=False)
    database: int = 0

    @classmethod
    def from_url(cls, url: str) -> Upstream:
        """Return the server that an address names.

        Raises:
            SettingsError: the address is none of Redis.
        """
        from perfkit.pools.endpoint import Endpoint  # redis-py, which a proxy's own process does without

        endpoint = Endpoint.from_url(url)
        named = endpoint.connection
        place = named.get("path") or (named.get("host", "localhost"), named.get("port", 6379))
        return cls(place, endpoint.address, url, named.get("db", 0))

    def url_through(self, port: int) -> str:
        """Return the address of a proxy on loopback that leads here: user, password and database stay."""
        parts = urlsplit(self.url)
        credentials, at, _host = parts.netloc.rpartition("@")
        options = [(name, value) for name, value in parse_qsl(parts.query) if name != "db"]
        scheme = "rediss" if parts.scheme == "rediss" else "redis"
        netloc = f"{credentials}{at}{LOOPBACK}:{port}"
        return urlunsplit((scheme, netloc, f"/{self.database}", urlencode(options), ""))

    async def connect(self) -> socket.socket:
        """Return a new connection that does not block.

        Raises:
            OSError: nobody answers there.
        """
        if isinstance(self.place, str):
            return await _connected(socket.AF_UNIX, self.place)
        host, port = self.place
        trouble = OSError(f"{host} has no address")
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, _kind, _protocol, _name, address in found:
            try:
                connection = await _connected(family, address)
            except OSError as failure:
                trouble = failure
            else:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection
        raise trouble


async def _connected(family: int, address: str | tuple[Any, ...]) -> socket.socket:
    with contextlib.ExitStack() as on_failure:
        connection = on_failure.enter_context(socket.socket(family))
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, address)
        on_failure.pop_all()
    return connection
