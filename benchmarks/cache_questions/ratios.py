"""How many requests each cache answers, beside its peers and the clairvoyant bound, on recorded traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cache_questions.peers import NOT_INSTALLED, named
from cache_questions.traffic import ABSENT, recorded, stand_in
from harness import table
from perfkit.cache import MemoryTier
from perfkit.cache.policies import belady_miss_ratio
from perfkit.lab.workload import Workload

SHARES = (0.003, 0.01, 0.03, 0.1, 0.2)
"""Sizes, as shares of the different objects. The adaptive policy was tuned at others, on half the traces."""
POLICIES = ("lru", "sieve", "s3fifo", "adaptive")
BELOW_PEERS, BELOW_LRU = 0.7, 0.1
"""Points that adaptive may be behind the best peer, and behind LRU where entries expire."""
LIVES_S = (10.0, 60.0, 600.0)
MAX_ENTRIES = 10_000


async def beside_peers(_rounds: int) -> str:
    """Replay each trace through each cache at five sizes: look up, and set what was missed."""
    peers, absent = {}, []
    for name, make in _peers().items():
        try:
            make(10)
        except ImportError:
            absent.append(f"{name}: {NOT_INSTALLED}.")
        else:
            peers[name] = make
    rows, at_least_lru, near_peers, points = [], 0, 0, 0
    for trace, workload in recorded():
        objects = workload.objects.tolist()
        for size in (max(16, round(workload.n_objects * share)) for share in SHARES):
            ours = {policy: ratio(objects, size, policy)[0] for policy in POLICIES}
            _found, tier = ratio(objects, size, "adaptive")
            theirs = {name: _ratio_of(make(size), workload) for name, make in peers.items()}
            best = max(theirs.values(), default=0.0)
            points += 1
            at_least_lru += ours["adaptive"] >= ours["lru"]
            near_peers += ours["adaptive"] >= best - BELOW_PEERS / 100
            learned = tier.policy.snapshot()  # type: ignore[attr-defined]  # the adaptive policy's
            rows.append(
                [
                    f"{trace}, {size:,}",
                    *(
                        f"{100 * found:.1f}"
                        for found in (1 - belady_miss_ratio(objects, size), *ours.values())
                    ),
                    *(f"{100 * found:.1f}" for found in theirs.values()),
                    f"{100 * (ours['adaptive'] - ours['lru']):+.2f}",
                    f"{100 * (ours['adaptive'] - best):+.2f}" if theirs else "",
                    learned.in_force,
                    f"{100 * learned.regret:.2f}",
                ]
            )
    if not rows:
        return ABSENT
    header = ["hit ratio, %", "Belady", *POLICIES, *peers, "adaptive − LRU", "adaptive − best peer"]
    said = f"Adaptive is at least LRU at {at_least_lru} of {points} points"
    if peers:
        said += f", and at least the best peer − {BELOW_PEERS} points at {near_peers}"
    return "\n".join([table([*header, "in force at the end", "its regret"], rows), "", f"{said}.", *absent])


async def with_ttl(_rounds: int) -> str:
    """Replay traces that have times, with entries that expire."""
    rows, kept, points = [], 0, 0
    for trace, workload in recorded():
        if not trace.startswith("twitter"):
            continue  # the others have no times
        objects, times = workload.objects.tolist(), workload.times_s.tolist()
        for size in (round(workload.n_objects * share) for share in (0.01, 0.05)):
            for life in LIVES_S:
                found = [ratio(objects, size, p, times, life)[0] for p in ("lru", "s3fifo", "adaptive")]
                points += 1
                kept += min(found[1:]) >= found[0] - BELOW_LRU / 100
                behind = [f"{100 * (other - found[0]):+.2f}" for other in found[1:]]
                rows.append([f"{trace}, {size:,}, {life:g} s", *(f"{100 * f:.2f}" for f in found), *behind])
    if not rows:
        return ABSENT
    header = ["hit ratio, %", "lru", "s3fifo", "adaptive", "s3fifo − LRU", "adaptive − LRU"]
    return f"{table(header, rows)}\n\nNeither is below LRU − {BELOW_LRU} points at {kept} of {points} points."


async def beside_libcachesim(_rounds: int) -> str:
    """Compare with the simulator of the policies' own authors: the ratios must be the same."""
    workload = next((found for _name, found in recorded()), None) or stand_in()
    objects = workload.objects.tolist()
    theirs = dict(_simulated(workload))
    bound = belady_miss_ratio(objects, MAX_ENTRIES)
    rows = [["belady", f"{bound:.4f}", theirs.get("belady", "not installed")]]
    for policy in ("lru", "sieve", "s3fifo"):
        ours = 1 - ratio(objects, MAX_ENTRIES, policy)[0]
        rows.append([policy, f"{ours:.4f}", theirs.get(policy, "not installed")])
    return table(
        [f"miss ratio, {MAX_ENTRIES:,} entries, {workload.name}", "perfkit", named("libcachesim")], rows
    )


def ratio(
    objects: list[int], size: int, policy: str, times: list[float] | None = None, life_s: float = 1.0
) -> tuple[float, MemoryTier]:
    """Replay requests through the shipping memory tier; without times nothing expires."""
    now = 0.0
    tier = MemoryTier(
        max_entries=size, max_bytes=1 << 40, policy=policy, clock=lambda: now, weigh=lambda _value: 1
    )
    keys = {number: str(number) for number in set(objects)}
    get, store = tier.get, tier.set
    for now, number in zip(times or [0.0] * len(objects), objects, strict=True):
        key = keys[number]
        if get(key, now) is None:
            store(key, None, ttl_seconds=life_s)
    return tier.hits / len(objects), tier


def _peers() -> dict[str, Callable[[int], Callable[[str], bool]]]:
    """Each returns a function that looks a key up, sets it if it is missed, and says whether it was there."""

    def theine(size: int) -> Callable[[str], bool]:
        import theine

        cache = theine.Cache(size, nolock=True)
        return lambda key: cache.get(key)[1] or cache.set(key, True) is True

    def moka(size: int) -> Callable[[str], bool]:
        import moka_py

        return _plain(moka_py.Moka(size), "set")

    def cachebox_lru(size: int) -> Callable[[str], bool]:
        import cachebox

        return _plain(cachebox.LRUCache(size), "insert")

    def cachebox_lfu(size: int) -> Callable[[str], bool]:
        import cachebox

        return _plain(cachebox.LFUCache(size), "insert")

    return {
        named("theine"): theine,
        named("moka-py"): moka,
        named("cachebox", "LRU"): cachebox_lru,
        named("cachebox", "LFU"): cachebox_lfu,
    }


def _plain(cache: Any, name_of_set: str) -> Callable[[str], bool]:
    get, store = cache.get, getattr(cache, name_of_set)

    def ask(key: str) -> bool:
        if get(key) is None:
            store(key, True)
            return False
        return True

    return ask


def _ratio_of(ask: Callable[[str], bool], workload: Workload) -> float:
    keys = {number: str(number) for number in set(workload.objects.tolist())}
    return sum(ask(keys[number]) for number in workload.objects.tolist()) / len(workload)


def _simulated(workload: Workload) -> Iterator[tuple[str, str]]:
    try:
        import libcachesim as peer
    except ImportError:
        return
    following = _next_requests(workload.objects)
    for name, kind in (
        ("lru", peer.LRU),
        ("sieve", peer.Sieve),
        ("s3fifo", peer.S3FIFO),
        ("belady", peer.Belady),
    ):
        cache, misses = kind(MAX_ENTRIES), 0
        for clock, number in enumerate(workload.objects.tolist()):
            request = peer.Request()
            request.obj_id, request.obj_size, request.clock_time = number, 1, clock
            request.next_access_vtime = following[clock]
            misses += not cache.get(request)
        yield name, f"{misses / len(workload):.4f}"


def _next_requests(objects: np.ndarray) -> list[int]:
    """Return when each request's object is asked for again; far away where it never is."""
    following = np.full(len(objects), np.iinfo(np.int64).max, dtype=np.int64)
    order = np.argsort(objects, kind="stable")
    same = objects[order][1:] == objects[order][:-1]
    following[order[:-1][same]] = order[1:][same]
    return following.tolist()
