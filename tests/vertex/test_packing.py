"""Tokens are estimated from length and script, and the estimate learns from what the server counts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.vertex.batching.packing import TokenEstimate

ENGLISH = "How do I reset the password of an account that somebody else has opened for me"


def test_it_learns_a_low_ratio_so_that_it_rarely_says_too_few() -> None:
    """Texts of 3.5 to 5 bytes a token: after some hundred, hardly any is estimated below its count."""
    rng = random.Random(5)  # noqa: S311  # repeatable
    estimate = TokenEstimate()
    texts = [ENGLISH[: rng.randint(40, 80)] for _ in range(4_000)]
    counts = [int(len(text) / rng.uniform(3.5, 5.0)) for text in texts]
    for text, count in zip(texts[:3_000], counts[:3_000], strict=True):
        estimate.learn([text], [count])
    later = list(zip(texts[3_000:], counts[3_000:], strict=True))
    low = sum(estimate.of(text) < count for text, count in later) / len(later)
    high = sum(estimate.of(text) for text, _ in later) / sum(count for _, count in later)
    assert low <= 0.15
    assert 1.05 <= high <= 1.35


def test_a_script_that_needs_more_tokens_is_learned_apart() -> None:
    """What is counted of Japanese does not change what is thought of English."""
    estimate = TokenEstimate()
    before = estimate.of(ENGLISH)
    for _ in range(500):
        estimate.learn(["今日は良い天気ですね、散歩に行きましょう"], [20])
    assert estimate.of(ENGLISH) == before
    assert 20 <= estimate.of("今日は良い天気ですね、散歩に行きましょう") <= 26


def test_texts_that_were_cut_teach_nothing() -> None:
    """Their count is the model's limit and not theirs."""
    estimate = TokenEstimate(2_048)
    before = estimate.of(ENGLISH)
    for _ in range(100):
        estimate.learn(["x" * 100_000], [2_048])
    assert estimate.of(ENGLISH) == before


def test_what_will_be_cut_counts_as_well() -> None:
    """A request is refused for all the tokens it holds, whatever becomes of them."""
    assert TokenEstimate(2_048).of("word " * 10_000) > 2_048


@given(st.text(max_size=300))
def test_every_text_has_a_token_at_least(text: str) -> None:
    """Also an empty one, and one with halves of surrogate pairs."""
    assert 1 <= TokenEstimate().of(text) <= 1_300


@pytest.mark.parametrize("said_count", [None, 30_000])
def test_a_refusal_for_tokens_raises_the_estimate_and_lowers_the_room(said_count: int | None) -> None:
    """What the server counted is believed, and its limit too."""
    estimate = TokenEstimate(max_tokens=20_000)
    before, room = estimate.of(ENGLISH), estimate.room
    estimate.too_many(19_000, 15_000, said_count)
    assert estimate.of(ENGLISH) > before
    assert estimate.room == 14_550 < room
