"""How an arm reaches Redis: where it is, how far away, and what can be done to it.

Simulated, the distance is a delay in virtual time. Measured, it is a proxy in a process of its own, since
loopback has none of it and a sleep on the event loop that is measured would be charged to it; no distance is
no proxy.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import redis

from perfkit.errors import ScenarioError
from perfkit.lab.results import How
from perfkit.lab.traffic import Fault
from perfkit.lab.world import SimulatedFaults, simulated_endpoint
from perfkit.pools import Endpoint
from perfkit.pools.fault_proxy.process import FaultProxyProcess
from perfkit.pools.fault_proxy.toxics import Toxics
from perfkit.pools.server import open_endpoint

if TYPE_CHECKING:
    from perfkit.lab.rigs.rig import Rig
    from perfkit.lab.scenario import Scenario, World

__all__ = ["Line", "Lines", "measured_lines", "simulated_lines"]

Strike = Callable[[Fault], Awaitable[None]]
"""Brings a fault about, and returns when it is over."""


@dataclass(frozen=True, slots=True)
class Line:
    """One way to Redis: the world at its round trip, the address, and how a fault is brought about on it."""

    world: World
    endpoint: Endpoint
    strike: Strike


@dataclass(frozen=True, slots=True)
class Lines:
    """Every way to Redis that the trials of a stage use."""

    how: How
    backend: str
    at: Callable[[float | None], Line]
    """The line of a round trip; None where a scenario names only one."""


def simulated_lines(rig: Rig, scenario: Scenario) -> Lines:
    """Return lines to a stand-in for Redis, empty at first, that answers after the rig's delay.

    Where the scenario needs no Redis, nobody asks it, and it is not named as what answered.
    """

    def at(rtt_ms: float | None) -> Line:
        world, faults = scenario.world.at(rtt_ms), SimulatedFaults()
        endpoint = simulated_endpoint(rig.simulated_delay_ms(world), faults)
        return Line(world, endpoint, faults.strike)

    return Lines("simulated", "fakeredis" if rig.served_by(scenario) is None else "in process", at)


@contextmanager
def measured_lines(rig: Rig, scenario: Scenario) -> Iterator[Lines]:
    """Yield lines to the most real Redis there is, through proxies where a round trip or a fault wants one.

    Where the scenario needs none, they lead nowhere. Where there is no server at all, the stand-in answers on
    the wall clock, and nothing is called measured.

    Raises:
        ScenarioError: the server is to be stalled, and is not ours.
        SettingsError, RealServerRequired, Unavailable: as `open_endpoint`.
    """
    if (served_by := rig.served_by(scenario)) is not None:
        nowhere = Line(scenario.world, Endpoint.embedded(), SimulatedFaults().strike)
        yield Lines("measured", served_by, lambda _rtt_ms: nowhere)
        return
    with ExitStack() as held:
        endpoint, backend = held.enter_context(open_endpoint())
        if endpoint.backend == "fakeredis":
            far = bool(scenario.world.rtts_ms or (scenario.traffic and scenario.traffic.faults))
            imitated = simulated_lines(rig, scenario).at
            straight = Line(scenario.world, endpoint, SimulatedFaults().strike)
            yield Lines("simulated", backend, imitated if far else lambda _rtt_ms: straight)
            return
        rtts: tuple[float | None, ...] = scenario.world.rtts_ms or (None,)
        lines = {rtt_ms: _measured_line(held, scenario, endpoint, rtt_ms) for rtt_ms in rtts}
        yield Lines("measured", backend, lines.__getitem__)


def _measured_line(held: ExitStack, scenario: Scenario, endpoint: Endpoint, rtt_ms: float | None) -> Line:
    world = scenario.world.at(rtt_ms)
    kinds = {fault.kind for fault in scenario.traffic.faults} if scenario.traffic else set()
    strikes: dict[str, Strike] = {}
    if "stall" in kinds:
        strikes["stall"] = partial(_stall, _own_server_pid(endpoint))
    if rtt_ms or kinds - {"stall"}:
        upstream = os.environ.get("PERFKIT_REDIS_URL") or f"unix://{endpoint.connection['path']}"
        proxy = held.enter_context(FaultProxyProcess.start(upstream, rtt_ms=rtt_ms or 0.0))
        endpoint = Endpoint.from_url(proxy.url)
        strikes |= {"reset": partial(_reset, proxy), "blackhole": partial(_blackhole, proxy)}
    return Line(world, endpoint, lambda fault: strikes[fault.kind](fault))


def _own_server_pid(endpoint: Endpoint) -> int:
    """The process of the server we started; somebody else's is never stopped."""
    if os.environ.get("PERFKIT_REDIS_URL"):
        raise ScenarioError(
            f"A stall stops the server, and the one at {endpoint.address} is not ours to stop. Remove "
            "PERFKIT_REDIS_URL to use a server of our own, or make the fault a blackhole.",
            path="traffic.faults",
        )
    with closing(redis.Redis(unix_socket_path=endpoint.connection["path"])) as client:
        pid: int = client.info("server")["process_id"]
    return pid


async def _stall(pid: int, fault: Fault) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


async def _reset(proxy: FaultProxyProcess, _fault: Fault) -> None:
    proxy.reset_all()


async def _blackhole(proxy: FaultProxyProcess, fault: Fault) -> None:
    proxy.set(Toxics.both(blackhole=True))
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        proxy.clear()
