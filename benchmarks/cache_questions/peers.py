"""The caches that are measured beside each other, each as its documentation has it, in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from perfkit.cache import MemoryTier

Get = Callable[[str], Any]
Set = Callable[[str, Any], Any]
Pair = tuple[Get, Set]

NOT_INSTALLED = "not installed, see scripts/peers.sh"
TTL_S = 3_600.0


def named(package: str, what: str = "") -> str:
    """Return a peer's name with its version, or the name alone where it is not installed."""
    try:
        return f"{package} {version(package)} {what}".strip()
    except PackageNotFoundError:
        return f"{package} {what}".strip()


VTTL = named("cachebox", "VTTLCache")
MOKA = named("moka-py", "with a TTL an entry")
CACHETOOLS = named("cachetools", "TTLCache")
THEINE = named("theine", "nolock, with a TTL an entry")


def ours(policy: str, max_entries: int) -> Pair:
    """Return perfkit's tier, on its own clock."""
    tier = MemoryTier(max_entries=max_entries, max_bytes=1 << 34, policy=policy)
    store = tier.set
    return tier.get, lambda key, value: store(key, value, ttl_seconds=TTL_S)


def with_a_ttl(max_entries: int, absent: dict[str, str]) -> Iterator[tuple[str, Callable[[], Pair]]]:
    """Yield makers of caches whose entries expire; name those that are not installed in `absent`."""
    try:
        import cachebox
    except ImportError:
        absent[VTTL] = NOT_INSTALLED
    else:

        def vttl() -> Pair:
            cache = cachebox.VTTLCache(max_entries)
            return cache.get, lambda key, value: cache.insert(key, value, TTL_S)

        yield VTTL, vttl
    try:
        import moka_py
    except ImportError:
        absent[MOKA] = NOT_INSTALLED
    else:

        def moka() -> Pair:
            cache = moka_py.Moka(max_entries)
            return cache.get, lambda key, value: cache.set(key, value, ttl=TTL_S)

        yield MOKA, moka
    try:
        import cachetools
    except ImportError:
        absent[CACHETOOLS] = NOT_INSTALLED
    else:

        def tools() -> Pair:
            cache = cachetools.TTLCache(max_entries, TTL_S)
            return cache.get, cache.__setitem__

        yield CACHETOOLS, tools
    try:
        import theine
    except ImportError:
        absent[THEINE] = NOT_INSTALLED
    else:
        life = timedelta(seconds=TTL_S)

        def wtinylfu() -> Pair:
            cache = theine.Cache(max_entries, nolock=True)
            return cache.get, lambda key, value: cache.set(key, value, life)

        yield THEINE, wtinylfu
