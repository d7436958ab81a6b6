"""A small question about the pools, for every test of the laboratory that needs a second rig."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perfkit.lab.scenario import Scenario


@pytest.fixture(scope="session")
def pools_question() -> Callable[..., Scenario]:
    """Build a question about the pools; sections are replaced by name."""

    def build(**sections: Any) -> Scenario:
        document: dict[str, Any] = {
            "name": "small",
            "question": "How many connections?",
            "rig": "pools",
            "workload": {"kind": "generated", "requests": 4_000, "objects": 50, "rate_per_s": 500},
            "world": {"redis_ms": [1, 5]},
            "traffic": {"calls": [{"pool": "default", "command": "get", "share": 1}]},
            "baseline": {"pools.default.transport": "classic", "pools.default.max_connections": 4},
            "axes": {"pools.default.max_connections": [2, 4, 16]},
            "objective": {"metric": "response_p95_ms"},
            "simulate": {"requests": 600, "warmup": 100, "promote": 1},
            "measure": None,
        }
        return Scenario.model_validate(document | sections)

    return build
