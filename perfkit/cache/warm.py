"""Warming: asking for what will be asked for, before anybody waits.

A fixed number of workers takes keys from wherever they come and loads one after another. Nothing is gathered
first, so a file of millions of keys costs no memory; a key that fails is noted and the next one taken; when
the time is over, what is not done is left, and the report says so. An instance that stands behind a startup
probe warms for as long as the probe allows and serves afterwards, warm or not: a cold cache is slow, an
instance that never starts is worse.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sized
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from perfkit.cache.prefetch import NOBODY, prefetch_source
from perfkit.cache.warm_keys import Call, keys_from_file, most_requested
from perfkit.clock import Clock, now_s
from perfkit.errors import SettingsError

__all__ = ["Call", "WarmReport", "Warmer", "keys_from_file", "most_requested"]

K = TypeVar("K")

Keys: TypeAlias = Iterable[K] | AsyncIterable[K] | Callable[[], Any]
"""Keys, or a function that returns them, at once or when awaited."""

_PROGRESS_EVERY = 100


class Looks(Protocol):
    """What a tiered cache is to a warmer."""

    async def lookup(self, key: str, load: Callable[[], Awaitable[Any]]) -> Any:
        """Return an answer that says which tier it came from."""


@dataclass(frozen=True, slots=True)
class WarmReport:
    """What warming has done.

    `left` counts the keys that were not finished when the time was over; None when nobody knows how many.
    """

    warmed: int
    already: int
    failed: int
    left: int | None
    seconds: float
    errors: tuple[str, ...] = ()
    """The first failures, each with its key."""

    @property
    def complete(self) -> bool:
        """Whether every key was tried."""
        return self.left == 0

    def __str__(self) -> str:
        left = {0: "", None: ", the rest left when the time was over"}.get(
            self.left, f", {self.left} left when the time was over"
        )
        why = f" (first: {self.errors[0]})" if self.errors else ""
        return (
            f"{self.warmed} warmed, {self.already} already there, {self.failed} failed{why}{left}, "
            f"in {self.seconds:.1f} s"
        )


class Warmer(Generic[K]):
    """Loads keys a few at a time.

    >>> async def load(key: str) -> str:
    ...     if key == "c":
    ...         raise LookupError("no c")
    ...     return key.upper()
    >>> report = asyncio.run(Warmer(load).warm(["a", "b", "c"]))
    >>> report.warmed, report.failed, report.errors
    (2, 1, ("'c': LookupError: no c",))
    """

    def __init__(
        self,
        load_one: Callable[[K], Awaitable[object]],
        *,
        concurrency: int = 8,
        rate_per_s: float | None = None,
        is_there: Callable[[K], object] | None = None,
        progress: Callable[[WarmReport], None] | None = None,
        max_errors: int = 10,
        clock: Clock = now_s,
    ) -> None:
        """Warm nothing yet.

        Args:
            load_one: Puts one key's answer into the cache. What it returns tells whether it was there
                already, if it has a `tier` that is not `origin` (`CacheResult`).
            concurrency: How many are loaded at a time: what the origin can bear beside its other callers.
            rate_per_s: At most so many are begun in a second.
            is_there: Tells whether a key need not be loaded; may be awaitable.
            progress: Told now and then, at every 100th key and at the end. It must not raise.
            max_errors: So many failures are kept to be shown.
            clock: What the time limit and the rate count on.

        Raises:
            SettingsError: concurrency is below 1, or the rate is not above 0.
        """
        if concurrency < 1 or (rate_per_s is not None and not rate_per_s > 0):
            raise SettingsError(
                f"concurrency={concurrency}, rate_per_s={rate_per_s} is refused: nothing would ever be "
                "warmed. Write at least 1, and a rate above 0 or None.",
                path="concurrency" if concurrency < 1 else "rate_per_s",
                value=concurrency if concurrency < 1 else rate_per_s,
                allowed=">= 1" if concurrency < 1 else "> 0",
            )
        self._load_one = load_one
        self._concurrency = concurrency
        self._gap_s = 1 / rate_per_s if rate_per_s else 0.0
        self._is_there = is_there
        self._progress = progress
        self._max_errors = max_errors
        self._clock = clock
        self._ready = asyncio.Event()
        self.report: WarmReport | None = None
        """Of the last warming that ended."""

    @classmethod
    def of_function(cls, function: Any, **options: Any) -> Warmer[Any]:
        """Warm a decorated function: a key is a `Call`, a tuple of arguments, or its only argument.

        What the function's cache holds is not asked for again.
        """
        peek = getattr(function, "peek", None)

        async def load(key: object) -> None:
            call = Call.of(key)
            await function(*call.args, **call.kwargs)

        async def is_there(key: object) -> bool:
            call = Call.of(key)
            return peek is not None and await peek(*call.args, **call.kwargs) is not None

        return Warmer(load, is_there=is_there, **options)

    @classmethod
    def of_cache(cls, cache: Looks, load: Callable[[str], Awaitable[object]], **options: Any) -> Warmer[str]:
        """Warm a tiered cache: `load(key)` is called for what neither memory nor Redis holds."""
        return Warmer(lambda key: cache.lookup(key, lambda: load(key)), **options)

    @property
    def ready(self) -> bool:
        """Whether warming has ended: all keys tried, or the time over. A startup probe answers with this."""
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        """Wait until `ready`."""
        await self._ready.wait()

    async def warm(self, keys: Keys[K], *, within_seconds: float | None = None) -> WarmReport:
        """Load every key, or as many as can be in the time.

        Args:
            keys: An iterable, an asynchronous one, or a function that returns one. A key that is an exception
                counts as failed, and a source that breaks off ends the warming: the report names both.
            within_seconds: When it is over, what is being loaded is cancelled and the rest left.
        """
        run = _Run(self._clock())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_seconds):
                    source = await _opened(keys, run)
                    try:
                        await self._work(source, run)
                    finally:
                        await _closed(source)
                    run.ended = True
        finally:
            self.report = self._reported(run)
        self._ready.set()
        self._tell(run)
        return self.report

    async def _work(self, source: AsyncIterator[K], run: _Run) -> None:
        workers = [asyncio.ensure_future(self._worker(source, run)) for _ in range(self._concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _worker(self, source: AsyncIterator[K], run: _Run) -> None:
        prefetch_source.set(NOBODY)  # in this task alone, and in what it awaits
        while True:
            async with run.turn:  # one at a time may advance an asynchronous generator
                if run.exhausted:
                    return
                try:
                    key = await anext(source)
                except StopAsyncIteration:
                    run.exhausted = True
                    return
                except Exception as error:
                    run.exhausted = True
                    run.failures.append(f"the source of keys: {type(error).__name__}: {error}")
                    run.broken = True
                    return
                await self._paced(run)
            await self._one(key, run)
            if run.done % _PROGRESS_EVERY == 0:
                self._tell(run)

    async def _one(self, key: K, run: _Run) -> None:
        try:
            if isinstance(key, Exception):
                raise key
            if self._is_there is not None:
                there = self._is_there(key)
                if await there if inspect.isawaitable(there) else there:
                    run.already += 1
                    return
            outcome = await self._load_one(key)
        except Exception as error:
            run.failed += 1
            if len(run.failures) < self._max_errors:
                told = f"{type(error).__name__}: {error}"
                run.failures.append(told if key is error else f"{key!r:.100}: {told}")
        else:
            if getattr(outcome, "tier", "origin") == "origin":
                run.warmed += 1
            else:
                run.already += 1

    async def _paced(self, run: _Run) -> None:
        if self._gap_s:
            now = self._clock()
            wait = run.next_start - now
            run.next_start = max(run.next_start, now) + self._gap_s
            if wait > 0:
                await asyncio.sleep(wait)

    def _tell(self, run: _Run) -> None:
        if self._progress is not None:
            self._progress(self._reported(run))

    def _reported(self, run: _Run) -> WarmReport:
        left: int | None = None
        if run.size is not None:
            left = max(run.size - run.done, 0)
        elif run.ended and not run.broken:
            left = 0
        return WarmReport(
            run.warmed, run.already, run.failed, left, self._clock() - run.began, tuple(run.failures)
        )


class _Run:
    """One warming under way."""

    def __init__(self, began: float) -> None:
        self.began = self.next_start = began
        self.size: int | None = None
        self.warmed = self.already = self.failed = 0
        self.failures: list[str] = []
        self.exhausted = self.ended = self.broken = False
        self.turn = asyncio.Lock()

    @property
    def done(self) -> int:
        return self.warmed + self.already + self.failed


async def _opened(keys: Any, run: _Run) -> AsyncIterator[Any]:
    try:
        if callable(keys) and not isinstance(keys, Iterable | AsyncIterable):
            keys = keys()
        if inspect.isawaitable(keys):
            keys = await keys
        if isinstance(keys, Sized):
            run.size = len(keys)
        if isinstance(keys, AsyncIterable):
            return aiter(keys)
        return _one_by_one(iter(keys))
    except Exception as error:  # a list of keys that cannot be had must not keep a service from starting
        run.failures.append(f"the source of keys: {type(error).__name__}: {error}")
        run.broken = True
        return _one_by_one(iter(()))


async def _one_by_one(keys: Any) -> AsyncIterator[Any]:
    for key in keys:
        yield key


async def _closed(source: AsyncIterator[Any]) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        with suppress(Exception):
            await close()
