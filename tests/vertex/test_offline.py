"""The bound that no policy can pass, held against trying everything."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.vertex.batching.adaptive import AdaptivePolicy
from perfkit.vertex.batching.fixed import AtOnce, FixedWindow
from perfkit.vertex.batching.greedy import Greedy
from perfkit.vertex.batching.offline import offline_optimum
from perfkit.vertex.batching.replay import replay

TIMES = st.lists(st.integers(0, 400), min_size=1, max_size=12).map(
    lambda steps: [step / 1_000 for step in sorted(steps)]
)


def tried_all(times_s: list[float], tokens: list[int], worth_s: float, texts: int, load: int) -> float:
    """The cheapest of all ways to cut the arrivals into requests."""

    @cache
    def least(first: int) -> float:
        if first == len(times_s):
            return 0.0
        found = float("inf")
        for stop in range(first + 1, len(times_s) + 1):
            part = range(first, stop)
            if len(part) > 1 and (len(part) > texts or sum(tokens[at] for at in part) > load):
                break
            waited_s = sum(times_s[stop - 1] - times_s[at] for at in part)
            found = min(found, worth_s + waited_s + least(stop))
        return found

    return least(0)


@given(TIMES, st.data(), st.sampled_from([0.005, 0.025, 0.2]), st.integers(1, 5), st.integers(5, 40))
@settings(max_examples=300, deadline=None)
def test_it_is_what_trying_everything_finds(
    times_s: list[float], data: st.DataObject, worth_s: float, texts: int, load: int
) -> None:
    """With limits on texts and tokens, and texts too large for any company."""
    tokens = data.draw(st.lists(st.integers(1, 45), min_size=len(times_s), max_size=len(times_s)))
    best = offline_optimum(times_s, tokens, worth_s=worth_s, max_texts=texts, max_tokens=load)
    assert best.cost_s == pytest.approx(tried_all(times_s, tokens, worth_s, texts, load))
    assert best.cost_s == pytest.approx(best.requests * worth_s + best.waited_s)


@given(TIMES, st.sampled_from([0.005, 0.025, 0.2]))
@settings(max_examples=100, deadline=None)
def test_no_policy_costs_less(times_s: list[float], worth_s: float) -> None:
    """Nobody does better without knowing what comes."""
    least = offline_optimum(times_s, worth_s=worth_s).cost_s
    for policy in (AtOnce(), FixedWindow(0.02), Greedy(worth_s), AdaptivePolicy(worth_s)):
        assert replay(policy, times_s).cost_s(worth_s) >= least - 1e-9
