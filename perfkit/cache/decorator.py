"""`@cached`: a coroutine function that remembers its answers.

A hit costs a look at the call's arguments, one look-up in memory and no suspension. The key of a call is
worked out once and kept beside the arguments, where these are plain (text, bytes, whole numbers, None) and
short; equal arguments of another type have another key, so their types are compared too.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable
from threading import get_ident
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, cast

from perfkit.cache.fetch import CacheResult, Wanted
from perfkit.cache.keys import CallKey
from perfkit.cache.process import get_tiered_cache
from perfkit.cache.serving import Serving
from perfkit.cache.stats import CacheStats
from perfkit.cache.tiered import TieredCache

__all__ = ["CachedFunction", "cached"]

P = ParamSpec("P")
T = TypeVar("T")

Copies = Literal["none", "shallow", "deep"]
_COPIES: dict[Copies, Callable[[Any], Any] | None] = {
    "none": None,
    "shallow": copy.copy,
    "deep": copy.deepcopy,
}
_PLAIN = frozenset({str, bytes, int, bool, type(None)})
_NO_LOOP: Any = None
_KNOWN_CALLS = 4_096
_LONGEST_KNOWN = 250


class CachedFunction(Protocol[P, T]):
    """A coroutine function whose answers are kept: called like the function itself, with handles beside."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the kept answer, or call the function and keep what it returns."""
        ...

    def cache(self) -> TieredCache:
        """Return the cache of the function's namespace, for the running loop."""
        ...

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of a call, within the namespace."""
        ...

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Take back the answer to a call, everywhere; see `TieredCache.invalidate`."""
        ...

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function whatever is kept, keep what it returns, and tell the other instances."""
        ...

    async def peek(self, *args: P.args, **kwargs: P.kwargs) -> CacheResult[T] | None:
        """Return the kept answer to a call, or None; the function is not called, nothing is counted."""
        ...

    def stats(self) -> CacheStats:
        """Return what the cache of the function's namespace has done."""
        ...


class _Calls(Generic[P, T]):
    """The calls of one function: their keys, and where their answers are."""

    def __init__(
        self,
        function: Callable[P, Awaitable[T]],
        *,
        ttl_seconds: float,
        namespace: str,
        l1_ttl_seconds: float | None = None,
        tags: Iterable[str] | Callable[..., Iterable[str]] = (),
        ignore: Collection[str] = (),
        copies: Copies = "none",
        cost_per_call: float = 0.0,
    ) -> None:
        self._function = function
        self._call_key = CallKey(function, ignore=ignore)
        self._namespace = namespace
        self._ttl_seconds = ttl_seconds
        self._l1_ttl_seconds = l1_ttl_seconds
        self._tags = tags if callable(tags) else tuple(tags)
        self._cost_per_call = cost_per_call
        self._copied = _COPIES[copies]
        self._repeatable = not ignore  # what is ignored belongs to one request, such as a session
        self._thread = 0
        self._loop: asyncio.AbstractEventLoop = _NO_LOOP
        self._here: TieredCache
        self._serving: Serving
        self._known: dict[tuple[object, ...], tuple[type | tuple[type, ...], str]] = {}

    def cache(self) -> TieredCache:
        self._enter()
        return self._here

    def _enter(self) -> Serving:
        """Find the running loop's cache."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop or self._thread != get_ident():
            self._here = get_tiered_cache(self._namespace)
            serving = self._here.serving
            serving.cost_per_load = self._cost_per_call or serving.cost_per_load
            self._loop, self._thread, self._serving = loop, get_ident(), serving
        return self._serving

    def function(self) -> CachedFunction[P, T]:
        """Return the function that is called instead: a plain one, which binds and inspects as any does."""

        copied = self._copied

        @functools.wraps(self._function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            # Comparing threads and asking the loop whether it runs says the same as asking which loop is
            # running, at a third of what that costs before Python 3.12.
            here = get_ident() == self._thread and self._loop.is_running()
            serving = self._serving if here else self._enter()
            try:
                kinds, full_key = self._known[args]
                if kwargs or (type(args[0]) if len(args) == 1 else tuple(map(type, args))) != kinds:
                    full_key = self._full_key(args, kwargs)
            except (KeyError, TypeError):  # not known; or an argument without a hash, a list, say
                full_key = self._full_key(args, kwargs)
            entry = serving.held(full_key)
            if entry is not None:
                value: T = entry.value  # type: ignore[assignment]  # stored under the key of such a call
            else:
                value = (await serving.ask(self._wanted(full_key, args, kwargs))).value
            return value if copied is None else copied(value)

        for handle in (self.cache, self.key_for, self.invalidate, self.refresh, self.peek, self.stats):
            setattr(call, handle.__name__, handle)
        return cast("CachedFunction[P, T]", call)

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        return self._call_key(*args, **kwargs)

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        return await self.cache().invalidate(self.key_for(*args, **kwargs))

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.cache().refresh(
            self.key_for(*args, **kwargs),
            lambda: self._function(*args, **kwargs),
            l1_ttl_seconds=self._l1_ttl_seconds,
            l2_ttl_seconds=self._ttl_seconds,
            tags=self._tags_of(args, kwargs),
        )

    async def peek(self, *args: P.args, **kwargs: P.kwargs) -> CacheResult[T] | None:
        return await self.cache().peek(self.key_for(*args, **kwargs))

    def stats(self) -> CacheStats:
        return self.cache().stats()

    def _full_key(self, args: tuple[object, ...], kwargs: dict[str, object]) -> str:
        """Work out the key of a call, and remember it where that is safe and worth it."""
        full_key = self.cache().full_key(self._call_key(*args, **kwargs))
        types = tuple(map(type, args))
        if not kwargs and len(full_key) <= _LONGEST_KNOWN and _PLAIN.issuperset(types):
            if len(self._known) >= _KNOWN_CALLS:
                self._known.clear()
            self._known[args] = types[0] if len(types) == 1 else types, full_key
        return full_key

    def _wanted(self, full_key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Wanted[T]:
        tags = self._tags_of(args, kwargs)
        return self.cache().wanted(
            full_key,
            lambda: self._function(*args, **kwargs),
            l1_ttl_seconds=self._l1_ttl_seconds,
            l2_ttl_seconds=self._ttl_seconds,
            tags=tags,
            repeatable=self._repeatable,
        )

    def _tags_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterable[str]:
        return self._tags(*args, **kwargs) if callable(self._tags) else self._tags


def cached(
    ttl_seconds: float,
    namespace: str,
    *,
    l1_ttl_seconds: float | None = None,
    tags: Iterable[str] | Callable[..., Iterable[str]] = (),
    ignore: Collection[str] = (),
    copies: Copies = "none",
    cost_per_call: float = 0.0,
) -> Callable[[Callable[P, Awaitable[T]]], CachedFunction[P, T]]:
    """Keep a coroutine function's answers for `ttl_seconds`.

    Args:
        ttl_seconds: How long an answer is served before the function is called again.
        namespace: Keeps this function's answers apart from all others'; use one per function.
        l1_ttl_seconds: How long this process answers without asking Redis; default the setting.
        tags: What answers can be taken back by, together; a function makes them of a call's arguments.
        ignore: Names of parameters that do not change the answer (a session, `self`); not part of the key.
        copies: Whether callers get the kept object itself, or a `shallow` or `deep` copy of their own.
        cost_per_call: What a call costs, in any currency; `stats().saved_cost` goes by it.

    >>> @cached(ttl_seconds=300, namespace="double")
    ... async def double(n: int, *, by: int = 2) -> int:
    ...     return n * by
    >>> double.key_for(21) == double.key_for(n=21, by=2)
    True

    Raises:
        TypeError: what is decorated is not a coroutine function, or has no parameter that `ignore` names.
    """

    def decorate(function: Callable[P, Awaitable[T]]) -> CachedFunction[P, T]:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{getattr(function, '__qualname__', function)} is not an async function; "
                "cached(...) keeps what a coroutine returns."
            )
        return _Calls(
            function,
            ttl_seconds=ttl_seconds,
            namespace=namespace,
            l1_ttl_seconds=l1_ttl_seconds,
            tags=tags,
            ignore=ignore,
            copies=copies,
            cost_per_call=cost_per_call,
        ).function()

    return decorate
