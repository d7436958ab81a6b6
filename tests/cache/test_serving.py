"""What memory may serve at once, and when somebody has to go and ask."""

import asyncio
import random
from typing import Any

import pytest

from perfkit.cache import RemoteTier, TieredCache, Tiers
from perfkit.cache.settings import CacheSettings
from perfkit.errors import LoadTimeout, SettingsError
from perfkit.events import Event, RenewalFailed, null_probe
from tests.cache.imitated import Dictionary, Origin, virtually

PLAIN: dict[str, Any] = {"ttl_jitter": 0.0, "refresh": "off", "lock_lease_seconds": 0.0}


def memory_only(heard: list[Event] | None = None, **settings: Any) -> TieredCache:
    knobs = PLAIN | {"l1_ttl_seconds": 60.0, "l2_ttl_seconds": 60.0} | settings
    return TieredCache(CacheSettings(**knobs), probe=null_probe if heard is None else heard.append)


def instances(redis: Dictionary, count: int, **settings: Any) -> list[TieredCache]:
    knobs = CacheSettings(**(PLAIN | settings))
    return [TieredCache(knobs, remote=RemoteTier(redis, prefix="t:", probe=null_probe)) for _ in range(count)]


@virtually
async def test_a_stale_answer_is_served_while_a_new_one_is_fetched() -> None:
    cache, origin = memory_only(stale_while_revalidate_seconds=30), Origin("old")
    await cache.get_or_load("k", origin)
    origin.answer = "new"
    await asyncio.sleep(70)
    stale = [await cache.lookup("k", origin) for _ in range(3)]
    await asyncio.sleep(2)
    fresh = await cache.lookup("k", origin)

    assert [(answer.value, answer.stale, answer.tier) for answer in stale] == [("old", True, "l1")] * 3
    assert (fresh.value, fresh.stale) == ("new", False)
    assert origin.calls == 2
    assert (cache.stats().stale, cache.stats().background) == (3, 1)


@virtually
async def test_past_the_window_callers_wait_again() -> None:
    cache, origin = memory_only(stale_while_revalidate_seconds=30), Origin("old")
    await cache.get_or_load("k", origin)
    origin.answer = "new"
    await asyncio.sleep(91)

    assert await cache.get_or_load("k", origin) == "new"


@virtually
async def test_an_answer_near_its_end_is_renewed_behind_the_callers_back() -> None:
    cache, origin = memory_only(refresh="eager", refresh_share=0.5), Origin("old")
    await cache.get_or_load("k", origin)
    origin.answer = "new"
    await asyncio.sleep(40)
    served = await cache.lookup("k", origin)
    await asyncio.sleep(2)

    assert (served.value, served.stale) == ("old", False)
    assert await cache.get_or_load("k", origin) == "new"
    assert origin.calls == 2
    assert cache.stats().hit_ratio == 2 / 3


@virtually
async def test_xfetch_keeps_a_popular_answer_from_ever_expiring() -> None:
    cache, origin = memory_only(refresh="xfetch"), Origin(wait_s=0.5)
    cache.tiers.rng.seed(7)
    waited = 0.0
    loop = asyncio.get_running_loop()
    await cache.get_or_load("k", origin)
    for _ in range(3_000):  # ten minutes at five requests a second
        await asyncio.sleep(0.2)
        began = loop.time()
        await cache.get_or_load("k", origin)
        waited += loop.time() - began

    assert 10 <= origin.calls <= 13
    assert waited <= 2.0  # without it: ten times half a second


@virtually
async def test_a_renewal_takes_what_another_instance_has_brought() -> None:
    """N instances renew once, not N times."""
    caches = instances(
        Dictionary(), 4, refresh="eager", refresh_share=0.5, l1_ttl_seconds=60.0, l2_ttl_seconds=60.0
    )
    origin = Origin("old")
    for cache in caches:
        await cache.get_or_load("k", origin)
    origin.answer = "new"
    await asyncio.sleep(40)
    for cache in caches:
        await cache.get_or_load("k", origin)
        await asyncio.sleep(2)

    assert [await cache.get_or_load("k", origin) for cache in caches] == ["new"] * 4
    assert origin.calls == 2


@virtually
async def test_renewing_memory_alone_asks_redis_and_not_the_origin() -> None:
    (cache,) = instances(
        Dictionary(), 1, refresh="eager", refresh_share=0.5, l1_ttl_seconds=10.0, l2_ttl_seconds=1_000.0
    )
    origin = Origin()
    await cache.get_or_load("k", origin)
    for _ in range(40):
        await asyncio.sleep(6)
        assert (await cache.lookup("k", origin)).tier == "l1"

    assert origin.calls == 1


@virtually
async def test_when_the_origin_fails_an_older_answer_stands_in_and_the_origin_rests() -> None:
    heard: list[Event] = []
    cache = memory_only(heard, stale_if_error_seconds=600, retry_after_error_seconds=10)
    origin = Origin("old")
    await cache.get_or_load("k", origin)
    origin.answer = ValueError("down")
    await asyncio.sleep(100)
    answers = []
    for _ in range(20):
        answers.append(await cache.lookup("k", origin))
        await asyncio.sleep(1)

    assert {(answer.value, answer.stale) for answer in answers} == {("old", True)}
    assert origin.calls == 1 + 2  # one in ten seconds, though each was asked for twice as often
    assert heard == [RenewalFailed("", "ValueError: down")] * 2


@virtually
async def test_an_answer_too_old_does_not_stand_in() -> None:
    cache, origin = memory_only(stale_if_error_seconds=30), Origin("old")
    await cache.get_or_load("k", origin)
    origin.answer = ValueError("down")
    await asyncio.sleep(100)

    with pytest.raises(ValueError, match="down"):
        await cache.get_or_load("k", origin)


@virtually
async def test_without_leave_no_stale_answer_is_ever_served() -> None:
    cache, origin = memory_only(), Origin("old")
    await cache.get_or_load("k", origin)
    origin.answer = ValueError("down")
    await asyncio.sleep(61)

    with pytest.raises(ValueError, match="down"):
        await cache.get_or_load("k", origin)


@virtually
async def test_a_slow_origin_is_not_waited_for_when_a_stale_answer_is_at_hand() -> None:
    cache = memory_only(stale_if_error_seconds=600, soft_timeout_seconds=0.2)
    origin = Origin("old", wait_s=0.1)
    await cache.get_or_load("k", origin)
    origin.answer, origin.wait_s = "new", 5.0
    await asyncio.sleep(100)
    loop = asyncio.get_running_loop()
    began = loop.time()
    stale = await cache.lookup("k", origin)
    waited = loop.time() - began
    await asyncio.sleep(6)

    assert (stale.value, stale.stale, waited) == ("old", True, pytest.approx(0.2))
    assert (await cache.lookup("k", origin)).value == "new"
    assert origin.calls == 2  # what was begun was finished in the background


@virtually
async def test_nobody_waits_longer_than_the_hard_timeout_and_the_answer_is_kept_all_the_same() -> None:
    cache, origin = memory_only(hard_timeout_seconds=1.0), Origin(wait_s=5.0)
    with pytest.raises(LoadTimeout, match="hard_timeout_seconds"):
        await cache.get_or_load("k", origin)
    await asyncio.sleep(5)

    assert (await cache.lookup("k", origin)).tier == "l1"
    assert origin.calls == 1
    assert cache.stats().timeouts == 1


@virtually
async def test_a_timeout_of_the_origins_own_is_not_taken_for_ours() -> None:
    cache, origin = memory_only(hard_timeout_seconds=10.0), Origin(TimeoutError("its own"))

    with pytest.raises(TimeoutError, match="its own"):
        await cache.get_or_load("k", origin)


@virtually
async def test_none_is_kept_for_a_shorter_time() -> None:
    cache, origin = memory_only(negative_ttl_seconds=5.0), Origin(None)
    await cache.get_or_load("k", origin)
    await asyncio.sleep(3)
    await cache.get_or_load("k", origin)
    assert origin.calls == 1

    await asyncio.sleep(3)
    await cache.get_or_load("k", origin)
    assert origin.calls == 2


@virtually
async def test_a_failure_of_a_renewal_leaves_the_fresh_answer_and_rests() -> None:
    cache = memory_only(refresh="eager", refresh_share=0.5, retry_after_error_seconds=10)
    origin = Origin("old")
    await cache.get_or_load("k", origin)
    origin.answer = ValueError("down")
    await asyncio.sleep(40)
    for _ in range(15):
        assert (await cache.lookup("k", origin)).value == "old"
        await asyncio.sleep(1)

    assert origin.calls == 1 + 2


@virtually
async def test_redis_gives_a_stale_answer_to_an_instance_that_never_had_it() -> None:
    redis = Dictionary()
    settings = {"stale_while_revalidate_seconds": 30.0, "l2_ttl_seconds": 60.0}
    one, other = instances(redis, 2, **settings)
    origin = Origin("old")
    await one.get_or_load("k", origin)
    origin.answer = "new"
    await asyncio.sleep(70)
    first = await other.lookup("k", origin)
    await asyncio.sleep(2)

    assert (first.value, first.tier, first.stale) == ("old", "l2", True)
    assert (await other.lookup("k", origin)).value == "new"


@virtually
async def test_each_request_is_counted_once_by_the_tier_that_answered() -> None:
    redis = Dictionary()
    one, other = instances(redis, 2)
    origin = Origin(wait_s=2.0)
    await asyncio.gather(*(one.get_or_load("k", origin) for _ in range(3)))
    await one.get_or_load("k", origin)
    await other.get_or_load("k", origin)
    await other.get("k")
    await other.get("absent")
    first, second = one.stats(), other.stats()

    assert (first.requests, first.loads, first.joined, first.l1_hits, first.l2_hits) == (4, 1, 2, 1, 0)
    assert (second.requests, second.loads, second.joined, second.l1_hits, second.l2_hits) == (3, 0, 0, 1, 1)
    assert first.load_seconds == pytest.approx(2.0)
    assert first.saved_seconds == pytest.approx(2.0)
    assert first.time_saved_ratio == pytest.approx(0.5)
    assert first.byte_hit_ratio == pytest.approx(0.5)
    assert second.byte_hit_ratio == 1.0
    assert second.saved_seconds == pytest.approx(4.0)


@virtually
async def test_saved_money_is_hits_less_what_was_fetched_unasked() -> None:
    cache = TieredCache(CacheSettings(), cost_per_load=0.5)
    origin = Origin()
    for _ in range(5):
        await cache.get_or_load("k", origin)

    assert (cache.stats().cost, cache.stats().saved_cost) == (0.5, 2.0)


@virtually
async def test_what_never_changes_comes_to_live_longer_and_what_always_does_shorter() -> None:
    knobs: dict[str, Any] = {"adaptive_ttl": True, "l1_ttl_seconds": 3_600.0, "l2_ttl_seconds": 60.0}
    steady, lively = memory_only(**knobs), memory_only(**knobs)
    same, other = Origin({"a": 1}, wait_s=0.01), Origin(0, wait_s=0.01)
    for _ in range(4_000):
        await asyncio.sleep(10)
        await steady.get_or_load("k", same)
        other.answer += 1
        await lively.get_or_load("k", other)

    assert same.calls < 4_000 * 10 / 60 / 2  # 667 at the configured minute
    assert other.calls > 3_500


@virtually
async def test_what_follows_is_fetched_before_it_is_asked_for() -> None:
    cache = memory_only(prefetch=True, l1_ttl_seconds=30.0, l2_ttl_seconds=30.0)
    origin = Origin(wait_s=0.5)

    async def visit() -> list[str]:
        tiers = []
        for key in ("list", "first", "second"):
            tiers.append((await cache.lookup(key, origin)).tier)
            await asyncio.sleep(2)
        await asyncio.sleep(40)
        return tiers

    for _ in range(100):
        await visit()

    assert await visit() == ["origin", "l1", "l1"]
    ahead = cache.serving.ahead
    assert ahead is not None
    assert ahead.prefetcher.stats().useful_share > 0.9


@virtually
async def test_the_cache_advises_from_what_it_hears() -> None:
    cache = TieredCache(
        tiers=Tiers.over(
            Dictionary(),
            CacheSettings(record_share=1.0, l1_max_entries=50, l1_ttl_seconds=600.0),
            prefix="t:",
            alone=True,
            probe=null_probe,
        )
    )
    origin = Origin(wait_s=0.0)
    rng = random.Random(1)  # noqa: S311  # repeatable
    for _ in range(6_000):
        await cache.get_or_load(str(int(rng.paretovariate(0.5)) % 300), origin)
    advice = cache.advise()

    assert any("l1_max_entries" in str(suggestion) for suggestion in advice.suggestions)
    with pytest.raises(SettingsError, match="record_share"):
        memory_only().advise()


@virtually
async def test_an_origin_that_fails_while_revalidating_rests_too() -> None:
    cache = memory_only(stale_while_revalidate_seconds=300, retry_after_error_seconds=10)
    origin = Origin("old", wait_s=0.01)
    await cache.get_or_load("k", origin)
    origin.answer = ValueError("down")
    await asyncio.sleep(100)
    for _ in range(40):
        assert (await cache.lookup("k", origin)).value == "old"
        await asyncio.sleep(0.5)

    assert origin.calls == 1 + 2
