"""Where Redis answers: an address, or the embedded stand-in when none is configured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio.connection import AbstractConnection, parse_url

from perfkit.errors import RealServerRequired, SettingsError
from perfkit.events import EmbeddedDefaultLoaded, Probe, log_probe

if TYPE_CHECKING:
    from fakeredis import FakeServer

__all__ = ["Endpoint"]

_REMEDY = "Set PERFKIT_REDIS_URL to a real server, as in redis://host:6379/0."
_said_once = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to reach Redis. A password in the address never shows in the repr.

    >>> Endpoint.from_url("redis://:secret@cache:6379/0")
    Endpoint('redis://:***@cache:6379/0')
    """

    address: str
    backend: Literal["redis", "fakeredis"]
    connection: Mapping[str, Any] = field(repr=False)
    """Keyword arguments of redis-py's connection pool."""

    @classmethod
    def from_url(cls, url: str) -> Endpoint:
        """Return the endpoint a `redis://`, `rediss://` or `unix://` address names.

        Raises:
            SettingsError: the address is of another kind.
        """
        try:
            connection: dict[str, Any] = dict(parse_url(url))
        except ValueError as trouble:
            raise SettingsError(
                f"{_masked(url)} is not an address of Redis ({trouble}). "
                "Write redis://host:6379/0, rediss:// for TLS, or unix:///path.",
                path="PERFKIT_REDIS_URL",
            ) from None
        return cls(_masked(url), "redis", connection)

    @classmethod
    def embedded(
        cls, server: FakeServer | None = None, connection_class: type[AbstractConnection] | None = None
    ) -> Endpoint:
        """Return a stand-in that lives in this process; two endpoints share data when they share a server."""
        import fakeredis  # kept out of a service that never needs it

        server = server or fakeredis.FakeServer(version=(7,))
        kind = connection_class or fakeredis.FakeAsyncRedisConnection
        connection = {"connection_class": kind, "server": server, "protocol": 2}
        return cls("embedded", "fakeredis", connection)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, *, probe: Probe = log_probe) -> Endpoint:
        """Return what `PERFKIT_REDIS_URL` names, or the embedded stand-in, which says so once.

        Raises:
            RealServerRequired: nothing is named and `PERFKIT_REQUIRE_REAL=1` forbids the stand-in.
        """
        global _said_once
        env = os.environ if env is None else env
        if url := env.get("PERFKIT_REDIS_URL"):
            return cls.from_url(url)
        if env.get("PERFKIT_REQUIRE_REAL") == "1":
            raise RealServerRequired(
                f"PERFKIT_REQUIRE_REAL=1 and no Redis is configured. {_REMEDY}", dependency="redis"
            )
        if not _said_once:
            _said_once = True
            probe(EmbeddedDefaultLoaded("fakeredis, a Redis within this process,", _REMEDY))
        return cls.embedded()

    def __repr__(self) -> str:
        return f"Endpoint({self.address!r})"


def _masked(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable address"
    if parts.password is None:
        return urlunsplit(parts._replace(query=""))
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}:***@{host}"
    return urlunsplit(parts._replace(netloc=netloc, query=""))
