"""What a hit in memory costs, and a set that pushes another entry out."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from cache_questions.peers import CACHETOOLS, MOKA, VTTL, Get, Set, ours, with_a_ttl
from harness import Arm, Target, Timed, costs_table, interleaved

KEYS = 4_000
SETS, ROOM = 20_000, 5_000
VALUE = b"x" * 100
DICT = "dict, no limit and no TTL"


async def hits(rounds: int) -> str:
    """Look up keys that are there, in random order; the dict is what no cache in Python can go below."""
    keys = [f"emb:v3:user:{number:08d}" for number in range(KEYS)]
    absent: dict[str, str] = {}
    arms: dict[str, Arm] = {}
    for policy in ("s3fifo", "adaptive", "lru", "sieve"):
        arms[f"perfkit, {policy}"] = Timed(got(*ours(policy, 2 * KEYS), keys), step=KEYS)
    for name, make in with_a_ttl(2 * KEYS, absent):
        arms[name] = Timed(got(*make(), keys), step=KEYS)
    table = dict[str, bytes]()
    arms[DICT] = Timed(got(table.get, table.__setitem__, keys), step=KEYS)
    targets = {VTTL: Target(3, at_most=True), MOKA: Target(0.75, at_most=True)}
    targets[CACHETOOLS] = Target(0.35, at_most=True)
    readings = await interleaved(arms, rounds)
    return costs_table(readings, targets, unit="hit", absent=absent, ours_over_theirs=True)


async def sets(rounds: int) -> str:
    """Set four times as many new keys as there is room for."""
    keys = [f"emb:v3:user:{number:08d}" for number in range(SETS)]
    absent: dict[str, str] = {}
    arms: dict[str, Arm] = {}
    for policy in ("s3fifo", "adaptive", "lru", "sieve"):
        arms[f"perfkit, {policy}"] = Timed(put(ours(policy, ROOM)[1], keys), step=SETS)
    for name, make in with_a_ttl(ROOM, absent):
        arms[name] = Timed(put(make()[1], keys), step=SETS)
    targets = {MOKA: Target(2.5, at_most=True)}
    readings = await interleaved(arms, rounds)
    return costs_table(readings, targets, unit="set", absent=absent, ours_over_theirs=True)


def got(get: Get, store: Set, keys: list[str]) -> Callable[[int], Awaitable[int]]:
    """Return work that looks up what it first stores."""
    for key in keys:
        store(key, VALUE)
    shuffled = random.Random(1).sample(keys, len(keys))  # noqa: S311  # an order of keys, not a secret

    async def work(operations: int) -> int:
        for _ in range(operations // len(shuffled)):
            for key in shuffled:
                get(key)
        return operations

    return work


def put(store: Set, keys: list[str]) -> Callable[[int], Awaitable[int]]:
    """Return work that sets more keys than there is room for, again and again."""

    async def work(operations: int) -> int:
        for _ in range(operations // len(keys)):
            for key in keys:
                store(key, VALUE)
        return operations

    return work
