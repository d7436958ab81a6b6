"""The books of a client that is idle, or soon will be."""

from __future__ import annotations

from typing import Any

from perfkit.pools import OptimizedRedis
from tests.pools.waiting import until


async def balanced(client: OptimizedRedis) -> dict[str, Any]:
    """Return the metrics once nothing is held: then each call has ended, in one way.

    The map of a cluster may still be read beside the traffic, and what was cancelled may still be answered.
    """
    await until(lambda: not any(client.metrics[held] for held in ("in_flight", "own_connections", "waiting")))
    metrics: dict[str, Any] = await client.get_metrics()
    assert metrics["calls"] == metrics["ok"] + metrics["failed"] + metrics["rejected"] + metrics["cancelled"]
    return metrics
