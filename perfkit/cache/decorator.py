"""`@cached`: a function that remembers its answers, and the process-wide caches behind it."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Generic, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from perfkit.cache.environment import PREFIX, environments_client, environments_settings
from perfkit.cache.keys import CallKey
from perfkit.cache.remote import RemoteTier
from perfkit.cache.tiered import TieredCache

__all__ = ["CachedFunction", "cached", "get_tiered_cache"]

P = ParamSpec("P")
T = TypeVar("T")

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
        caches = _of_loop.setdefault(asyncio.get_running_loop(), {})
    except RuntimeError:  # called while a module is imported, before any loop runs
        caches = _before_any_loop
    if namespace not in caches:
        settings = environments_settings()
        remote = RemoteTier(
            environments_client,
            prefix=PREFIX,
            compress_min_bytes=settings.l2_compress_min_bytes,
            entry_max_bytes=settings.l2_entry_max_bytes,
        )
        memory = next((cache.memory for cache in caches.values()), None)
        caches[namespace] = TieredCache(settings, remote=remote, namespace=namespace, memory=memory)
    return caches[namespace]


class CachedFunction(Generic[P, T]):
    """A coroutine function whose answers are kept; called like the function itself."""

    def __init__(
        self,
        function: Callable[P, Awaitable[T]],
        *,
        ttl_seconds: float,
        namespace: str,
        l1_ttl_seconds: float | None,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._key = CallKey(function)
        self._namespace = namespace
        self._ttl_seconds = ttl_seconds
        self._l1_ttl_seconds = l1_ttl_seconds

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the kept answer, or call the function and keep what it returns."""
        return await self._cache.get_or_load(
            self.key_for(*args, **kwargs),
            lambda: self._function(*args, **kwargs),
            l1_ttl_seconds=self._l1_ttl_seconds,
            l2_ttl_seconds=self._ttl_seconds,
        )

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of a call."""
        return self._key(*args, **kwargs)

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the answer to a call."""
        await self._cache.delete(self.key_for(*args, **kwargs))

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function whatever is kept, and keep what it returns."""
        value = await self._function(*args, **kwargs)
        key = self.key_for(*args, **kwargs)
        await self._cache.set(
            key, value, l1_ttl_seconds=self._l1_ttl_seconds, l2_ttl_seconds=self._ttl_seconds
        )
        return value

    @property
    def _cache(self) -> TieredCache:
        return get_tiered_cache(self._namespace)


def cached(
    ttl_seconds: float, namespace: str, *, l1_ttl_seconds: float | None = None
) -> Callable[[Callable[P, Awaitable[T]]], CachedFunction[P, T]]:
    """Keep a coroutine function's answers for `ttl_seconds`.

    Args:
        ttl_seconds: How long an answer is served before the function is called again.
        namespace: Keeps this function's answers apart from all others'; use one per function.
        l1_ttl_seconds: How long this process answers without asking Redis; default the setting.

    >>> @cached(ttl_seconds=300, namespace="double")
    ... async def double(n: int, *, by: int = 2) -> int:
    ...     return n * by
    >>> double.key_for(21) == double.key_for(n=21, by=2)
    True

    Raises:
        TypeError: what is decorated is not a coroutine function.
    """

    def decorate(function: Callable[P, Awaitable[T]]) -> CachedFunction[P, T]:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{getattr(function, '__qualname__', function)} is not an async function; "
                "cached(...) keeps what a coroutine returns."
            )
        return CachedFunction(
            function, ttl_seconds=ttl_seconds, namespace=namespace, l1_ttl_seconds=l1_ttl_seconds
        )

    return decorate
