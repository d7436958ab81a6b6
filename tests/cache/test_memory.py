"""The memory tier keeps its bounds and says why an entry left."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.cache import MemoryTier
from perfkit.errors import SettingsError


class Time:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def tier(clock: Time, said: list[tuple[str, str]] | None = None, **bounds: object) -> MemoryTier:
    options = {"max_entries": 3, "max_bytes": 100, "max_entry_bytes": 100, "policy": "lru"} | bounds
    hear = (lambda key, cause: said.append((key, cause))) if said is not None else None
    return MemoryTier(clock=clock, on_remove=hear, **options)  # type: ignore[arg-type]  # test options


def test_an_entry_is_served_up_to_the_last_moment_of_its_time_and_not_after() -> None:
    clock = Time()
    memory = tier(clock)
    memory.set("a", b"x", ttl_seconds=10)
    clock.now = 10.0
    served = memory.get("a")
    clock.now = 10.001

    assert served is not None
    assert memory.get("a") is None


def test_the_byte_bound_evicts_until_the_new_value_fits() -> None:
    said: list[tuple[str, str]] = []
    memory = tier(Time(), said, max_entries=10)
    for key in "abc":
        memory.set(key, b"x" * 40, ttl_seconds=10)

    assert said == [("a", "evicted")]
    assert memory.bytes == 80
    assert memory.peak_bytes <= 100


def test_a_value_larger_than_the_tier_is_refused_and_what_it_replaces_is_gone() -> None:
    said: list[tuple[str, str]] = []
    memory = tier(Time(), said)
    memory.set("a", b"x", ttl_seconds=10)
    memory.set("a", b"x" * 101, ttl_seconds=10)

    assert memory.get("a") is None
    assert ("a", "refused") in said
    assert memory.bytes == 0


def test_every_way_to_leave_has_its_cause() -> None:
    said: list[tuple[str, str]] = []
    clock = Time()
    memory = tier(clock, said)
    memory.set("a", b"1", ttl_seconds=10)
    memory.set("a", b"2", ttl_seconds=10)
    memory.delete("a")
    memory.set("b", b"1", ttl_seconds=1)
    clock.now = 5.0
    memory.set("b", b"2", ttl_seconds=1)
    for key in "cde":
        memory.set(key, b"1", ttl_seconds=10)

    assert said == [("a", "replaced"), ("a", "explicit"), ("b", "expired"), ("b", "evicted")]


@pytest.mark.parametrize("policy", ["lru", "sieve", "s3fifo", "adaptive"])
def test_ten_thousand_entries_of_mixed_ttls_keep_both_bounds(policy: str) -> None:
    clock = Time()
    memory = tier(clock, policy=policy, max_entries=50, max_bytes=2_000)
    for number in range(10_000):
        clock.now += 0.1
        memory.set(str(number * 7919 % 200), b"x" * (number % 90 + 1), ttl_seconds=number % 13)
        memory.get(str(number % 200))
        assert len(memory) <= 50
        assert memory.bytes <= 2_000


@pytest.mark.parametrize("ttl", [-1, float("nan")])
def test_a_time_to_live_that_is_none_is_refused(ttl: float) -> None:
    with pytest.raises(SettingsError, match="ttl_seconds"):
        tier(Time()).set("a", b"x", ttl_seconds=ttl)


def test_a_stale_value_can_be_peeked_at_and_is_never_a_hit() -> None:
    clock = Time()
    memory = tier(clock)
    memory.set("a", b"x", ttl_seconds=10, stale_seconds=5)
    clock.now = 15.0
    stale = memory.peek("a")
    hit = memory.get("a")
    clock.now = 15.001

    assert stale is not None
    assert stale.value == b"x"
    assert hit is None
    assert memory.peek("a") is None
    assert (memory.hits, memory.misses) == (0, 1)


def test_an_expired_value_is_kept_as_long_as_it_may_be_served_stale() -> None:
    clock = Time()
    memory = tier(clock)
    memory.set("stale", b"x", ttl_seconds=10, stale_seconds=5)
    memory.set("plain", b"x", ttl_seconds=10)

    assert [memory.expire(key) for key in ("stale", "plain", "absent", "stale")] == [True, True, False, False]
    assert [memory.get(key) for key in ("stale", "plain")] == [None, None]
    assert memory.peek("stale") is not None
    assert memory.peek("plain") is None
    assert memory.bytes == 1


def test_an_entry_says_what_it_was_told_and_else_what_follows() -> None:
    clock = Time()
    clock.now = 100.0
    memory = tier(clock)
    plain = memory.set("a", b"x", ttl_seconds=10)
    full = memory.set(
        "b",
        b"x",
        ttl_seconds=10,
        stale_seconds=5,
        born_s=97.0,
        refresh_s=108.0,
        load_seconds=3.0,
        tags=("t",),
    )

    assert plain is not None
    assert full is not None
    assert (plain.born_s, plain.filled_s, plain.refresh_s, plain.expires_s, plain.stale_until_s) == (
        100,
        100,
        110,
        110,
        110,
    )
    assert (full.born_s, full.filled_s, full.refresh_s, full.expires_s, full.stale_until_s) == (
        97,
        100,
        108,
        110,
        115,
    )
    assert (plain.load_seconds, plain.tags, full.load_seconds, full.tags) == (0.0, (), 3.0, ("t",))
    assert "x'" not in repr(full)


def test_the_time_can_be_told_to_a_look_up_that_then_does_not_ask_the_clock() -> None:
    clock = Time()
    memory = tier(clock)
    memory.set("a", b"x", ttl_seconds=10)

    assert memory.get("a", now=11.0) is None
    assert memory.get("a", 10.0) is not None
    assert memory.peek("a", 11.0) is None


def test_a_value_above_an_eighth_of_the_tier_is_refused_unless_more_is_allowed() -> None:
    said: list[tuple[str, str]] = []
    memory = tier(Time(), said, max_bytes=800, max_entry_bytes=None)

    assert memory.set("a", b"x" * 100, ttl_seconds=10) is not None
    assert memory.set("a", b"x" * 101, ttl_seconds=10) is None
    assert memory.get("a") is None
    assert said == [("a", "replaced"), ("a", "refused")]


def test_who_hears_of_a_removal_may_call_the_tier() -> None:
    """The change is whole by then: what is set from there stands, and the bounds hold."""
    heard: list[str] = []

    def hear(key: str, _cause: str) -> None:
        heard.append(key)
        if key.startswith("k"):
            memory.set("again " + key, b"x", ttl_seconds=10)

    memory = MemoryTier(max_entries=2, max_bytes=800, clock=Time(), on_remove=hear)
    for number in range(5):
        memory.set(f"k{number}", b"x", ttl_seconds=10)

    assert "k0" in heard
    assert len(memory) == memory.bytes == 2


@pytest.mark.parametrize("policy", ["sieve", "s3fifo", "adaptive"])
def test_many_that_expire_at_once_leave_a_few_at_a_time(policy: str) -> None:
    said: list[tuple[str, str]] = []
    clock = Time()
    memory = tier(clock, said, policy=policy, max_entries=10_000, max_bytes=80_000)
    for number in range(5_000):
        memory.set(str(number), b"x", ttl_seconds=10, stale_seconds=20)
    clock.now = 20.0
    memory.set("stale time holds a place", b"x", ttl_seconds=100)
    early = len(said)
    clock.now = 31.0
    most, sets = 0, 0
    while len(memory) > sets + 1:
        before = len(said)
        memory.set(f"new {sets}", b"x", ttl_seconds=100)
        most = max(most, len(said) - before)
        sets += 1

    assert early == 0
    assert 0 < most <= 16
    assert sets < 400
    assert {cause for _key, cause in said} == {"expired"}


def test_a_cleared_tier_is_empty_at_once_and_tells_of_what_it_held_a_few_at_a_time() -> None:
    said: list[tuple[str, str]] = []
    memory = tier(Time(), said, policy="s3fifo", max_entries=1_000, max_bytes=80_000)
    look = memory.get
    for number in range(100):
        memory.set(str(number), b"x", ttl_seconds=10)
    memory.clear()
    empty = (len(memory), memory.bytes, look("5"), list(said))
    told = []
    for number in range(5):
        memory.set(f"new {number}", b"x", ttl_seconds=10)
        told.append(len(said))

    assert empty == (0, 0, None, [])
    assert told == [32, 64, 96, 100, 100]
    assert {cause for _key, cause in said} == {"explicit"}
    assert look("new 3") is not None


OPERATION = st.tuples(
    st.sampled_from(["set", "set", "set", "get", "get", "peek", "expire", "delete", "wait", "clear"]),
    st.integers(0, 9),
    st.sampled_from([0, 1, 3, 10, 200, math.inf]),
    st.sampled_from([0, 0, 2, 300]),
)


@pytest.mark.parametrize("policy", ["lru", "sieve", "s3fifo", "adaptive"])
@given(operations=st.lists(OPERATION, max_size=120), room=st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_what_is_served_was_set_is_the_latest_and_has_not_ended(
    policy: str, operations: list[tuple[str, int, float, float]], room: int
) -> None:
    """Beside a plain table that never evicts: a tier may hold less than that, never anything else."""
    clock = Time()
    memory = MemoryTier(max_entries=room, max_bytes=8 * room, policy=policy, clock=clock)
    truth: dict[str, tuple[bytes, float, float]] = {}
    for step, (operation, number, ttl, stale) in enumerate(operations):
        key, value = str(number), b"%d" % (step % 10)
        _value, fresh_until, until = truth.get(key, (b"", -1.0, -1.0))
        if operation == "set":
            truth[key] = (value, clock.now + ttl, clock.now + ttl + stale)
            assert memory.set(key, value, ttl_seconds=ttl, stale_seconds=stale) is memory.peek(key)
        elif operation == "get":
            entry = memory.get(key)
            assert entry is None or (entry.value == _value and clock.now <= fresh_until)
        elif operation == "peek":
            entry = memory.peek(key)
            assert entry is None or (entry.value == _value and clock.now <= until)
        elif operation == "expire":
            ended = memory.expire(key)
            assert not ended or clock.now <= fresh_until
            truth[key] = (_value, -1.0, until if until > fresh_until else -1.0)
        elif operation == "delete":
            memory.delete(key)
            truth.pop(key, None)
        elif operation == "clear":
            memory.clear()
            truth.clear()
        else:
            clock.now += ttl if ttl < math.inf else 0.5
        assert len(memory) == len(memory.policy.entries) <= room
        assert memory.bytes == sum(entry.weight for entry in memory.policy.entries.values()) <= 8 * room
