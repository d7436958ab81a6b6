"""What the nodes of a cluster have done and are doing, as one pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["over_nodes"]

_SUMMED: Final = (
    *("circuit_opened", "in_flight", "limit", "waiting", "waits", "refusals", "loop_stalls"),
    *("connections", "connections_used", "connections_idle", "connections_max"),
    *("own_connections", "max_connections"),
)
_BY_WORST: Final = ("disabled", "metrics_only", "closed", "half_open", "open", "forced_open")


def over_nodes(
    nodes: Sequence[Mapping[str, str | int | float]], gone: Mapping[str, int]
) -> dict[str, str | int | float]:
    """Return the metrics of all nodes in one.

    Args:
        nodes: The metrics of each node's client.
        gone: Totals of nodes that have left.
    """
    states = [str(node["circuit_state"]) for node in nodes]
    summed = {name: sum(int(node[name]) for node in nodes) + gone.get(name, 0) for name in _SUMMED}
    return {
        **summed,
        "circuit_state": max(states, key=_BY_WORST.index) if states else "closed",
        "circuits_open": sum(state in ("open", "forced_open") for state in states),
        "nodes": len(nodes),
    }
