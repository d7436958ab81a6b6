"""What fetching beforehand spares those who wait, what it costs the origin, and that it knows when to stop.

An LRU cache with a time to live is replayed without and with a `Prefetcher`; a fetch takes no time, so this
is what prediction can bring, before queueing and slow origins take their part.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence

from cache_questions.traffic import recorded
from harness import table
from perfkit.cache.prefetch import Prefetcher

MIN_PROBABILITY, BUDGET, TTL_S = 0.5, 0.2, 600.0
REQUESTS, LONGEST = 100_000, 400_000
NOISE_KEYS, WALKS, STEPS = 20_000, 2_000, 5
RATE_PER_S = 100.0

Asked = Sequence[tuple[str, Hashable]]


class Replayed:
    """A cache that was asked for all of it, with a prefetcher or without."""

    def __init__(self, asked: Asked, size: int, *, prefetch: bool) -> None:
        self.requests = len(asked)
        self.loads = self.fetches = 0
        self._now = 0.0
        self._size = size
        self._held: OrderedDict[str, float] = OrderedDict()
        self.prefetcher = Prefetcher(
            min_probability=MIN_PROBABILITY,
            budget=BUDGET,
            lifetime_seconds=TTL_S,
            held=self._is_held,
            clock=lambda: self._now,
        )
        began = time.process_time()
        for key, source in asked:
            self._ask(key, source, prefetch)
        self.processor_us = (time.process_time() - began) / len(asked) * 1e6

    @property
    def hit_ratio(self) -> float:
        """The share of requests nobody waited for."""
        return 1 - self.loads / self.requests

    def _ask(self, key: str, source: Hashable, prefetch: bool) -> None:
        self._now += 1 / RATE_PER_S
        if self._is_held(key):
            self._held.move_to_end(key)
        else:
            self.loads += 1
            self._keep(key)
            self.prefetcher.loaded()
        if prefetch:
            for following in self.prefetcher.asked(key, source):
                self.fetches += 1
                self._keep(following)
                self.prefetcher.fetched(following, TTL_S)

    def _is_held(self, key: str) -> bool:
        return self._held.get(key, -1.0) >= self._now

    def _keep(self, key: str) -> None:
        self._held[key] = self._now + TTL_S
        self._held.move_to_end(key)
        if len(self._held) > self._size:
            self._held.popitem(last=False)


async def worth(_rounds: int) -> str:
    """Replay walks with noise, requests at random, and recorded traces."""
    rows = []
    for name, asked, size in workloads():
        without, with_it = Replayed(asked, size, prefetch=False), Replayed(asked, size, prefetch=True)
        stats = with_it.prefetcher.stats()
        extra = with_it.loads + with_it.fetches - without.loads
        rows.append(
            [
                f"{name}, {size:,} entries",
                f"{without.hit_ratio:.1%}",
                f"{with_it.hit_ratio:.1%}",
                f"{(with_it.loads - without.loads) / without.loads:+.1%}",
                f"{extra / without.loads:+.1%}",
                f"{stats.used / stats.issued:.0%} of {stats.issued:,}" if stats.issued else "none fetched",
                "open" if stats.is_open else "closed",
                f"{with_it.processor_us - without.processor_us:.1f}",
            ]
        )
    header = [
        "",
        "hit ratio without",
        "with",
        "calls waited for",
        "calls in all",
        "fetches used",
        "gate at the end",
        "processor µs a request",
    ]
    return table(header, rows)


def workloads() -> list[tuple[str, Asked, int]]:
    """Return what is asked for, and how many entries there is room for."""
    mixture = walks(users=50, noise=0.2)
    made = [
        ("walks of 1 user", walks(users=1, noise=0.0), 500),
        ("walks of 50 users", walks(users=50, noise=0.0), 500),
        ("walks of 50 users, a fifth noise", mixture, 500),
        ("the same, users not told apart", [(key, 0) for key, _ in mixture], 500),
        ("walks of 50 users, half noise", walks(users=50, noise=0.5), 500),
        ("at random (Zipf 0.8)", zipf(), 500),
    ]
    traces = [
        (name, [(f"o{number}", 0) for number in workload.head(LONGEST).objects.tolist()], size)
        for name, workload in recorded()
        for size in {"web12": (137, 1_375), "orm-busy": (883, 4_417)}.get(name, ())
    ]
    return made + traces


def walks(*, users: int, noise: float) -> Asked:
    """Users who go through walks of five keys, popular ones more often, and now and then elsewhere."""
    rng = random.Random(1)  # noqa: S311  # a simulation, not a secret
    places = [(1, 0)] * users
    asked: list[tuple[str, Hashable]] = []
    while len(asked) < REQUESTS:
        user = rng.randrange(users)
        if rng.random() < noise:
            asked.append((f"elsewhere {rng.randrange(NOISE_KEYS)}", user))
            continue
        walk, step = places[user]
        asked.append((f"walk {walk} {step}", user))
        places[user] = (walk, step + 1) if step + 1 < STEPS else (min(int(rng.paretovariate(0.8)), WALKS), 0)
    return asked


def zipf() -> Asked:
    """Requests that have nothing to do with each other."""
    rng = random.Random(1)  # noqa: S311
    weights = [rank**-0.8 for rank in range(1, NOISE_KEYS + 1)]
    return [(f"k{key}", 0) for key in rng.choices(range(NOISE_KEYS), weights, k=REQUESTS)]
