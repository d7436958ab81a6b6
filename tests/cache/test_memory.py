"""The memory tier keeps its bounds and says why an entry left."""

import pytest

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


@pytest.mark.parametrize("policy", ["lru", "sieve", "s3fifo"])
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
