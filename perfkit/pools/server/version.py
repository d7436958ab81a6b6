"""What a server says it is."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import redis

__all__ = ["info_of", "name_and_version"]


def info_of(url: str) -> dict[str, Any]:
    """Return what INFO says of the server; blocks for two seconds at most."""
    with contextlib.closing(redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)) as client:
        info: dict[str, Any] = client.info("server")
    return info


def name_and_version(info: Mapping[str, Any]) -> str:
    """Valkey calls itself `redis_version:7.2.4` for old clients' sake; its own version stands beside."""
    if "valkey_version" in info:
        return f"valkey {info['valkey_version']}"
    return f"redis {info.get('redis_version', 'of unknown version')}"
