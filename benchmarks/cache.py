"""Cache: the modelled surface beside its replay, the policies beside libcachesim, a look-up beside a dict.

A trace is an argument; without one a generated workload of the same size stands in. libcachesim is a peer
(`bash scripts/peers.sh`) and left out where it is not installed. Processor time, not wall time: the machine
may be shared.

    perfkit bench cache [--peers] [--rounds N]
    python benchmarks/cache.py [TRACE] [--all-cells] [--rounds N]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from perfkit.cache import MemoryTier
from perfkit.cache.policies import belady_miss_ratio
from perfkit.cache.settings import CacheSettings
from perfkit.lab.model import CacheModel
from perfkit.lab.replay import replay
from perfkit.lab.scenario import GeneratedWorkload, TraceWorkload
from perfkit.lab.sources import load_workload
from perfkit.lab.workload import Workload

T = TypeVar("T")

ROUNDS = 5
MAX_ENTRIES = 10_000
ABSENT = "not installed"
SIZES = [round(100 * 2**step) for step in range(12)]
TTLS_S = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0]
L2_TTL_S = 7_200.0
STAND_IN = GeneratedWorkload(
    kind="generated", requests=660_000, objects=120_000, zipf_alpha=0.9, arrivals="poisson", rate_per_s=120
)


def main() -> None:
    """Print the three tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("trace", nargs="?", help="a request trace, as a scenario names it")
    arguments.add_argument("--all-cells", action="store_true", help="replay all 144 cells: several minutes")
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help="of the look-ups")
    given = arguments.parse_args()
    source = TraceWorkload(kind="trace", path=given.trace) if given.trace else STAND_IN
    workload = load_workload(source, seed=1, folder=Path())
    print(f"{Path(given.trace).name if given.trace else 'generated'}: {len(workload):,} requests")
    surface(workload, every=1 if given.all_cells else 29)
    policies(workload)
    lookups(given.rounds)


def surface(workload: Workload, *, every: int) -> None:
    """Model 144 cells at once, replay some of them one by one, and demand the same hits."""
    took, ratios = timed(lambda: CacheModel(workload).surface(SIZES, TTLS_S, L2_TTL_S))
    cells = list(itertools.product(range(len(SIZES)), range(len(TTLS_S))))[::every]
    replays, worst = [], 0.0
    for row, column in cells:
        settings = CacheSettings(
            l1_max_entries=SIZES[row],
            l1_ttl_seconds=TTLS_S[column],
            l2_ttl_seconds=L2_TTL_S,
            l1_policy="lru",
            l1_max_bytes=1 << 33,
        )
        seconds, found = timed(lambda settings=settings: replay(settings, workload))
        replays.append(seconds)
        worst = max(worst, abs(found["l1_hit_ratio"] - ratios[row, column]) * len(workload))
    whole = statistics.mean(replays) * len(SIZES) * len(TTLS_S)
    print(f"\nsize x TTL surface, {len(SIZES) * len(TTLS_S)} cells")
    print(f"  {'modelled, processor s':<44}{took:>10.2f}")
    print(f"  {f'replayed cell by cell, from {len(cells)} of them':<44}{whole:>10.2f}")
    print(f"  {'ratio':<44}{whole / took:>9.0f}x")
    print(f"  {'largest difference, hits':<44}{worst:>10.2f}")


def policies(workload: Workload) -> None:
    """Print miss ratios without TTLs, ours beside the peer's and the clairvoyant bound."""
    objects = workload.objects.tolist()
    print(f"\nmiss ratio (processor ns a request), {MAX_ENTRIES:,} entries")
    bound = belady_miss_ratio(objects, MAX_ENTRIES)
    theirs = dict(peer_miss_ratios(workload))
    print(f"  {'policy':<12}{'perfkit':>20}{'libcachesim':>20}")
    print(f"  {'belady':<12}{bound:>12.4f}{'':>8}{theirs.get('belady', ABSENT):>12}")
    for policy in ("lru", "sieve", "s3fifo"):
        seconds, ratio = timed(lambda policy=policy: miss_ratio(policy, objects))
        ours = f"{ratio:.4f} ({seconds / len(objects) * 1e9:,.0f})"
        print(f"  {policy:<12}{ours:>20}{theirs.get(policy, ABSENT):>20}")


def miss_ratio(policy: str, objects: list[int]) -> float:
    """Replay requests through the shipping memory tier."""
    tier = MemoryTier(
        max_entries=MAX_ENTRIES, max_bytes=1 << 40, policy=policy, clock=lambda: 0.0, weigh=lambda _value: 1
    )
    keys = {number: str(number) for number in set(objects)}
    misses = 0
    for number in objects:
        if tier.get(keys[number]) is None:
            misses += 1
            tier.set(keys[number], None, ttl_seconds=1)
    return misses / len(objects)


def peer_miss_ratios(workload: Workload) -> Iterator[tuple[str, str]]:
    """Ask libcachesim for the same, from the same requests."""
    try:
        import libcachesim as peer
    except ImportError:
        return
    following = next_requests(workload.objects)
    for name, kind in (
        ("lru", peer.LRU),
        ("sieve", peer.Sieve),
        ("s3fifo", peer.S3FIFO),
        ("belady", peer.Belady),
    ):
        cache = kind(MAX_ENTRIES)
        requests = []
        for clock, number in enumerate(workload.objects.tolist()):
            request = peer.Request()
            request.obj_id, request.obj_size, request.clock_time = number, 1, clock
            request.next_access_vtime = following[clock]
            requests.append(request)
        seconds, misses = timed(
            lambda cache=cache, requests=requests: sum(not cache.get(r) for r in requests)
        )
        yield name, f"{misses / len(requests):.4f} ({seconds / len(requests) * 1e9:,.0f})"


def next_requests(objects: np.ndarray) -> list[int]:
    """Return when each request's object is asked for again; far away where it never is."""
    following = np.full(len(objects), np.iinfo(np.int64).max, dtype=np.int64)
    order = np.argsort(objects, kind="stable")
    same = objects[order][1:] == objects[order][:-1]
    following[order[:-1][same]] = order[1:][same]
    return following.tolist()


def lookups(rounds: int) -> None:
    """Print what a hit costs in memory, beside the dict look-up no cache in Python can go below."""
    keys = [f"key:{number}" for number in range(1_000)]
    table = dict.fromkeys(keys, b"value")
    arms: dict[str, Callable[[str], object]] = {"dict.get": table.get}
    for policy in ("lru", "sieve", "s3fifo"):
        tier = MemoryTier(max_entries=2_000, max_bytes=1 << 30, policy=policy)
        for key in keys:
            tier.set(key, b"value", ttl_seconds=3_600)
        arms[f"MemoryTier.get, {policy}"] = tier.get
    turns = [
        {name: timed(lambda get=get: run(get, keys))[0] for name, get in arms.items()} for _ in range(rounds)
    ]
    print("\na hit, processor ns (interleaved rounds, medians)")
    for name in arms:
        nanoseconds = statistics.median(took[name] for took in turns) / (len(keys) * 50) * 1e9
        ratio = statistics.median(took[name] / took["dict.get"] for took in turns)
        print(f"  {name:<28}{nanoseconds:>10.0f}{ratio:>9.1f}x")


def run(get: Callable[[str], object], keys: list[str]) -> None:
    """Look every key up fifty times."""
    for _ in range(50):
        for key in keys:
            get(key)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the processor seconds of a piece of work, and what it returned."""
    start = time.process_time()
    outcome = work()
    return time.process_time() - start, outcome


if __name__ == "__main__":
    main()
