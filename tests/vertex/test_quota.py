"""The pace of a base model: no refusal where the quota is ours alone, and a fair share where it is not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.errors import SettingsError
from perfkit.vertex.quota.quota import Quota


class Hands:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def quota_at(hands: Hands, **fields: float) -> Quota:
    return Quota(clock=hands, rng=random.Random(4), **fields)  # noqa: S311  # repeatable


def sent(
    quota: Quota, hands: Hands, seconds: float, tokens: float = 0.0, *, bulk: bool = False
) -> list[float]:
    """When requests pass for somebody who always wants to send."""
    times_s = []
    until_s = hands.now_s + seconds
    while hands.now_s < until_s:
        wait_s = quota.take()
        if wait_s == 0.0:
            times_s.append(hands.now_s)
        else:
            hands.now_s += wait_s + 1e-6
    return times_s


def drained(quota: Quota, tokens: float = 0.0, *, bulk: bool = False) -> int:
    """Take all that may be taken at once, and say how often."""
    times = 0
    while quota.take(tokens, bulk=bulk) == 0.0:
        times += 1
    return times


def fullest_minute(times_s: list[float], phase_s: float) -> int:
    """Requests in the fullest fixed minute of a server whose minutes begin at a phase."""
    minutes: dict[int, int] = {}
    for at_s in times_s:
        minute = int((at_s + phase_s) // 60)
        minutes[minute] = minutes.get(minute, 0) + 1
    return max(minutes.values())


@given(
    per_minute=st.sampled_from([1, 6, 60, 600, 1_500]),
    headroom=st.sampled_from([0.5, 0.9, 0.95, 0.99]),
    phase_s=st.floats(0, 60),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_no_minute_of_any_server_overflows(
    per_minute: int, headroom: float, phase_s: float, seed: int
) -> None:
    """Whoever sends all he may for five minutes, over a network that delays each by up to 0.2 s."""
    hands = Hands()
    rng = random.Random(seed)  # noqa: S311  # repeatable
    times_s = sent(quota_at(hands, requests_per_minute=per_minute, headroom=headroom), hands, 300)
    arrived_s = [at_s + rng.random() * 0.2 for at_s in times_s]
    assert fullest_minute(arrived_s, phase_s) <= per_minute
    assert len(times_s) >= 0.45 * per_minute * 5 or per_minute == 1


def test_requests_and_tokens_are_taken_both_or_none() -> None:
    """What tokens are missing for does not cost a request."""
    hands = Hands()
    quota = quota_at(hands, requests_per_minute=600, tokens_per_minute=6_000, headroom=0.9)
    spent_on_tokens = drained(quota, 100)
    before = quota.depletion
    assert quota.take(100) > 0
    assert quota.depletion == pytest.approx(before)
    assert spent_on_tokens < 10  # tokens ran out first


def test_a_request_larger_than_the_burst_passes_and_is_paid_for() -> None:
    """And no trickle of small ones keeps it out."""
    hands = Hands()
    quota = quota_at(hands, tokens_per_minute=60_000, headroom=0.9)
    large = quota.burst_tokens * 2
    next_s = hands.now_s
    for _ in range(4_000):
        if hands.now_s >= next_s:
            wait_s = quota.take(large)
            if wait_s == 0.0:
                break
            next_s = hands.now_s + wait_s
        quota.take(50)
        hands.now_s += 0.05
    else:
        pytest.fail("the large request starved")
    assert quota.take(100) > 1.0  # it left a debt


def test_what_was_counted_is_charged_in_place_of_the_estimate() -> None:
    """Too high an estimate comes back, too low a one is taken."""
    hands = Hands()
    quota = quota_at(hands, tokens_per_minute=60_000, headroom=0.9)
    quota.take(1_000)
    taken = quota.depletion
    quota.settle(1_000, 200)
    assert quota.depletion < taken
    quota.settle(200, 2_000)
    assert quota.depletion > taken


def test_what_was_not_sent_is_given_back() -> None:
    """The breaker may say no after the quota said yes."""
    hands = Hands()
    quota = quota_at(hands, requests_per_minute=60, tokens_per_minute=600)
    quota.take(5)
    quota.unsent(5)
    assert quota.depletion == pytest.approx(0.0)


def test_without_a_quota_everything_passes_and_costs_its_usual_price() -> None:
    """0 is no quota."""
    quota = quota_at(Hands())
    assert [quota.take(1e9) for _ in range(100)] == [0.0] * 100
    assert (quota.price, quota.depletion, quota.utilisation) == (1.0, 0.0, 0.0)


def test_the_price_rises_as_the_quota_runs_out() -> None:
    """1 + u²/(1 − u): hardly at first, steeply at the end, and never beyond all bounds."""
    hands = Hands()
    quota = quota_at(hands, requests_per_minute=1_500)
    prices = [quota.price]
    while quota.take() == 0.0:
        prices.append(quota.price)
    assert prices == sorted(prices)
    assert prices[0] == 1.0
    assert prices[len(prices) // 2] < 2.0
    assert 5 < prices[-1] < 60


def test_bulk_work_leaves_a_reserve_for_single_queries() -> None:
    """Who always sends bulk never keeps a single query waiting."""
    hands = Hands()
    quota = quota_at(hands, requests_per_minute=1_500)
    drained(quota, bulk=True)
    assert quota.take() == 0.0


def test_a_refusal_pauses_everything_for_as_long_as_the_server_says() -> None:
    """And a little longer, so that not all come back at once."""
    hands = Hands()
    quota = quota_at(hands, requests_per_minute=1_500)
    quota.refused(7.0)
    assert 7.0 <= quota.take() <= 7.8
    assert (quota.depletion, quota.refusals) == (1.0, 1)
    hands.now_s += 8.0
    assert quota.take() == 0.0


def test_many_refusals_of_one_burst_are_one() -> None:
    """Thirty requests were under way when the quota ended: the share falls once."""
    hands = Hands()
    quota = quota_at(hands, requests_per_minute=1_500)
    sent_s = hands.now_s
    hands.now_s += 0.1
    for _ in range(30):
        quota.refused(sent_s=sent_s)
        hands.now_s += 0.02
    assert quota.share == pytest.approx(0.8)


def test_a_share_is_found_and_grows_back() -> None:
    """Two hundredths a minute, up to all of it."""
    hands = Hands()
    quota = quota_at(hands, requests_per_minute=1_500)
    quota.refused(1.0, sent_s=hands.now_s)
    sent(quota, hands, 300)
    assert 0.85 <= quota.share <= 0.95
    sent(quota, hands, 900)
    assert quota.share == 1.0


def test_beside_a_stranger_who_takes_half_refusals_become_rare() -> None:
    """The server counts 600 a minute; another client takes 300 of them at each minute's beginning."""
    hands = Hands()
    quota = quota_at(hands, requests_per_minute=600)
    begun_s, refused_by_minute, counts = hands.now_s, {}, {}
    while hands.now_s < begun_s + 1_800:
        wait_s = quota.take()
        if wait_s:
            hands.now_s += wait_s + 1e-6
            continue
        minute = int((hands.now_s - begun_s) // 60)
        counts[minute] = counts.get(minute, 300) + 1
        if counts[minute] > 600:
            refused_by_minute[minute] = refused_by_minute.get(minute, 0) + 1
            quota.refused(sent_s=hands.now_s)
    late = sum(count for minute, count in refused_by_minute.items() if minute >= 10)
    served = sum(min(count, 600) - 300 for minute, count in counts.items() if minute >= 10)
    assert late <= 0.05 * served
    assert served >= 0.6 * 300 * 20


def test_a_clock_that_stands_or_leaps_makes_no_more_than_one_burst() -> None:
    """An instance that was frozen for hours has saved nothing up."""
    hands = Hands()
    quota = quota_at(hands, requests_per_minute=1_500)
    burst = drained(quota)
    hands.now_s += 10_000
    assert drained(quota) <= burst + 1
    hands.now_s -= 1e-9
    assert quota.take() > 0


@pytest.mark.parametrize("fields", [{"requests_per_minute": 0.5}, {"requests_per_minute": -1}, {"price": -1}])
def test_a_quota_that_none_could_keep_is_refused(fields: dict[str, float]) -> None:
    """With what is allowed instead."""
    with pytest.raises(SettingsError):
        quota_at(Hands(), **fields)
