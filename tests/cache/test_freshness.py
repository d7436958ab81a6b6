"""How long an answer lives, and when it is time for a new one."""

import math
import random
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.cache.freshness import early_from_s, is_due, jittered_seconds
from perfkit.cache.settings import CacheSettings


@given(st.text(), st.floats(0.001, 1e6), st.floats(0, 0.5))
def test_jitter_only_shortens_and_by_no_more_than_its_share(key: str, ttl: float, jitter: float) -> None:
    shortened = jittered_seconds(ttl, key, jitter, "l1")

    assert ttl * (1 - jitter) <= shortened <= ttl
    assert shortened == jittered_seconds(ttl, key, jitter, "l1")


def test_jitter_spreads_keys_evenly_and_differs_by_tier() -> None:
    l1 = [jittered_seconds(100.0, f"users:{n}", 0.2, "l1") for n in range(4_000)]
    l2 = [jittered_seconds(100.0, f"users:{n}", 0.2, "l2") for n in range(4_000)]

    for lives in (l1, l2):
        in_tenths = [sum(80 + 2 * tenth <= life < 82 + 2 * tenth for life in lives) for tenth in range(10)]
        assert all(320 < count < 480 for count in in_tenths)
    assert sum(a == b for a, b in zip(l1, l2, strict=True)) == 0


def test_jitter_is_the_formula_that_the_model_uses() -> None:
    share = crc32(b"l2:users:7") / 2**32

    assert jittered_seconds(10.0, "users:7", 0.5, "l2") == 10.0 * (1 - 0.5 * share)


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_xfetch_renews_as_early_as_the_paper_says(beta: float) -> None:
    """The time before the end at which it renews is exponential with mean Δ·β (Vattani et al., 2015)."""
    settings = CacheSettings(refresh="xfetch", refresh_beta=beta)
    rng, delta, expires = random.Random(7), 0.2, 1_000.0  # noqa: S311  # repeatable
    early = early_from_s(settings, 0.0, expires, delta)
    moments = [expires - delta * beta * gap for gap in (0.1, 1.0, 2.0, 3.0)]
    chances = [
        sum(is_due(settings, at, early, expires, rng) for _ in range(20_000)) / 20_000 for at in moments
    ]

    assert early == pytest.approx(expires - 14 * delta * beta)
    assert chances == pytest.approx([math.exp(-gap) for gap in (0.1, 1.0, 2.0, 3.0)], abs=0.015)


def test_nothing_is_renewed_before_it_is_thinkable() -> None:
    rng = random.Random(1)  # noqa: S311  # repeatable
    for refresh in ("off", "xfetch", "eager"):
        settings = CacheSettings(refresh=refresh, refresh_share=0.8)
        early = early_from_s(settings, 0.0, 100.0, 1.0)
        assert not any(is_due(settings, early - 0.001, early, 100.0, rng) for _ in range(1_000))


def test_eager_renews_from_a_share_of_the_life_on() -> None:
    settings = CacheSettings(refresh="eager", refresh_share=0.8)
    early = early_from_s(settings, 100.0, 200.0, 1.0)
    rng = random.Random(1)  # noqa: S311  # repeatable

    assert early == 180.0
    assert is_due(settings, 180.0, early, 200.0, rng)
