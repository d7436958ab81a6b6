"""The books of a client that is idle."""

from __future__ import annotations

from typing import Any

from perfkit.pools import OptimizedRedis
from tests.pools.waiting import until


async def balanced(client: OptimizedRedis) -> dict[str, Any]:
    """Return the metrics of an idle client: each of its calls has ended once, and nothing is held.

    The map of a cluster may still be read beside the traffic, which is waited for.
    """
    await until(lambda: client.metrics["in_flight"] == 0)
    metrics: dict[str, Any] = await client.get_metrics()
    assert metrics["calls"] == metrics["ok"] + metrics["failed"] + metrics["rejected"] + metrics["cancelled"]
    assert (metrics["in_flight"], metrics["own_connections"], metrics["waiting"]) == (0, 0, 0)
    return metrics
