"""No minute of a server's brings more than the quota, wherever it begins and however long requests travel."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import SettingsError
from perfkit.vertex.quota.bucket import JITTER_S, Bucket
from tests.vertex.scripted import MinuteServer

HEADROOMS = st.floats(0.01, 0.99)


def spent_by(bucket: Bucket, at_s: float, amount: float) -> float:
    """Spend an amount as soon as it passes, and return when that was."""
    asked = 0
    while wait_s := bucket.lacks_s(at_s, amount):
        at_s += wait_s
        asked += 1
        assert asked < 50, f"{amount} of {bucket.quota} a minute waits for ever"
    bucket.spend(at_s, amount)
    return at_s


@given(
    quota=st.one_of(st.integers(1, 30), st.integers(30, 3_000)),
    headroom=HEADROOMS,
    phase_s=st.floats(0, 60),
    travel_s=st.floats(0, 5),
    seed=st.integers(0, 2**32),
)
def test_no_fixed_minute_brings_more_requests_than_the_quota(
    quota: int, headroom: float, phase_s: float, travel_s: float, seed: int
) -> None:
    rng = random.Random(seed)  # noqa: S311  # a script, not a secret
    bucket, server = Bucket(quota, headroom=headroom), MinuteServer(quota, phase_s)
    at_s, most = rng.uniform(0, 1e6), 3 * quota
    for _ in range(min(most, 400)):
        if rng.random() < 0.02:
            at_s += rng.choice((0.001, 1.0, 30.0, 90.0))
        at_s = spent_by(bucket, at_s, 1.0)
        server.arrive(at_s + travel_s + rng.random() * JITTER_S)

    assert server.fullest <= quota


@given(
    quota=st.integers(100, 100_000),
    headroom=HEADROOMS,
    phase_s=st.floats(0, 60),
    largest=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**32),
)
def test_no_fixed_minute_brings_more_tokens_even_where_single_requests_hold_more_than_the_burst(
    quota: int, headroom: float, phase_s: float, largest: float, seed: int
) -> None:
    rng = random.Random(seed)  # noqa: S311  # a script, not a secret
    bucket, server = Bucket(quota, headroom=headroom), MinuteServer(quota, phase_s)
    at_s = 0.0
    for _ in range(60):
        at_s += rng.choice((0.0, 0.0, 0.0, 1.0, 40.0))
        amount = rng.uniform(1.0, largest * quota) if rng.random() < 0.5 else rng.uniform(0.0, 0.05) * quota
        at_s = spent_by(bucket, at_s, amount)
        server.arrive(at_s + rng.random() * JITTER_S, amount)

    assert server.fullest <= quota + 0.01


@given(headroom=st.floats(0.5, 0.99), quota=st.integers(1, 2_000))
def test_what_is_asked_for_without_end_flows_at_the_rate(headroom: float, quota: int) -> None:
    """Keeping within the quota by sending next to nothing would be easy."""
    bucket, at_s = Bucket(quota, headroom=headroom), 0.0
    number = min(3 * quota, 500) + int(bucket.burst) + 1
    for _ in range(number):
        at_s = spent_by(bucket, at_s, 1.0)

    assert at_s == pytest.approx((number - bucket.burst) / (headroom * quota / 60), rel=1e-3, abs=0.01)


def test_an_amount_above_the_burst_passes_when_full_and_the_next_pays_for_it() -> None:
    bucket = Bucket(6_000, headroom=0.9)  # 90 a second, 577.5 at once
    assert bucket.lacks_s(100.0, 1_500.0) == 0.0
    bucket.spend(100.0, 1_500.0)

    assert bucket.level(100.0) == pytest.approx(577.5 - 1_500)
    assert bucket.lacks_s(100.0, 10.0) == pytest.approx((1_500 - 577.5 + 10) / 90, rel=1e-3)


def test_an_amount_above_the_burst_waits_for_room_in_the_minute() -> None:
    """Full again after 17 s, the bucket could let a third one into the same minute."""
    bucket = Bucket(6_000, headroom=0.9)
    times_s = [spent_by(bucket, 0.0, 2_500.0)]
    times_s += [spent_by(bucket, times_s[-1], 2_500.0) for _ in range(1)]
    third_s = spent_by(bucket, times_s[-1], 2_500.0)

    assert times_s[1] == pytest.approx(2_500 / 90, rel=1e-3)
    assert 60.0 + JITTER_S <= third_s <= 70.0


def test_an_amount_above_the_quota_itself_goes_alone_in_a_minute() -> None:
    bucket = Bucket(1_000, headroom=0.9)
    first_s = spent_by(bucket, 0.0, 5_000.0)
    second_s = spent_by(bucket, first_s, 10.0)
    third_s = spent_by(bucket, second_s, 5_000.0)

    assert first_s == 0.0
    assert second_s == pytest.approx(5_000 / 15, rel=0.05)
    assert third_s - second_s > 60.0


def test_one_request_a_minute_is_a_quota_too() -> None:
    bucket = Bucket(1, headroom=0.95)
    times_s = [spent_by(bucket, 0.0, 1.0)]
    for _ in range(5):
        times_s.append(spent_by(bucket, times_s[-1], 1.0))

    gaps_s = [after - before for before, after in itertools.pairwise(times_s)]
    assert min(gaps_s) > 60 + JITTER_S
    assert max(gaps_s) < 60 / 0.94


def test_bulk_work_leaves_a_reserve() -> None:
    bucket = Bucket(600, headroom=0.9)  # 57.75 at once
    for _ in range(100):
        if bucket.lacks_s(0.0, 1.0, reserve=10.0):
            break
        bucket.spend(0.0, 1.0)

    assert 10.0 <= bucket.level(0.0) < 11.0
    assert bucket.lacks_s(0.0, 1.0) == 0.0


def test_a_reserve_that_the_burst_has_no_room_for_keeps_nobody_out_for_ever() -> None:
    bucket = Bucket(1, headroom=0.95)

    assert bucket.lacks_s(0.0, 1.0, reserve=5.0) == 0.0


def test_after_hours_asleep_there_is_one_burst_and_no_more() -> None:
    bucket = Bucket(1_500, headroom=0.95)
    for _ in range(60):
        bucket.spend(10.0, 1.0)

    assert bucket.level(10.0 + 6 * 3_600) == bucket.burst < 70


@pytest.mark.parametrize("back_s", [1e-9, 0.5])
def test_a_clock_that_steps_back_brings_nothing_twice(back_s: float) -> None:
    bucket = Bucket(60, headroom=0.5)
    assert bucket.lacks_s(100.0, 29.0) == 0.0
    bucket.spend(100.0, 29.0)
    level = bucket.level(101.0)
    assert [bucket.level(101.0 - back_s), bucket.level(101.0)] == [level, level]
    assert bucket.lacks_s(101.0 - back_s, level + 1.0) == pytest.approx(2.0 + back_s, abs=1e-3)


def test_a_clock_that_stands_still_is_told_how_long_is_missing() -> None:
    bucket = Bucket(60, headroom=0.5)
    while not bucket.lacks_s(5.0, 1.0):
        bucket.spend(5.0, 1.0)

    waits_s = [bucket.lacks_s(5.0, 5.0) for _ in range(3)]
    assert waits_s[0] > 0
    assert waits_s == [waits_s[0]] * 3


@pytest.mark.parametrize("at_s", [0.0, 1e4, 1e7, 1.7e9])
def test_asking_again_at_the_time_told_is_enough(at_s: float) -> None:
    """A wait that rounding makes too short would be asked for again and again, or, under a clock that only
    timers move, for ever."""
    bucket = Bucket(97_531, headroom=0.93)
    rng = random.Random(3)  # noqa: S311  # a script, not a secret
    again = 0
    for _ in range(3_000):
        amount = rng.uniform(1, 3_000)
        wait_s = bucket.lacks_s(at_s, amount)
        at_s += wait_s
        while wait_s := bucket.lacks_s(at_s, amount):
            again += 1
            assert at_s + wait_s > at_s
            at_s += wait_s
        bucket.spend(at_s, amount)

    assert again <= 3


@pytest.mark.parametrize(
    ("quota", "headroom"), [(0.5, 0.9), (float("inf"), 0.9), (float("nan"), 0.9), (10, 0.0), (10, 1.0)]
)
def test_a_quota_that_cannot_be_kept_is_refused(quota: float, headroom: float) -> None:
    with pytest.raises(SettingsError):
        Bucket(quota, headroom=headroom)
