"""What a pool's size comes to, in closed form: the wait for a connection, and on top the round trip.

On transport `classic` each call holds a connection for its round trip, so callers queue for the connections
there are. On `mux` nobody waits for one; what is left is the limit of calls under way. On both, every command
takes its time of the one thread that sends it, `world.command_ms`, which is a queue of its own.

What the model does not know: large replies that hold up small ones, faults, and what a transport saves of the
processor's time. Those are simulated or measured.
"""

from __future__ import annotations

import math
from collections import defaultdict

from perfkit.lab.queueing import Queue, most_at_once, quantile_s
from perfkit.lab.scenario import World
from perfkit.lab.traffic import Traffic
from perfkit.pools.settings import PoolSettings, PoolsSettings

__all__ = ["modelled_response"]

_QUANTILES = {"response_p50_ms": 0.5, "response_p95_ms": 0.95, "response_p99_ms": 0.99}


def modelled_response(
    settings: PoolsSettings, traffic: Traffic, world: World, *, rate_per_s: float
) -> dict[str, float]:
    """Return response times, refusals and connections of the traffic at a rate, its faults and load aside."""
    command_s = world.command_ms / 1_000
    service_s = world.round_trip_ms / 1_000 + command_s
    thread = Queue(rate_per_s, command_s, servers=1, patience_s=math.inf)
    # A thread that cannot keep up has no steady state; a second's line says as much.
    fixed_s = service_s + (1.0 if thread.overflows else thread.mean_wait_s)
    total = sum(calls.share for calls in traffic.calls)
    shares: dict[str, float] = defaultdict(float)
    for calls in traffic.calls:
        shares[calls.pool if settings.partitioned else "default"] += calls.share / total
    queues, connections = [], 0
    for name, share in shares.items():
        pool: PoolSettings = getattr(settings, name)
        queue = _queue(pool, rate_per_s * share, service_s)
        queues.append((share, queue))
        needed = most_at_once(queue.offered)
        connections += pool.mux_connections if pool.transport == "mux" else min(queue.servers, needed)
    served = [(share * (1 - queue.refused), queue) for share, queue in queues]
    refused = sum(share * queue.refused for share, queue in queues)
    mean_s = sum(weight * queue.mean_wait_s for weight, queue in served) / max(1 - refused, 1e-9)
    quantiles = {name: quantile_s(served, at) for name, at in _QUANTILES.items()}
    return {
        "response_mean_ms": (fixed_s + mean_s) * 1_000,
        **{name: (fixed_s + wait_s) * 1_000 for name, wait_s in quantiles.items()},
        "failed_share": refused,
        "rejected_share": refused,
        "connections": float(connections),
    }


def _queue(pool: PoolSettings, rate_per_s: float, service_s: float) -> Queue:
    places = pool.inflight_max if pool.transport == "mux" else pool.max_connections
    return Queue(rate_per_s, service_s, places, pool.acquire_timeout_seconds)
