"""The caches of this process: one set of tiers for each event loop, as the environment configures it."""

from __future__ import annotations

import asyncio
import os
from weakref import WeakKeyDictionary

from perfkit.cache.environment import PREFIX, environments_client, environments_settings
from perfkit.cache.tiered import TieredCache
from perfkit.cache.tiers import Tiers
from perfkit.clock import Clock, clock_of, now_s

__all__ = ["get_tiered_cache"]

_Caches = dict[str, TieredCache]
_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Caches] = WeakKeyDictionary()
_before_any_loop: _Caches = {}


def get_tiered_cache(namespace: str = "") -> TieredCache:
    """Return the cache of a namespace, as the environment configures it, shared by all of the running loop.

    Namespaces share the room in memory and no entry. Redis is connected to when it is first needed.

    Raises:
        SettingsError: a `PERFKIT_CACHE__…` variable is refused.
    """
    try:
        loop = asyncio.get_running_loop()
        caches, clock = _of_loop.setdefault(loop, {}), clock_of(loop)
    except RuntimeError:  # called while a module is imported, before any loop runs
        caches, clock = _before_any_loop, now_s
    cache = caches.get(namespace)
    if cache is None:
        first = next(iter(caches.values()), None)
        tiers = _tiers_of_environment(clock) if first is None else first.tiers
        cache = caches[namespace] = TieredCache(tiers=tiers, namespace=namespace)
    return cache


def _tiers_of_environment(clock: Clock) -> Tiers:
    alone = not os.environ.get("PERFKIT_REDIS_URL")  # the embedded stand-in is this process's own
    return Tiers.over(
        environments_client,
        environments_settings(),
        prefix=PREFIX,
        alone=alone,
        record_to=os.environ.get("PERFKIT_RECORD_FILE") or None,
        record_secret=os.environ.get("PERFKIT_RECORD_SECRET", "").encode() or None,
        clock=clock,
    )
