"""What 64 concurrent GETs cost when Redis is further away than loopback."""

from __future__ import annotations

from importlib.util import find_spec

from harness import PROCESSOR, WALL, Arm, Estimate, Timed, interleaved, level, ratio, shown, table, times
from pool_questions.clients import CALLERS, OURS, Clients, clients
from pool_questions.gets import KEY, VALUE, at_once

RTT_MS = (0, 1, 2, 5)


async def away(found: Clients, url: str, rounds: int) -> str:
    """Put a proxy of its own process in between and compare at each distance."""
    if find_spec("perfkit.pools.fault_proxy.process") is None:
        return "Not measured: this version has no proxy in a process of its own."
    from perfkit.pools.fault_proxy.process import FaultProxyProcess

    await found.ours.set(KEY, VALUE)
    rows: list[list[str]] = []
    with FaultProxyProcess.start(url, rtt_ms=0) as proxy:
        for rtt_ms in RTT_MS:
            proxy.set(rtt_ms=rtt_ms)
            async with clients(proxy.url) as through:
                arms: dict[str, Arm] = {
                    name: Timed(at_once(get, CALLERS), step=CALLERS) for name, get in through.get.items()
                }
                readings = await interleaved(arms, rounds)
            for name, reading in readings.items():
                costs = [shown(Estimate(level(reading[what]).point)) for what in (WALL, PROCESSOR)]
                against = "" if name == OURS else times(ratio(reading[WALL], readings[OURS][WALL]))
                rows.append([f"{rtt_ms} ms: {name}", *costs, against])
    return table(["added round trip", "wall µs a GET", "processor µs a GET", "this ÷ perfkit, wall"], rows)
