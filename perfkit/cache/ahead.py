"""Fetching ahead: what the prefetcher names is brought into memory behind the callers' backs.

How a key is loaded is known from when it was last asked for; a key that was never asked for is never named.
"""

from __future__ import annotations

from typing import Any

from perfkit.cache.fetch import Fetch, Wanted
from perfkit.cache.prefetch import Prefetcher
from perfkit.cache.stats import Counts
from perfkit.cache.tiers import Tiers
from perfkit.resilience import Flight

__all__ = ["Ahead"]

_MOST_WAYS = 10_000


class Ahead:
    """Keeps how keys are loaded, and loads the next ones."""

    def __init__(self, tiers: Tiers, counts: Counts, prefetcher: Prefetcher, namespace: str) -> None:
        self.prefetcher = prefetcher
        self._tiers = tiers
        self._counts = counts
        self._namespace = namespace
        self._ways: dict[str, Wanted[Any]] = {}

    def asked(self, wanted: Wanted[Any], *, loaded: bool) -> None:
        """Learn how a key is loaded, and whether somebody had to wait for the origin."""
        ways = self._ways
        if wanted.full_key not in ways and len(ways) >= _MOST_WAYS:
            del ways[next(iter(ways))]
        ways[wanted.full_key] = wanted
        if loaded:
            self.prefetcher.loaded()

    def follow(self, full_key: str) -> None:
        """Learn that a key was asked for, and fetch what probably comes next."""
        for successor in self.prefetcher.asked(full_key):
            wanted = self._ways.get(successor)
            if wanted is None or not self._tiers.flights.start(successor, self._fetching(wanted)):
                self.prefetcher.returned(successor)

    def _fetching(self, wanted: Wanted[Any]) -> Any:
        fetch = Fetch(self._tiers, self._counts, wanted, namespace=self._namespace)

        async def work(flight: Flight) -> Any:
            try:
                result = await fetch(flight)
            except BaseException:
                self.prefetcher.failed(wanted.full_key)
                raise
            entry = self._tiers.memory.peek(wanted.full_key)
            left = 0.0 if entry is None else entry.expires_s - self._tiers.clock()
            self.prefetcher.fetched(wanted.full_key, left)
            return result

        return work
