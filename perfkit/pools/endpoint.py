"""Where Redis answers: an address, or the embedded stand-in when none is configured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio.connection import AbstractConnection, parse_url
from redis.credentials import CredentialProvider

from perfkit.errors import RealServerRequired, SettingsError, did_you_mean
from perfkit.events import EmbeddedDefaultLoaded, Probe, log_probe

if TYPE_CHECKING:
    from fakeredis import FakeServer

__all__ = ["Endpoint"]

_REMEDY = "Set PERFKIT_REDIS_URL to a real server, as in redis://host:6379/0."
_FORMS = "Write redis://host:6379/0, rediss://host:6380/0 for TLS, or unix:///path/of/socket."
_OPTIONS = frozenset(
    {
        "client_name",
        "cluster",
        "connection_class",
        "db",
        "host",
        "password",
        "path",
        "port",
        "protocol",
        "username",
    }
    | {"ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)
"""What an address may say. Timeouts and sizes are knobs of a pool, so an address may not set them."""

_said_once = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to reach Redis. A password in the address never shows in the repr.

    >>> Endpoint.from_url("redis://:secret@cache:6379/0")
    Endpoint('redis://:***@cache:6379/0')
    """

    address: str
    """For people: without password and options."""
    backend: Literal["redis", "fakeredis"]
    connection: Mapping[str, Any] = field(repr=False, hash=False)
    """Keyword arguments of redis-py's connection pool."""
    cluster: bool = False
    """Whether the address is of a node of a Redis Cluster, to find the others by."""

    @classmethod
    def from_url(cls, url: str, *, credential_provider: CredentialProvider | None = None) -> Endpoint:
        """Return the endpoint that a `redis://`, `rediss://` or `unix://` address names.

        Args:
            url: As in `redis://host:6379/0`; `?cluster=true` says that it is a node of a Redis Cluster.
            credential_provider: Asked for user and password whenever a connection is opened, for tokens that
                expire; instead of those in the address.

        Raises:
            SettingsError: the address is of another kind, or sets an option that is not its own.
        """
        try:
            connection: dict[str, Any] = dict(parse_url(url))
        except ValueError as trouble:
            raise _refused(url, f"is not an address of Redis ({trouble}). {_FORMS}") from None
        cluster = _flag(url, str(connection.pop("cluster", "false")))
        if unknown := sorted(connection.keys() - _OPTIONS):
            remedy = (
                did_you_mean(unknown[0], _OPTIONS) or " Timeouts and sizes are the knobs PERFKIT_POOLS__…."
            )
            raise _refused(url, f"sets {unknown[0]!r}, which an address may not.{remedy}")
        if url.startswith("unix:") and "path" not in connection:
            raise _refused(url, f"names no socket. {_FORMS}")
        if cluster and ("path" in connection or connection.get("db")):
            raise _refused(url, "names a socket or a database, which a cluster has not.")
        if credential_provider is not None:
            if "password" in connection:
                raise _refused(
                    url, "holds a password, and a credential provider was given too: leave one out."
                )
            connection["credential_provider"] = credential_provider
        return cls(_masked(url), "redis", connection, cluster)

    @classmethod
    def embedded(
        cls, server: FakeServer | None = None, connection_class: type[AbstractConnection] | None = None
    ) -> Endpoint:
        """Return a stand-in that lives in this process.

        Args:
            server: Holds the data; endpoints that share one see the same keys. Default: a new, empty one.
            connection_class: A subclass of `fakeredis.FakeAsyncRedisConnection`, as for imitated latency.
        """
        import fakeredis  # a service with a real server never pays for it

        kind = connection_class or fakeredis.FakeAsyncRedisConnection
        server = server or fakeredis.FakeServer(version=(7,))
        return cls("embedded", "fakeredis", {"connection_class": kind, "server": server, "protocol": 2})

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, *, probe: Probe = log_probe) -> Endpoint:
        """Return what `PERFKIT_REDIS_URL` names, or the embedded stand-in, which is announced once a process.

        Raises:
            SettingsError: the address is refused.
            RealServerRequired: nothing is named and `PERFKIT_REQUIRE_REAL=1` forbids the stand-in.
        """
        global _said_once
        env = os.environ if env is None else env
        if url := env.get("PERFKIT_REDIS_URL"):
            return cls.from_url(url)
        refuse_embedded(env, _REMEDY)
        if not _said_once:
            _said_once = True
            probe(EmbeddedDefaultLoaded("fakeredis, a Redis within this process,", _REMEDY))
        return cls.embedded()

    def at(self, host: str, port: int) -> Endpoint:
        """Return the same way in, with its user, password and TLS, to another node."""
        return replace(self, connection={**self.connection, "host": host, "port": port})

    def __repr__(self) -> str:
        return f"Endpoint({self.address!r})"


def refuse_embedded(env: Mapping[str, str], remedy: str) -> None:
    """Raise `RealServerRequired` when the environment forbids every stand-in."""
    if env.get("PERFKIT_REQUIRE_REAL") == "1":
        raise RealServerRequired(
            f"PERFKIT_REQUIRE_REAL=1 forbids the embedded Redis, and no real one is configured. {remedy}",
            dependency="redis",
        )


def _refused(url: str, why: str) -> SettingsError:
    return SettingsError(f"{_masked(url)!r} {why}", path="PERFKIT_REDIS_URL")


def _flag(url: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise _refused(url, f"sets cluster={text!r}; write cluster=true or leave it out.")
    return text.lower() == "true"


def _masked(url: str) -> str:
    """Drop what may be secret: the password, and the query, where redis-py also accepts one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable address"
    credentials, at, host = parts.netloc.rpartition("@")
    user, colon, _password = credentials.partition(":")
    netloc = f"{user}{':***' if colon else ''}{at}{host}"
    return urlunsplit(parts._replace(netloc=netloc, query="", fragment=""))
