"""How long to wait: no more costly than the best window chosen in hindsight, and never far from the bound."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.vertex.batching.adaptive import AdaptivePolicy
from perfkit.vertex.batching.choose import policy_of
from perfkit.vertex.batching.fixed import AtOnce, FixedWindow
from perfkit.vertex.batching.greedy import Greedy
from perfkit.vertex.batching.offline import offline_optimum
from perfkit.vertex.batching.policy import BatchPolicy
from perfkit.vertex.batching.replay import replay
from perfkit.vertex.settings import VertexSettings
from tests.vertex.arrivals import MADE_UP, RECORDED, made_up, recorded

WINDOWS_S = (0.005, 0.01, 0.025, 0.05, 0.1)


def ratio(
    policy: BatchPolicy, times_s: Sequence[float], tokens: Sequence[int] | None, worth_s: float
) -> float:
    """What a policy costs against the offline optimum."""
    least = offline_optimum(times_s, tokens, worth_s=worth_s).cost_s
    return replay(policy, times_s, tokens).cost_s(worth_s) / least


@pytest.mark.parametrize("worth_s", [0.025, 0.1], ids=["25 ms", "100 ms"])
@pytest.mark.parametrize("name", RECORDED)
def test_on_recorded_arrivals_it_beats_every_window_chosen_in_hindsight(name: str, worth_s: float) -> None:
    """Real arrivals at language models, as they came and compressed; at most 1.35 times the bound."""
    times_s, tokens = recorded(name)
    windows: list[BatchPolicy] = [AtOnce(), *map(FixedWindow, WINDOWS_S)]
    best = min(ratio(window, times_s, tokens, worth_s) for window in windows)
    adaptive = ratio(AdaptivePolicy(worth_s), times_s, tokens, worth_s)
    assert adaptive <= best
    assert adaptive <= 1.35


@pytest.mark.parametrize("worth_s", [0.025, 0.1], ids=["25 ms", "100 ms"])
@pytest.mark.parametrize("name", MADE_UP)
def test_on_made_up_arrivals_it_is_never_far_from_the_best_window(name: str, worth_s: float) -> None:
    """Smooth, bursty, changing and spiteful ones; a window is chosen in hindsight, the policy is not told."""
    times_s = made_up(name)
    windows: list[BatchPolicy] = [AtOnce(), *map(FixedWindow, WINDOWS_S)]
    best = min(ratio(window, times_s, None, worth_s) for window in windows)
    assert ratio(AdaptivePolicy(worth_s), times_s, None, worth_s) <= best * 1.02


@given(
    gaps_ms=st.lists(
        st.one_of(st.floats(0, 2), st.floats(20, 30), st.floats(0, 1_000)), min_size=1, max_size=300
    ),
    worth_s=st.sampled_from([0.025, 0.1]),
)
@settings(max_examples=150, deadline=None)
def test_whatever_comes_the_cost_is_bounded(gaps_ms: list[float], worth_s: float) -> None:
    """Greedy costs at most twice the bound; the guarded policy little more, and its learning time."""
    times_s = []
    at_s = 0.0
    for gap_ms in gaps_ms:
        at_s += gap_ms / 1_000
        times_s.append(at_s)
    least = offline_optimum(times_s, worth_s=worth_s).cost_s
    assert replay(Greedy(worth_s), times_s).cost_s(worth_s) <= 2 * least + worth_s + 1e-9
    assert replay(AdaptivePolicy(worth_s), times_s).cost_s(worth_s) <= 2.1 * least + 25 * worth_s


def test_at_low_traffic_nobody_waits() -> None:
    """5.5 callers a second: a request is not worth the wait for the next."""
    times_s, tokens = recorded("conv x1")
    waits_s = sorted(replay(AdaptivePolicy(0.025), times_s, tokens).waits_s)
    assert waits_s[int(0.95 * len(waits_s))] <= 0.001


def test_the_first_callers_are_not_kept_waiting_for_nobody() -> None:
    """Nothing is known yet, and a lone caller is sent at once."""
    policy = AdaptivePolicy(0.025)
    policy.arrived(100.0)
    until_s, why = policy.due(100.0, 1, 0.0, 1.0)
    assert (until_s, why) == (100.0, "at_once")


def test_callers_of_one_instant_are_one_request() -> None:
    """A gather of a hundred calls; the batcher sends at the end of the turn."""
    replayed = replay(AdaptivePolicy(0.025), [5.0] * 100)
    assert replayed.requests == 1


@pytest.mark.parametrize("answer_ms", [0.1, 2, 60])
@pytest.mark.parametrize("worth_s", [0.025, 0.1], ids=["25 ms", "100 ms"])
def test_who_asks_again_only_when_he_is_answered_is_not_kept_waiting(
    answer_ms: float, worth_s: float
) -> None:
    """A loop that awaits each text: nobody else ever comes while it waits, though the gaps look like it."""
    policy = AdaptivePolicy(worth_s)
    at_s = waited_s = 0.0
    for _ in range(5_000):
        policy.arrived(at_s)
        until_s, _why = policy.due(at_s, 1, 0.0, 1.0)
        waited_s += max(0.0, until_s - at_s)
        at_s = max(until_s, at_s) + answer_ms / 1_000
    assert waited_s <= 100 * worth_s


def test_waiting_is_taken_up_again_when_company_comes() -> None:
    """After a thousand lonely calls in a loop, 300 callers a second."""
    policy = AdaptivePolicy(0.025)
    at_s = 0.0
    for _ in range(1_000):
        policy.arrived(at_s)
        at_s = max(policy.due(at_s, 1, 0.0, 1.0)[0], at_s) + 0.002
    times_s = [at_s + after_s for after_s in made_up("poisson 300/s", 6_000)]
    replayed = replay(policy, times_s)
    assert replayed.requests < 0.5 * len(times_s)


def test_a_wait_is_none_or_a_millisecond_at_least() -> None:
    """Event loops round their timers up to whole milliseconds, so shorter waits do not exist."""
    policy = AdaptivePolicy(0.025)
    at_s = 0.0
    for number in range(4_000):
        at_s += 0.0004 if number % 7 else 0.01
        policy.arrived(at_s)
        until_s, _why = policy.due(at_s, 1 + number % 5, 0.0005 * (number % 5), 1.0)
        assert until_s <= at_s or until_s - at_s >= 0.001 - 1e-9


def test_a_dearer_request_is_worth_a_longer_wait() -> None:
    """As the quota runs out, the same gaps make for fewer requests."""
    times_s = made_up("poisson 300/s")
    usual, dear = (replay(AdaptivePolicy(0.025), times_s, price=price) for price in (1.0, 8.0))
    assert dear.requests < 0.6 * usual.requests


def test_dear_requests_are_cheap_again_when_the_price_falls() -> None:
    """A price leaves nothing behind."""
    policy = AdaptivePolicy(0.025)
    for number in range(500):
        policy.arrived(number * 0.02)
        policy.due(number * 0.02, 1, 0.0, 20.0)
    policy.arrived(10.0)
    assert policy.due(10.0, 1, 0.0, 20.0)[0] > 10.0
    assert policy.due(10.0, 1, 0.0, 1.0)[0] <= 10.021


def test_a_clock_that_stands_still_or_steps_back_a_little_does_no_harm() -> None:
    """Two readings of one clock may differ by rounding."""
    policy = AdaptivePolicy(0.025)
    for at_s in (5.0, 5.0, 5.0 - 1e-9, 5.1):
        policy.arrived(at_s)
        until_s, _why = policy.due(at_s, 1, 0.0, 1.0)
        assert until_s >= at_s


@pytest.mark.parametrize(
    ("knobs", "kind"),
    [
        ({"batch_policy": "adaptive"}, AdaptivePolicy),
        ({"batch_policy": "fixed", "batch_window_ms": 7}, FixedWindow),
        ({"batch_policy": "off"}, AtOnce),
    ],
)
def test_the_settings_choose(knobs: dict[str, object], kind: type) -> None:
    """One knob names the policy."""
    assert type(policy_of(VertexSettings(**knobs))) is kind
