"""What several rooms' tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.lab.scenario import Scenario

ROOT = Path(__file__).parents[1]


LONGEST = (
    "test_cli",
    "notebooks/test_cache",
    "notebooks/test_others",
    "lab/test_asgi_rig",
    "lab/test_pools_rig",
)
"""Files that take longest, longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: at the end no process waits for another."""
    rank = {ROOT / "tests" / f"{name}.py": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture(scope="session")
def tiny() -> Scenario:
    """The quickstart's question made so small that all four stages take about a second."""
    question = Scenario.load(ROOT / "scenarios" / "quickstart.yaml")
    document = question.model_dump(mode="json") | {
        "name": "tiny",
        "axes": {"cache.l1_max_entries": [50, 300], "cache.l1_ttl_seconds": [5, 60]},
        "baseline": {"cache.l1_max_entries": 50, "cache.l1_ttl_seconds": 5, "cache.l2_ttl_seconds": 300},
        "world": {"redis_ms": 0.6, "origin_ms": 40},  # a tenth of it is how late a request may start
        "guardrails": [],
        "simulate": {"requests": 200, "warmup": 400, "promote": 1},
        "measure": {"requests": 320, "warmup": 400, "rounds": 8, "rate_per_s": 500, "finalists": 1},
        "confirm": {"rounds": 8},
    }
    document["workload"] |= {"requests": 1_400, "objects": 400}
    return Scenario.model_validate(document)
