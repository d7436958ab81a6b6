"""When texts arrive and how long they are: recorded traces where there are any, generated ones in their place.

A recorded trace is of requests to language models; here each of its requests is a text to embed that has as many
tokens as its prompt had. Sped up by 20 or 80 (`x20`) the gaps keep their shape and the rate is a busier service's.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perfkit.errors import WorkloadError
from perfkit.lab.traces import read_trace
from perfkit.lab.workload import Workload

__all__ = ["Arrivals", "named", "rows_for_policies"]

BESIDE = Path(__file__).parents[3] / "shared" / "data" / "arrivals"
GENERATED = (
    "There are no recorded arrivals here, so these are generated: gaps of the same spread as the recorded ones."
)
LONGEST = 30_000
BUSY_PER_S = 50.0
"""A trace with a rate above it is not sped up."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Texts in the order they arrive."""

    name: str
    times_s: list[float]
    tokens: list[int]

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def rate_per_s(self) -> float:
        """On average."""
        return len(self) / (self.times_s[-1] - self.times_s[0])

    def faster(self, times: float, *, tokens_by: int = 1) -> Arrivals:
        """Return the same arrivals in less time, their texts shorter where so many a second would be too much."""
        shorter = f", tokens/{tokens_by}" if tokens_by > 1 else ""
        return Arrivals(
            f"{self.name} ×{times:g}{shorter}",
            [at_s / times for at_s in self.times_s],
            [max(1, count // tokens_by) for count in self.tokens],
        )

    def head(self, span_s: float) -> Arrivals:
        """Return those of the first seconds."""
        kept = sum(at_s < span_s for at_s in self.times_s)
        return Arrivals(self.name, self.times_s[:kept], self.tokens[:kept])


def folder() -> Path:
    """Return where recorded arrivals are looked for."""
    return Path(os.environ.get("ARRIVALS") or BESIDE)


def recorded() -> Iterator[Arrivals]:
    """Yield every trace of the folder that perfkit can read, the longest cut."""
    for path in sorted(folder().glob("*.csv*")):
        try:
            yield _of(read_trace(path))
        except WorkloadError:
            continue  # a table that belongs to a trace, such as its distribution of tokens


def named(word: str) -> Arrivals | None:
    """Return the recorded trace whose name holds a word."""
    return next((found for found in recorded() if word in found.name), None)


def stand_ins() -> tuple[Arrivals, Arrivals]:
    """Return generated arrivals: even ones like the recorded conversations, bursts like the recorded code."""
    return (
        _generated("generated, even", gap_s=0.18, spread=1.0, tokens=900, count=12_000),
        _generated("generated, bursts", gap_s=0.39, spread=2.3, tokens=1_500, count=4_000),
    )


def rows_for_policies() -> tuple[list[Arrivals], str]:
    """Return each trace as it is and, where it is slow, 20 times as fast; and what is to be said of them."""
    found = list(recorded())
    said = "" if found else GENERATED
    rows = []
    for trace in found or stand_ins():
        rows.append(trace)
        if trace.rate_per_s < BUSY_PER_S:
            rows.append(trace.faster(20))
    return rows, said


def _of(workload: Workload) -> Arrivals:
    times = workload.times_s[:LONGEST]
    tokens = np.maximum(workload.sizes[: len(times)], 1)
    return Arrivals(workload.name, times.tolist(), tokens.tolist())


def _generated(name: str, *, gap_s: float, spread: float, tokens: int, count: int) -> Arrivals:
    """Gaps whose logarithm is normal, as wide as `spread`; lengths likewise."""
    rng = random.Random(1)  # noqa: S311  # arrivals, not a secret
    at_s, times, counts = 0.0, [], []
    for _ in range(count):
        at_s += gap_s * rng.lognormvariate(-(spread**2) / 2, spread)
        times.append(at_s)
        counts.append(max(1, math.ceil(tokens * rng.lognormvariate(-0.5, 1.0))))
    return Arrivals(name, times, counts)
