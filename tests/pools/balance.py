"""The books of a client that is idle."""

from __future__ import annotations

from typing import Any

from perfkit.pools import OptimizedRedis


async def balanced(client: OptimizedRedis) -> dict[str, Any]:
    """Return the metrics of an idle client: each of its calls has ended once, and nothing is held."""
    metrics: dict[str, Any] = await client.get_metrics()
    assert metrics["calls"] == metrics["ok"] + metrics["failed"] + metrics["rejected"] + metrics["cancelled"]
    assert (metrics["in_flight"], metrics["own_connections"], metrics["waiting"]) == (0, 0, 0)
    return metrics
