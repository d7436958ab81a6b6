"""Levels follow the aim, the load and the kind of body."""

from __future__ import annotations

import json
import random

import pytest

from perfkit.asgi.codecs import CODECS
from perfkit.asgi.levels import Step, is_numeric, level_of

KINDS = [{}, {"small": True}, {"numeric": True}, {"stream": True}]


def _vectors(count: int) -> bytes:
    rng = random.Random(1)  # noqa: S311  # a body, not a secret
    rows = [{"index": n, "embedding": [rng.gauss(0, 0.05) for _ in range(64)]} for n in range(count)]
    return json.dumps({"data": rows}).encode()


def _orders(count: int) -> bytes:
    rng = random.Random(1)  # noqa: S311  # a body, not a secret
    rows = [
        {"id": rng.randrange(99_999), "sku": f"SKU-{rng.randrange(900)}", "amount": rng.randrange(9_999)}
        for _ in range(count)
    ]
    return json.dumps(rows).encode()


@pytest.mark.parametrize("coding", CODECS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_each_step_of_load_works_less_or_as_much(coding: str, kind: dict[str, bool]) -> None:
    """From the least money down to haste; off is haste, for a client that refuses identity."""
    levels = [level_of(coding, step, **kind) for step in Step]

    assert levels == sorted(levels, reverse=True)
    assert levels[Step.OFF] == levels[Step.FAST] >= 1


@pytest.mark.parametrize("coding", CODECS)
def test_numbers_are_not_searched_for_what_is_not_there(coding: str) -> None:
    """A higher level than for words finds nothing in them."""
    for step in Step:
        assert level_of(coding, step, numeric=True) <= level_of(coding, step)


@pytest.mark.parametrize("step", Step)
def test_brotli_streams_never_use_the_levels_that_learn_nothing(step: Step) -> None:
    """0 and 1 compress each flushed part by itself."""
    assert level_of("br", step, stream=True) >= 2


@pytest.mark.parametrize("coding", CODECS)
def test_a_stream_of_events_shrinks_at_every_step(coding: str) -> None:
    """Six times at the least, flushed after each."""
    event = (
        b'data: {"id": "chatcmpl-9f3a2c", "object": "chat.completion.chunk", "created": 1780000000, "model": '
        b'"large", "choices": [{"index": 0, "delta": {"content": " %d"}, "finish_reason": null}]}\n\n'
    )
    events = [event % number for number in range(300)]
    for step in Step:
        encoder = CODECS[coding].encoder(level_of(coding, step, stream=True))
        sent = sum(len(encoder.feed(one)) for one in events)

        assert sum(map(len, events)) >= 6 * sent, (coding, step)


def test_vectors_are_told_from_words() -> None:
    """By samples: what stands before and between them does not matter."""
    assert is_numeric(_vectors(20))
    assert is_numeric(b"[" + b"0.25, -1e-05,\n " * 500 + b"0]")
    assert not is_numeric(_orders(400))
    assert not is_numeric(b'{"content": "' + b"a word or two, and then some more of them " * 200 + b'"}')
    assert not is_numeric(b"")
    assert not is_numeric(b"1, " * 100)


def test_a_hurried_level_makes_as_little_of_vectors_as_a_thorough_one() -> None:
    """Which is why they have levels of their own."""
    body = _vectors(100)
    hurried = len(CODECS["zstd"].compress(body, level_of("zstd", Step.COST, numeric=True)))
    thorough = len(CODECS["zstd"].compress(body, level_of("zstd", Step.COST)))

    assert hurried < thorough


@pytest.mark.parametrize("body", [_orders(1_000), _vectors(100)], ids=["orders", "vectors"])
def test_the_aim_of_least_cost_sends_no_more_bytes(body: bytes) -> None:
    """Than the aim of least time does, in each coding."""
    numeric = is_numeric(body)
    for coding, codec in CODECS.items():
        cost, latency = (
            len(codec.compress(body, level_of(coding, step, numeric=numeric)))
            for step in (Step.COST, Step.LATENCY)
        )
        assert cost <= latency, coding
