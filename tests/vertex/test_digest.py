"""Quantiles in bounded room."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.vertex.digest import Digest

VALUES = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=300)


@given(VALUES, st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_within_one_percent(values: list[float], share: float) -> None:
    """Whatever the values are, over twelve orders of magnitude."""
    digest = Digest()
    for value in values:
        digest.add(value)
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert digest.quantile(share) == pytest.approx(exact, rel=0.01)
    assert digest.mean == pytest.approx(sum(values) / len(values))
    assert (digest.count, digest.maximum) == (len(values), max(values))


@given(VALUES, VALUES)
def test_two_put_together_are_as_one(first: list[float], second: list[float]) -> None:
    """As if one had counted all."""
    one, other, both = Digest(), Digest(), Digest()
    for digest, values in ((one, first), (other, second), (both, first + second)):
        for value in values:
            digest.add(value)
    one.merge(other)
    assert [one.quantile(share) for share in (0.1, 0.5, 0.9)] == [
        both.quantile(share) for share in (0.1, 0.5, 0.9)
    ]
    assert one.count == both.count


def test_nothing_counted_is_nothing() -> None:
    """An empty digest answers 0, and so does one of zeros."""
    digest = Digest()
    assert (digest.quantile(0.95), digest.mean) == (0.0, 0.0)
    digest.add(0.0)
    assert digest.quantile(0.95) == 0.0


def test_its_room_is_bounded() -> None:
    """A million values of six orders of magnitude take some thousand buckets."""
    digest = Digest()
    for number in range(1, 100_000):
        digest.add(number * 1.7e-3)
    assert len(digest._counts) < 1_800
