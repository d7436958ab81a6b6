"""Requests to replay: recorded traces where they lie beside the checkout, generated ones in their place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from perfkit.lab.scenario import GeneratedWorkload, TraceWorkload
from perfkit.lab.sources import load_workload
from perfkit.lab.workload import Workload

TRACES = Path(__file__).parents[3] / "shared" / "data" / "traces"
ABSENT = "Not asked: the recorded traces lie beside the checkout, in shared/data/traces, and are not here."

STAND_IN = GeneratedWorkload(
    kind="generated", requests=660_000, objects=120_000, zipf_alpha=0.9, arrivals="poisson", rate_per_s=120
)
RECORDED = {
    "twitter 52, 1/16": ("twitter_cluster52_10m_sample16.csv.xz", None),
    "twitter 52": ("twitter_cluster52_1m.csv.xz", None),
    "web12": ("cache2k_web12.trace.xz", 100.0),
    "orm-busy": ("cache2k_orm-busy.trace.xz", 1_000.0),
}
"""By name: the file, and a rate for those that have no times."""
LONGEST = 1_500_000


def stand_in() -> Workload:
    """Return generated requests."""
    return load_workload(STAND_IN, seed=1, folder=Path())


def recorded() -> Iterator[tuple[str, Workload]]:
    """Yield the recorded traces that are there, the longest cut."""
    for name, (file, rate) in RECORDED.items():
        if (TRACES / file).exists():
            spec = TraceWorkload(kind="trace", path=file, rate_per_s=rate)
            yield name, load_workload(spec, seed=1, folder=TRACES).head(LONGEST)
