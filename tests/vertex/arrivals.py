"""Arrivals for tests of policies: recorded ones where there are any, and made-up ones of many kinds."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from perfkit.lab.arrivals import BYTES_PER_TOKEN
from perfkit.lab.traces import read_trace
from perfkit.lab.workload import Stretch

__all__ = ["MADE_UP", "RECORDED", "made_up", "recorded"]

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "arrivals"
RECORDED = ("conv x1", "conv x20", "code x1", "code x20", "servegen")
_FILES = {
    "conv": "azure_llm_2023_conv.csv.gz",
    "code": "azure_llm_2023_code_first_half.csv.gz",
    "servegen": "servegen_m-small_rates.csv.gz",
}


def recorded(name: str) -> tuple[list[float], list[int]]:
    """Times and tokens of a trace, its time compressed as its name says."""
    kind, _, speed = name.partition(" x")
    file = FOLDER / _FILES[kind]
    if not file.exists():
        pytest.skip(f"no recorded arrivals here: {file.name}")
    stretch = Stretch(start_s=3 * 86_400 + 36_000, requests=10_000) if kind == "servegen" else Stretch()
    workload = read_trace(file, stretch=stretch, speed=float(speed or 1))
    tokens = [min(int(size) // BYTES_PER_TOKEN, 2_048) for size in workload.sizes]
    return workload.times_s.tolist(), tokens


def _renewal(gap: Callable[[random.Random], float]) -> Callable[[random.Random, int], list[float]]:
    def times(rng: random.Random, count: int) -> list[float]:
        at_s, made = 0.0, []
        for _ in range(count):
            at_s += gap(rng)
            made.append(at_s)
        return made

    return times


def _bursts(rng: random.Random, count: int) -> list[float]:
    """Somebody's page loads: a second of silence, then several at once."""
    at_s, made = 0.0, []
    while len(made) < count:
        at_s += rng.expovariate(1.0)
        for _ in range(1 + int(rng.expovariate(1 / 8))):
            made.append(at_s)
            at_s += rng.expovariate(400)
    return made[:count]


def _regimes(rng: random.Random, count: int) -> list[float]:
    """The rate changes without notice."""
    at_s, made = 0.0, []
    while len(made) < count:
        rate = rng.choice([2, 20, 200, 1_000])
        for _ in range(rng.randint(100, 1_000)):
            at_s += rng.expovariate(rate)
            made.append(at_s)
    return made[:count]


def _spiteful(rng: random.Random, count: int) -> list[float]:
    """Teaches that nobody follows, then sends pairs just within what would have been worth waiting for."""
    at_s, made = 0.0, []
    while len(made) < count:
        kind = rng.choice(["sparse", "pairs", "burst", "edge"])
        for _ in range(rng.randint(100, 1_000)):
            at_s += {"sparse": 0.1, "pairs": 0.1, "burst": 0.125, "edge": 0.02525}[kind]
            made.append(at_s)
            for _ in range({"pairs": 1, "burst": 10}.get(kind, 0)):
                at_s += 0.0075 if kind == "pairs" else 0.0005
                made.append(at_s)
    return made[:count]


MADE_UP = {
    "poisson 30/s": _renewal(lambda rng: rng.expovariate(30)),
    "poisson 300/s": _renewal(lambda rng: rng.expovariate(300)),
    "gamma, very bursty": _renewal(lambda rng: rng.gammavariate(0.1, 0.2)),
    "weibull": _renewal(lambda rng: rng.weibullvariate(0.003, 0.4)),
    "clockwork": _renewal(lambda rng: 0.02),
    "bursts": _bursts,
    "regimes": _regimes,
    "spiteful": _spiteful,
}


def made_up(name: str, count: int = 8_000) -> list[float]:
    """Times of arrivals of a kind, the same every time."""
    return MADE_UP[name](random.Random(7), count)  # noqa: S311  # repeatable
