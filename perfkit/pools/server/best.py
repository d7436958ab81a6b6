"""The most real Redis there is for a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

import redis

from perfkit.errors import Unavailable
from perfkit.events import EmbeddedDefaultLoaded, Probe, log_probe
from perfkit.pools.endpoint import Endpoint, refuse_embedded
from perfkit.pools.server.binary import INSTALL, find_server
from perfkit.pools.server.redis_server import RedisServer
from perfkit.pools.server.version import info_of, name_and_version

__all__ = ["open_endpoint"]


@contextlib.contextmanager
def open_endpoint(
    env: Mapping[str, str] | None = None, *, probe: Probe = log_probe
) -> Iterator[tuple[Endpoint, str]]:
    """Yield the most real Redis there is, and what to call it in results.

    `PERFKIT_REDIS_URL` if set, called by its own name and version; else a server of our own, likewise; else
    the embedded stand-in, called `fakeredis`, whose numbers are no measurement.

    Raises:
        SettingsError: `PERFKIT_REDIS_URL` or `PERFKIT_REDIS_SERVER` is refused.
        RealServerRequired: there is only the stand-in, and `PERFKIT_REQUIRE_REAL=1` forbids it.
        Unavailable: the server that is named does not answer or start.
    """
    env = os.environ if env is None else env
    if url := env.get("PERFKIT_REDIS_URL"):
        endpoint = Endpoint.from_url(url)
        yield endpoint, _version_at(url, endpoint)
    elif binary := find_server(env):
        with RedisServer.start(binary=binary) as server:
            yield Endpoint.from_url(server.url), server.version
    else:
        refuse_embedded(env, INSTALL)
        probe(EmbeddedDefaultLoaded("fakeredis, a Redis within this process,", INSTALL))
        yield Endpoint.embedded(), "fakeredis"


def _version_at(url: str, endpoint: Endpoint) -> str:
    try:
        return name_and_version(info_of(url))
    except redis.ResponseError:  # INFO is not for this user; the server is there all the same
        return "redis of unknown version"
    except redis.RedisError as trouble:
        raise Unavailable(
            f"PERFKIT_REDIS_URL names {endpoint.address}, which does not answer: {trouble}. Start it, or "
            "remove the variable to use a server of our own.",
            dependency="redis",
        ) from None
