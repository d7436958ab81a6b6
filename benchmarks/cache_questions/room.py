"""How many bytes an entry takes beyond its key and value, and how long the loop stands still for expiry."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc

from cache_questions.peers import named, ours, with_a_ttl
from harness import Estimate, Target, table, verdict
from perfkit.cache import MemoryTier

ENTRIES = 200_000
AT_MOST_BYTES = Target(200, at_most=True)
STALL_KEYS = 100_000
STALL_TARGET_MS = Target(2, at_most=True)
CASHEWS = named("cashews", "mem://, check_interval=1")


async def overhead(_rounds: int) -> str:
    """Set 200,000 entries with a time to live; only what Python allocates is seen, not a Rust cache's own."""
    keys = [f"key:{number}" for number in range(ENTRIES)]
    values = [b"x" * 100 for _ in range(ENTRIES)]
    makers = {f"perfkit, {policy}": policy for policy in ("s3fifo", "adaptive", "sieve", "lru")}
    rows = []
    for name, policy in makers.items():
        taken = _allocated(lambda policy=policy: ours(policy, ENTRIES + 1), keys, values)
        target = AT_MOST_BYTES if policy == "s3fifo" else None
        met = verdict(Estimate(taken, taken, taken), target)
        rows.append([name, f"{taken:.0f}", str(target or ""), met])
    for name, make in with_a_ttl(ENTRIES + 1, {}):
        if name.startswith("cachetools"):  # the others keep their entries where tracemalloc does not look
            rows.append([name, f"{_allocated(make, keys, values):.0f}", "", ""])
    return table(["", "bytes an entry beyond key and value", "target", "met"], rows)


async def stalls(rounds: int) -> str:
    """Let 100,000 entries expire at once and go on working: which single step took longest?"""
    ours_ms = {
        "perfkit, the longest set after 100,000 expired": _longest_set_ms,
        "perfkit, the longest set after clear() of 100,000, or clear() itself": _longest_after_clear_ms,
    }
    rows = []
    for name, measure in ours_ms.items():
        worst = sorted(measure() for _ in range(max(3, rounds)))
        middle = worst[len(worst) // 2]
        met = verdict(Estimate(middle, worst[0], worst[-1]), STALL_TARGET_MS)
        shown = f"{middle:.2f} ({worst[0]:.2f} to {worst[-1]:.2f})"
        rows.append([name, shown, str(STALL_TARGET_MS), met])
    theirs = await _cashews_ms()
    rows.append(
        [CASHEWS, "not installed, see scripts/peers.sh" if theirs is None else f"{theirs:.1f}", "", ""]
    )
    header = ["", "longest ms the loop stood still, median of repetitions (all of them)", "target", "met"]
    return table(header, rows)


def _allocated(make: object, keys: list[str], values: list[bytes]) -> float:
    gc.collect()
    tracemalloc.start()
    try:
        _get, store = make()  # type: ignore[operator]  # a maker of a pair
        for key, value in zip(keys, values, strict=True):
            store(key, value)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / len(keys)
    finally:
        tracemalloc.stop()


def _full_tier(now: list[float]) -> MemoryTier:
    tier = MemoryTier(max_entries=2 * STALL_KEYS, max_bytes=1 << 34, clock=lambda: now[0])
    for number in range(STALL_KEYS):
        tier.set(f"key:{number}", b"x", ttl_seconds=10)
    return tier


def _longest_set_ms() -> float:
    now = [0.0]
    tier = _full_tier(now)
    now[0] = 20.0
    return _longest_ms(tier)


def _longest_after_clear_ms() -> float:
    tier = _full_tier([0.0])
    start = time.process_time()
    tier.clear()
    return max((time.process_time() - start) * 1e3, _longest_ms(tier))


def _longest_ms(tier: MemoryTier) -> float:
    """Return what the longest of 10,000 sets took, in processor time: the machine may be shared."""
    gc.collect()
    gc.disable()  # a collection is the interpreter's stall, whatever runs
    longest, clock = 0.0, time.process_time
    for number in range(10_000):
        start = clock()
        tier.set(f"new:{number}", b"x", ttl_seconds=10)
        longest = max(longest, clock() - start)
    gc.enable()
    return longest * 1e3


async def _cashews_ms() -> float | None:
    try:
        from cashews import Cache
    except ImportError:
        return None
    cache = Cache()
    cache.setup(f"mem://?size={2 * STALL_KEYS}&check_interval=1")
    for number in range(STALL_KEYS):
        await cache.set(f"key:{number}", b"x", expire=60)
    longest, until = 0.0, time.perf_counter() + 4
    while time.perf_counter() < until:
        start = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - start)
    await cache.close()
    return longest * 1e3
