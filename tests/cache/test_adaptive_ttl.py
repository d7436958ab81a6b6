"""Times to live keep the share of changed answers that was asked for, whatever the answers do."""

from __future__ import annotations

import bisect
import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.cache.adaptive_ttl import AdaptiveTtl, digest_of
from perfkit.cache.settings import CacheSettings
from perfkit.errors import SettingsError

WANTED = 0.05
CONFIGURED_S = 300.0
DAY_S = 86_400.0
Changes = Callable[[random.Random, float], list[float]]


def adaptive(**changed: float) -> AdaptiveTtl:
    return AdaptiveTtl(**({"min_seconds": 5, "max_seconds": DAY_S, "staleness": WANTED} | changed))  # type: ignore[arg-type]


def poisson(mean_s: Callable[[float], float]) -> Changes:
    """Changes at random, on average every `mean_s(share of the time gone)` seconds."""

    def drawn(rng: random.Random, span_s: float) -> list[float]:
        times, now = [], 0.0
        while now < span_s:
            now += rng.expovariate(1 / mean_s(now / span_s))
            times.append(now)
        return times

    return drawn


def periodic(every_s: float) -> Changes:
    def drawn(rng: random.Random, span_s: float) -> list[float]:
        first = rng.random() * every_s
        return [first + every_s * turn for turn in range(int(span_s / every_s))]

    return drawn


def half_and_half(rng: random.Random, span_s: float) -> list[float]:
    mean_s = 600.0 if rng.random() < 0.5 else 3 * DAY_S
    return poisson(lambda _gone: mean_s)(rng, span_s)


PROCESSES: dict[str, Changes] = {
    "every hour at random": poisson(lambda _gone: 3_600.0),
    "every day at random": poisson(lambda _gone: DAY_S),
    "each hour on its minute": periodic(3_600.0),
    "every ten minutes on the second": periodic(600.0),
    "a mixture of keys": half_and_half,
    "ever slower": poisson(lambda gone: 600.0 * 60**gone),
    "ever faster": poisson(lambda gone: 36_000.0 / 60**gone),
    "suddenly faster": poisson(lambda gone: 36_000.0 if gone < 0.6 else 600.0),
    "suddenly slower": poisson(lambda gone: 600.0 if gone < 0.6 else 36_000.0),
    "never": lambda _rng, _span_s: [],
}


@dataclass
class Outcome:
    """What came of a simulated day or two, its first quarter left out."""

    changed_by_the_end: float
    loads: int
    ttl_s: float


def simulated(
    changes: Changes, learner: AdaptiveTtl | None, *, seed: int = 1, gap_s: float = 30.0
) -> Outcome:
    """Let 40 keys be asked for at random, one every `gap_s` on average, and look what was held."""
    rng = random.Random(seed)  # noqa: S311  # a simulation, not a secret
    span_s = 1.5 * DAY_S
    times = [changes(rng, span_s) for _ in range(40)]
    due = [(rng.expovariate(1 / gap_s), key) for key in range(40)]
    heapq.heapify(due)
    held: dict[int, tuple[int, float, float]] = {}
    loads = ended = changed = 0
    now, ttl = 0.0, CONFIGURED_S
    while now < span_s:
        now, key = heapq.heappop(due)
        heapq.heappush(due, (now + rng.expovariate(1 / gap_s), key))
        counts = now > span_s / 4
        if key in held:
            version, _born, end = held[key]
            if now <= end:
                continue
            if learner is not None:
                digest = digest_of(str(bisect.bisect(times[key], now)).encode())
                learner.refreshed("n", str(key), digest, now)
            ended += counts
            changed += counts and bisect.bisect(times[key], end) != version
        elif learner is not None:
            learner.seen(str(key), digest_of(str(bisect.bisect(times[key], now)).encode()), now)
        loads += counts
        ttl = learner.ttl_seconds("n", CONFIGURED_S) if learner is not None else CONFIGURED_S
        held[key] = bisect.bisect(times[key], now), now, now + ttl
    return Outcome(changed / max(ended, 1), loads, ttl)


@pytest.mark.parametrize("name", PROCESSES)
def test_no_more_answers_change_in_their_life_than_was_asked_for(name: str) -> None:
    """The bound is the wanted share and what chance adds to a share of some thousand lives."""
    outcome = simulated(PROCESSES[name], adaptive())

    assert outcome.changed_by_the_end <= WANTED * 1.05


@pytest.mark.parametrize("name", ["every hour at random", "each hour on its minute", "a mixture of keys"])
def test_nor_are_lives_much_shorter_than_the_wanted_share_allows(name: str) -> None:
    assert simulated(PROCESSES[name], adaptive()).changed_by_the_end >= WANTED * 0.6


def test_what_hardly_changes_is_asked_for_much_less_often_than_with_the_fixed_time() -> None:
    fixed = simulated(PROCESSES["every day at random"], None)
    learnt = simulated(PROCESSES["every day at random"], adaptive())
    never = simulated(PROCESSES["never"], adaptive())

    assert learnt.loads < fixed.loads / 5
    assert never.loads < fixed.loads / 20


def test_a_fixed_time_is_stale_where_the_learnt_one_is_not() -> None:
    fixed = simulated(PROCESSES["every ten minutes on the second"], None)

    assert fixed.changed_by_the_end > 0.4
    assert simulated(PROCESSES["every ten minutes on the second"], adaptive()).changed_by_the_end < 0.055


@pytest.mark.parametrize("seed", range(3))
def test_seldom_asked_keys_of_unlike_rates_stay_near_the_wanted_share(seed: int) -> None:
    """Long ages say little of what happens within one short life, and less is believed of them."""
    outcome = simulated(PROCESSES["a mixture of keys"], adaptive(), seed=seed, gap_s=600)

    assert outcome.changed_by_the_end < WANTED * 1.35


def test_little_evidence_changes_little() -> None:
    for changed in (False, True):
        ttl = adaptive()
        ttl.observe("n", CONFIGURED_S, changed)
        assert 0.4 * CONFIGURED_S < ttl.ttl_seconds("n", CONFIGURED_S) < 1.5 * CONFIGURED_S


def test_the_estimate_is_the_maximum_of_the_likelihood() -> None:
    """Against a plain search over rates, with much evidence at two ages."""
    ttl = adaptive(staleness=0.3)
    rng = random.Random(5)  # noqa: S311
    observed = [(age, rng.random() < -math.expm1(-age / 2_000)) for age in (200.0, 600.0) * 2_000]
    for age, changed in observed:
        ttl.observe("n", age, changed)
    ttl.ttl_seconds("n", 600)

    def likelihood(rate: float) -> float:
        return sum(
            math.log(-math.expm1(-rate * age)) if changed else -rate * age for age, changed in observed
        )

    best = max((10 ** (-4 + step / 100) for step in range(200)), key=likelihood)
    found = ttl.snapshot()["n"]

    assert best == pytest.approx(1 / 2_000, rel=0.05)
    assert best < found.changes_per_s < 1.5 * best  # cautious, and of the newest observations
    assert found.observations == 4_000


def test_namespaces_learn_apart() -> None:
    ttl = adaptive()
    for _ in range(300):
        ttl.observe("quick", ttl.ttl_seconds("quick", 300), changed=True)
        ttl.observe("slow", ttl.ttl_seconds("slow", 300), changed=False)

    assert ttl.ttl_seconds("quick", 300) < 60 < 1_000 < ttl.ttl_seconds("slow", 300)
    assert ttl.ttl_seconds("unknown", 300) == 300


@given(
    st.lists(
        st.tuples(st.one_of(st.floats(-1, 1e9), st.just(math.nan), st.just(math.inf)), st.booleans()),
        max_size=60,
    ),
    st.floats(0.001, 1e7),
)
def test_a_time_to_live_is_always_within_its_bounds(
    observed: list[tuple[float, bool]], configured: float
) -> None:
    ttl = adaptive()
    for age, changed in observed:
        ttl.observe("n", age, changed)
        assert 5 <= ttl.ttl_seconds("n", configured) <= DAY_S


@given(st.integers(1, 200), st.floats(10, 1_000))
def test_more_changes_never_lengthen_a_life(seen: int, age: float) -> None:
    lives = []
    for changes in (0, seen // 2, seen):
        ttl = adaptive()
        for turn in range(seen):
            ttl.observe("n", age, changed=turn >= seen - changes)
        lives.append(ttl.ttl_seconds("n", 300))

    assert lives[0] * 1.001 >= lives[1]
    assert lives[1] * 1.001 >= lives[2]


def test_a_key_is_compared_with_what_it_was_before() -> None:
    ttl = adaptive(max_keys=2)
    one, other = digest_of(b"1"), digest_of(b"2")

    assert ttl.seen("a", one, 10) is None
    assert ttl.seen("a", one, 20) is False
    assert ttl.seen("a", other, 30) is True
    assert ttl.seen("a", one, 25) is None  # born before what is known: out of order, nothing to learn
    assert ttl.seen("a", other, 40) is False


def test_changes_the_cache_was_told_of_do_not_shorten_lives() -> None:
    """Each key changes every ten minutes and is taken back at once; what is not taken back never changes."""
    ttl = adaptive()
    for turn in range(400):
        ttl.refreshed("n", f"k{turn % 10}", digest_of(str(turn).encode()), turn * 60.0)
        ttl.forget(f"k{turn % 10}")

    assert ttl.ttl_seconds("n", CONFIGURED_S) == CONFIGURED_S
    assert ttl.snapshot() == {}


def test_the_table_of_digests_is_bounded_and_forgets_the_longest_unrefreshed() -> None:
    ttl = adaptive(max_keys=2)
    for key in ("a", "b", "a", "c"):
        ttl.seen(key, b"x", 1)

    assert [ttl.seen(key, b"x", 2) for key in ("a", "c")] == [False, False]
    assert ttl.seen("b", b"x", 2) is None


def test_the_knobs_make_it() -> None:
    assert AdaptiveTtl.of(CacheSettings()) is None
    made = AdaptiveTtl.of(CacheSettings(adaptive_ttl=True, adaptive_ttl_max_seconds=60))
    assert made is not None
    assert made.ttl_seconds("n", 300) == 60


@pytest.mark.parametrize(
    "wrong", [{"min_seconds": 0}, {"min_seconds": 10, "max_seconds": 5}, {"staleness": 0}, {"staleness": 1}]
)
def test_bounds_that_leave_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        adaptive(**wrong)
