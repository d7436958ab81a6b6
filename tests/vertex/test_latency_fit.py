"""What a request's time is made of, as far as the requests tell."""

from __future__ import annotations

import random

import pytest

from perfkit.vertex.latency_fit import FittedLatency, LatencyFit


def fitted(requests: int, *, texts: tuple[int, int], words: tuple[int, int], noise: float) -> FittedLatency:
    """A fit to requests of so many texts and words, on a server of 60 ms, 0.8 ms a text, 0.04 ms a token."""
    rng = random.Random(2)  # noqa: S311  # repeatable
    fit = LatencyFit()
    for _ in range(requests):
        count = rng.randint(*texts)
        tokens = count * rng.randint(*words)
        seconds = 0.06 + 0.0008 * count + 0.00004 * tokens
        fit.add(count, tokens, seconds * rng.lognormvariate(0, noise))
    return fit.fitted()


def test_all_three_terms_are_found_under_noise() -> None:
    """Within a tenth, where requests differ in both."""
    found = fitted(2_000, texts=(1, 100), words=(5, 200), noise=0.1)
    assert found.base_s == pytest.approx(0.06, rel=0.2)
    assert found.per_text_s == pytest.approx(0.0008, rel=0.3)
    assert found.per_token_s == pytest.approx(0.00004, rel=0.1)
    assert found.r2 is not None
    assert found.r2 > 0.8


def test_where_all_requests_are_alike_no_slope_is_made_up() -> None:
    """All is base; there is nothing to tell."""
    found = fitted(100, texts=(1, 1), words=(10, 10), noise=0.05)
    assert (found.per_text_s, found.per_token_s, found.r2) == (None, None, None)
    assert found.base_s == pytest.approx(0.0612, rel=0.05)


def test_where_texts_and_tokens_grow_together_the_tokens_are_left_out() -> None:
    """Each text has ten tokens: their parts cannot be told apart, and their sum can."""
    found = fitted(200, texts=(1, 100), words=(10, 10), noise=0.0)
    assert found.per_token_s is None
    assert found.per_text_s == pytest.approx(0.0012, rel=0.01)


def test_a_server_that_becomes_slower_is_seen() -> None:
    """Old requests fade."""
    fit = LatencyFit(half_life=50)
    for base_s in (0.05, 0.5):
        for number in range(500):
            fit.add(1 + number % 20, 10 * (1 + number % 7), base_s)
    assert fit.fitted().base_s == pytest.approx(0.5, rel=0.02)


def test_of_one_request_nothing_is_told() -> None:
    """Two points are no fit either."""
    fit = LatencyFit()
    fit.add(1, 10, 0.1)
    assert fit.fitted() == FittedLatency(requests=1)
