"""When texts arrive and how long they are: as it was recorded, or generated where nothing was.

A recorded trace is of requests to language models; here each of its requests is a text to embed that has as
many tokens as its prompt had. Sped up by 20 or 80 (`x20`) the gaps keep their shape and the rate is a
busier service's.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perfkit.lab.arrivals import BYTES_PER_TOKEN, kind_by_header
from perfkit.lab.trace_files import bytes_of, first_fields
from perfkit.lab.traces import read_trace
from perfkit.lab.workload import Stretch, Workload

__all__ = ["Arrivals", "named", "rows_for_policies"]

BESIDE = Path(__file__).parents[3] / "shared" / "data" / "arrivals"
GENERATED = "Nothing was recorded here, so arrivals are generated, their gaps as uneven as recorded ones."
LONGEST = 30_000
MORNING = Stretch(start_s=3 * 86_400 + 36_000, requests=LONGEST)
"""Of rates that were fitted to a fortnight: the fourth day, from 10:00 on."""
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
        """Return the same arrivals in less time, their texts shorter where that would be too much."""
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
    """Yield every trace of the folder, the longest cut; of fitted rates, what they come to one morning."""
    for path in sorted(folder().glob("*.csv*")):
        kind = kind_by_header(first_fields(bytes_of(path), path))
        if kind == "servegen":
            law = path.with_name(path.name.replace("_rates", "_token_pdf"))
            yield _of(read_trace(path, stretch=MORNING, tokens=law if law.exists() else None))
        elif kind != "tokens":
            yield _of(read_trace(path, stretch=Stretch(requests=LONGEST)))


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
    tokens = np.maximum(workload.sizes // BYTES_PER_TOKEN, 1)
    return Arrivals(workload.name, workload.times_s.tolist(), tokens.tolist())


def _generated(name: str, *, gap_s: float, spread: float, tokens: int, count: int) -> Arrivals:
    """Gaps whose logarithm is normal, as wide as `spread`; lengths likewise."""
    rng = random.Random(1)  # noqa: S311  # arrivals, not a secret
    at_s, times, counts = 0.0, [], []
    for _ in range(count):
        at_s += gap_s * rng.lognormvariate(-(spread**2) / 2, spread)
        times.append(at_s)
        counts.append(max(1, math.ceil(tokens * rng.lognormvariate(-0.5, 1.0))))
    return Arrivals(name, times, counts)
