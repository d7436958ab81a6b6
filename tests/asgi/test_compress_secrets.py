"""What compression must not give away (BREACH)."""

from __future__ import annotations

import random

import pytest

from perfkit.asgi.compress import Compression
from perfkit.asgi.settings import AsgiSettings
from tests.asgi.answers import BODY, DECODE, answer, asked, compression


def test_secrets_are_kept_from_other_sites_when_asked_for() -> None:
    """BREACH needs an answer that is compressed, a secret in it, and a request another site can cause."""
    crossed = asked(sec_fetch_site=b"cross-site", cookie=b"session=1")
    careful = compression(compress_cross_site=False)

    assert compression().whole(crossed, answer(), BODY) != BODY
    assert careful.whole(crossed, answer(), BODY) is BODY
    assert careful.stream(crossed, answer()) is None
    assert careful.whole(asked(sec_fetch_site=b"cross-site"), answer(), BODY) != BODY
    assert careful.whole(asked(sec_fetch_site=b"same-origin", cookie=b"session=1"), answer(), BODY) != BODY


@pytest.mark.parametrize("coding", DECODE)
def test_noise_blurs_the_size_of_an_answer(coding: bytes) -> None:
    """By a field of up to so many bytes, in any coding; what is not compressed needs none."""
    noisy = compression(compress_noise_bytes=16)
    lengths = set()
    for _ in range(400):
        head = answer()
        noisy.whole(asked(coding), head, BODY)
        lengths.add(len(head.get(b"x-noise") or b""))
    plain = answer()
    noisy.whole(asked(None), plain, BODY)

    assert lengths == set(range(17))
    assert plain.get(b"x-noise") is None


def test_noise_comes_from_the_system_unless_told_otherwise() -> None:
    """A seed can be guessed."""
    drawn = []
    for rng in (random.Random(7), random.Random(7), None, None):  # noqa: S311  # the one that can be guessed
        head = answer()
        noisy = Compression(AsgiSettings(compress_noise_bytes=256, compress_lag_ms=0), rng=rng)
        for _ in range(3):
            noisy.whole(asked(), head, BODY)
        drawn.append(head.get(b"x-noise"))

    assert drawn[0] == drawn[1]
    assert drawn[2] != drawn[3]
