"""Whether a learnt time to live keeps the share of changed answers that was asked for, and what it saves.

Virtual time: 50 keys of one namespace, each asked for every 30 s on average, for four days, by requests at
random; the first day is for learning and not counted. Answers change by laws the cache does not know.
"""

from __future__ import annotations

import bisect
import heapq
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from harness import table
from perfkit.cache.adaptive_ttl import AdaptiveTtl

WANTED = 0.05
CONFIGURED_S = 300.0
SHORTEST_S, LONGEST_S = 5.0, 86_400.0
KEYS, GAP_S, SPAN_S, LEARNING_S = 50, 30.0, 4 * 86_400.0, 86_400.0
SEED = 1

Law: TypeAlias = Callable[[random.Random], list[float]]


class Outcome(NamedTuple):
    """What was held, and how it turned out."""

    changed_share: float
    stale_share: float
    calls: int
    last_ttl_s: float


def at_random(mean_s: Callable[[float], float]) -> Law:
    """Return a Poisson process whose mean gap follows the share of the time gone."""

    def law(rng: random.Random) -> list[float]:
        times, now = [], 0.0
        while now < SPAN_S:
            now += rng.expovariate(1 / mean_s(now / SPAN_S))
            times.append(now)
        return times

    return law


def evenly(every_s: float, *, together: bool = False) -> Law:
    """Return changes that come every so often, each key's at its own moment or all at the same."""

    def law(rng: random.Random) -> list[float]:
        first = every_s if together else rng.random() * every_s
        return [first + every_s * turn for turn in range(int(SPAN_S / every_s))]

    return law


def unlike(rng: random.Random) -> list[float]:
    """Half of the keys change every ten minutes, half every three days."""
    mean_s = 600.0 if rng.random() < 0.5 else 3 * 86_400.0
    return at_random(lambda _gone: mean_s)(rng)


LAWS: dict[str, Law] = {
    "every hour, at random": at_random(lambda _gone: 3_600.0),
    "every day, at random": at_random(lambda _gone: 86_400.0),
    "every ten minutes exactly": evenly(600.0),
    "every hour exactly, all keys at once": evenly(3_600.0, together=True),
    "half every ten minutes, half every three days": unlike,
    "from every ten minutes to every ten hours": at_random(lambda gone: 600.0 * 60**gone),
    "from every ten hours to every ten minutes": at_random(lambda gone: 36_000.0 / 60**gone),
    "suddenly sixty times as often": at_random(lambda gone: 36_000.0 if gone < 0.6 else 600.0),
    "never": lambda _rng: [],
}


async def kept(_rounds: int) -> str:
    """Compare the learnt time to live with the configured one, and with the best fixed one in hindsight."""
    rows = []
    for name, law in LAWS.items():
        rng = random.Random(SEED)  # noqa: S311  # a simulation, not a secret
        changes = [law(rng) for _ in range(KEYS)]
        learner = AdaptiveTtl(min_seconds=SHORTEST_S, max_seconds=LONGEST_S, staleness=WANTED)
        learnt, fixed, best = held(changes, learner), held(changes, CONFIGURED_S), best_fixed(changes)
        rows.append(
            [
                name,
                f"{learnt.changed_share:.1%}",
                f"{fixed.changed_share:.1%}",
                f"{learnt.stale_share:.1%}",
                f"{fixed.stale_share:.1%}",
                f"{learnt.last_ttl_s:,.0f}",
                f"{learnt.calls:,}",
                f"{fixed.calls:,}",
                f"{best.calls:,} ({best.last_ttl_s:,.0f} s)",
            ]
        )
    header = [
        "answers change",
        f"changed by the end of their life, learnt (≤ {WANTED:.0%} wanted)",
        f"fixed at {CONFIGURED_S:.0f} s",
        "served after a change, learnt",
        "fixed",
        "learnt s at the end",
        "calls, learnt",
        "calls, fixed",
        f"calls, the best fixed one within {WANTED:.0%}",
    ]
    return table(header, rows)


def best_fixed(changes: Sequence[Sequence[float]]) -> Outcome:
    """Return the outcome of the longest of some fixed times that keeps the wanted share."""
    tried = [SHORTEST_S * 1.5**step for step in range(25)]
    outcomes = (held(changes, ttl) for ttl in reversed([ttl for ttl in tried if ttl <= LONGEST_S]))
    return next((found for found in outcomes if found.changed_share <= WANTED), held(changes, SHORTEST_S))


def held(changes: Sequence[Sequence[float]], ttl: AdaptiveTtl | float) -> Outcome:
    """Replay the requests against a time to live, fixed or learnt."""
    rng = random.Random(SEED)  # noqa: S311
    due = [(rng.expovariate(1 / GAP_S), key) for key in range(len(changes))]
    heapq.heapify(due)
    entries: dict[int, tuple[int, float, float]] = {}
    requests = stale = calls = ended = changed = 0
    now, life = 0.0, CONFIGURED_S
    while now < SPAN_S:
        now, key = heapq.heappop(due)
        heapq.heappush(due, (now + rng.expovariate(1 / GAP_S), key))
        version, counts = bisect.bisect(changes[key], now), now > LEARNING_S
        requests += counts
        if key in entries:
            had, born, end = entries[key]
            if now <= end:
                stale += counts and had != version
                continue
            if isinstance(ttl, AdaptiveTtl):
                ttl.observe("namespace", now - born, had != version)
            ended += counts
            changed += counts and bisect.bisect(changes[key], end) != had
        calls += counts
        life = ttl.ttl_seconds("namespace", CONFIGURED_S) if isinstance(ttl, AdaptiveTtl) else ttl
        entries[key] = version, now, now + life
    return Outcome(changed / max(ended, 1), stale / requests, calls, life)
