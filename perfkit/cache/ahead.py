"""Fetching ahead: what the prefetcher names is brought into memory behind the callers' backs.

How a key is loaded is known from when it was last asked for; a key that was never asked for is never named.
A load is then repeated after the request that brought it has ended, so a load that leans on something of that
request (a session, a user's rights) must say that it is not `repeatable`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from perfkit.cache.fetch import Fetch, Wanted
from perfkit.cache.prefetch import Prefetcher
from perfkit.cache.tiers import Tiers
from perfkit.resilience import Flight

__all__ = ["Ahead"]

MakeFetch: TypeAlias = Callable[[Wanted[Any]], Fetch[Any]]

_MOST_WAYS = 10_000


class Ahead:
    """Keeps how keys are loaded, and loads the next ones."""

    def __init__(self, tiers: Tiers, prefetcher: Prefetcher) -> None:
        self.prefetcher = prefetcher
        self._tiers = tiers
        self._ways: dict[str, tuple[Wanted[Any], MakeFetch]] = {}

    def asked(self, wanted: Wanted[Any], fetch: MakeFetch, *, loaded: bool) -> None:
        """Learn how a key is loaded, and whether somebody had to wait for the origin."""
        if loaded:
            self.prefetcher.loaded()
        if not wanted.repeatable:
            return
        ways = self._ways
        if wanted.full_key not in ways and len(ways) >= _MOST_WAYS:
            del ways[next(iter(ways))]
        ways[wanted.full_key] = wanted, fetch

    def follow(self, full_key: str) -> None:
        """Learn that a key was asked for, and fetch what probably comes next."""
        for successor in self.prefetcher.asked(full_key):
            way = self._ways.get(successor)
            if way is None or not self._tiers.flights.start(successor, self._fetching(*way)):
                self.prefetcher.returned(successor)

    def _fetching(self, wanted: Wanted[Any], make: MakeFetch) -> Callable[[Flight], Awaitable[Any]]:
        full_key, fetch = wanted.full_key, make(wanted)

        async def work(flight: Flight) -> Any:
            try:
                result = await fetch(flight)
            except BaseException:
                self.prefetcher.failed(full_key)
                raise
            entry = self._tiers.memory.peek(full_key)
            left = 0.0 if entry is None else entry.expires_s - self._tiers.clock()
            self.prefetcher.fetched(full_key, left)
            return result

        return work
