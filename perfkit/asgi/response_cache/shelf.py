"""Where responses are kept: puts them into the tiered cache, finds them there, and takes them back.

It finds in memory without a wait, and in Redis with one. What is put is in memory at once and on its way to
Redis behind the client's back. Of two answers the one asked for later stays, and none is put over an
invalidation that came after it was asked for; see `perfkit.cache.younger`.

Answers that may only be used after asking the application are kept in memory alone: they save bytes between
the application and here, which is one process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from perfkit.asgi.request import Request
from perfkit.asgi.response_cache.kept import Kept, Stored, opened, written_variants
from perfkit.asgi.response_cache.vary import Variants
from perfkit.asgi.settings import AsgiSettings
from perfkit.cache import TieredCache

__all__ = ["Shelf"]

_SAME_BIRTH_S = 1e-3
"""One birth told by two clocks differs by rounding: what is younger by less than this is the same answer."""

_AFTER_THE_END_S = 60.0
"""How much longer than it may be served an answer is kept, for clients that take what is stale."""

_TO_BE_VALIDATED_S = 3_600.0
"""The same for answers the application can be asked about: they may come back to life by a 304."""


class Shelf:
    """Kept responses, in a namespace of a tiered cache that is theirs alone."""

    def __init__(self, cache: TieredCache, settings: AsgiSettings) -> None:
        name = f"{cache.namespace}.responses" if cache.namespace else "responses"
        self._cache = cache.namespaced(name)
        self._settings = settings
        self._tiers = self._cache.tiers
        self.clock = self._tiers.clock
        self.epoch = self._tiers.epoch
        self.prefix = self._cache.full_key("")
        self._get = self._cache.serving.held
        self._counts = self._cache.serving.counts
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def cache(self) -> TieredCache:
        """The view of the cache that responses are in."""
        return self._cache

    def at_hand(self, target: str, request: Request) -> Kept | None:
        """Return what memory holds for a request, fresh or stale."""
        entry = self._get(target)
        if entry is None:
            return None
        value = entry.value
        if type(value) is Kept:
            return value
        if type(value) is tuple:
            value = entry.value = self._opened(value)
        if type(value) is Variants:
            entry = self._get(value.key_of(target, request.get))
            if entry is None:
                return None
            value = entry.value
            if type(value) is tuple:
                value = entry.value = self._opened(value)
        return value if type(value) is Kept else None

    async def find(self, target: str, request: Request) -> tuple[str, Kept | None, bool]:
        """Return the key an answer to a request has, the answer if it is kept, and whether others are."""
        found = await self._find(target)
        if type(found) is Variants:
            key = found.key_of(target, request.get)
            kept = await self._find(key)
            return key, kept if type(kept) is Kept else None, True
        return target, found if type(found) is Kept else None, False

    def key_at_hand(self, target: str, request: Request) -> tuple[str, bool]:
        """Return the key an answer to a request has as far as memory knows, and whether others are."""
        entry = self._tiers.memory.peek(target)
        value = None if entry is None else entry.value
        if type(value) is Variants:
            return value.key_of(target, request.get), True
        return target, False

    async def younger(self, key: str, than: Kept) -> Kept | None:
        """Return what Redis has under a key if another instance brought it after what is at hand."""
        tiers = self._tiers
        stored = None if tiers.remote is None else await tiers.read(key)
        if stored is None:
            return None
        kept = self._opened(stored.value)
        if type(kept) is not Kept or kept.born_s <= than.born_s + _SAME_BIRTH_S:
            return None
        left = stored.fresh_until_s - self.epoch()
        if left > 0:
            seconds = min(left, tiers.settings.l1_ttl_seconds)
            entry = tiers.memory.set(key, kept.value, ttl_seconds=seconds, born_s=kept.born_s)
            if entry is not None:
                entry.value = kept
        return kept

    def put(
        self, target: str, request: Request, names: tuple[bytes, ...], value: Stored, asked_epoch_s: float
    ) -> Kept:
        """Keep a response as the answer to a request; it is found from now on.

        Args:
            target: The key of the request's target.
            request: The request, whose fields say which variant it is.
            names: What the response varies by.
            value: What is stored of it.
            asked_epoch_s: When the application was asked.
        """
        kept = self.form(value)
        after = _TO_BE_VALIDATED_S if kept.can_be_validated else _AFTER_THE_END_S
        end = max(kept.fresh_until_s, kept.while_renewed_until_s, kept.if_error_until_s)
        seconds = end + after - self.clock()
        shared = end > kept.born_s
        if seconds <= 0:
            return kept
        key = target
        if names:
            key = self._variants(target, names, seconds, asked_epoch_s, shared).key_of(target, request.get)
        self._put(key, value, kept, seconds, asked_epoch_s, shared)
        return kept

    def form(self, value: Stored) -> Kept:
        """Return a response in the form in which it is served, without keeping it."""
        return Kept(value, self._settings, clock=self.clock, epoch=self.epoch)

    def drop(self, target: str) -> None:
        """Forget a target here and now; other instances are told by `take_back`."""
        self._tiers.drop(target)

    async def take_back(self, target: str) -> None:
        """Take back all answers of a target, on all instances."""
        await self._tiers.invalidate(target)

    async def clear(self) -> None:
        """Take back everything, on all instances."""
        await self._cache.clear()

    def loaded(self, seconds: float) -> None:
        """Count a request that the application answered."""
        self._counts.loads += 1
        self._counts.load_seconds += seconds

    def behind(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have something done that nobody waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Cancel what is under way, and wait until it has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _find(self, key: str) -> Kept | Variants | None:
        result = await self._cache.serving.find(key)
        if result is None:
            return None
        value = result.value
        if type(value) is not tuple:
            return value if isinstance(value, Kept | Variants) else None
        found = self._opened(value)
        entry = self._tiers.memory.peek(key)
        if entry is not None and entry.value is value:
            entry.value = found
        return found

    def _opened(self, value: object) -> Kept | Variants | None:
        return opened(value, self._settings, clock=self.clock, epoch=self.epoch)

    def _variants(
        self, target: str, names: tuple[bytes, ...], seconds: float, asked_epoch_s: float, shared: bool
    ) -> Variants:
        """Return the names a target's answers vary by, kept for as long as the latest of them."""
        entry = self._tiers.memory.peek(target)
        if entry is not None and type(entry.value) is Variants and entry.value.names == names:
            variants = entry.value
            if entry.expires_s >= self.clock() + seconds:
                return variants
        else:
            variants = Variants(names, f"{self.epoch():.6f}")
        self._put(target, written_variants(variants), variants, seconds, asked_epoch_s, shared)
        return variants

    def _put(
        self,
        key: str,
        value: Stored,
        form: Kept | Variants,
        seconds: float,
        asked_epoch_s: float,
        shared: bool,
    ) -> None:
        tiers = self._tiers
        here = seconds if tiers.remote is None else min(seconds, tiers.settings.l1_ttl_seconds)
        waited = max(self.epoch() - asked_epoch_s, 0.0)
        entry = tiers.memory.set(key, value, ttl_seconds=here, born_s=self.clock() - waited)
        if entry is not None:
            entry.value = form
        if tiers.remote is not None and shared:
            self.behind(self._write(key, value, seconds, asked_epoch_s))

    async def _write(self, key: str, value: Stored, seconds: float, asked_epoch_s: float) -> None:
        tiers = self._tiers
        remote = tiers.remote
        assert remote is not None  # noqa: S101  # for the type checker: asked before
        tiers.coherence.writing(key, asked_epoch_s)
        waited = max(self.epoch() - asked_epoch_s, 0.0)
        written = await remote.write(key, value, ttl_seconds=waited + seconds, born_epoch_s=asked_epoch_s)
        if written == "outrun":
            tiers.memory.delete(key)  # another instance knows something younger
