"""The pools rig: the shipping `RedisPools`, asked the commands a scenario's traffic is made of.

How waiting for a connection goes is modelled (`perfkit.lab.pools_model`), everything is played
(`perfkit.lab.pools_play`): in virtual time on the stand-in, and on the wall clock on a real server.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from perfkit.errors import ScenarioError
from perfkit.events import null_probe
from perfkit.lab.compare import Fit
from perfkit.lab.line import Line
from perfkit.lab.metrics import pooled_levels
from perfkit.lab.pools_model import modelled_response
from perfkit.lab.pools_play import OpenPools
from perfkit.lab.results import TrialResult
from perfkit.lab.rigs.rig import Asked
from perfkit.lab.scenario import Scenario, World
from perfkit.pools import RedisPools
from perfkit.settings import Settings

__all__ = ["POOLS", "PoolsRig"]


class PoolsRig:
    """What the settings of the pools come to."""

    modelled_knobs = tuple(
        f"pools.{pool}.{leaf}"
        for pool in ("default", "read_heavy", "write_heavy", "cache")
        for leaf in ("transport", "max_connections", "mux_connections")
    )
    metrics = frozenset(
        {
            *("response_mean_ms", "response_p50_ms", "response_p95_ms", "response_p99_ms"),
            *("failed_share", "rejected_share", "connections", "analytics_per_s"),
            *("detection_ms", "recovery_ms"),
        }
    )
    simulates = True

    def served_by(self, scenario: Scenario) -> str | None:
        """Redis answers."""
        return None

    def idle_knobs(self, settings: Settings) -> frozenset[str]:
        """None is known to do nothing."""
        return frozenset()

    def calibrated(self, settings: Sequence[Settings], asked: Asked) -> dict[str, Any]:
        """Nothing is asked of the machine: the model counts, and times no processor."""
        return {}

    def check(self, scenario: Scenario) -> None:
        """Refuse a metric that only a load or a fault gives, where there is none."""
        traffic = scenario.traffic_or_usual
        absent = {} if traffic.analytics else {"analytics_per_s": "traffic.analytics"}
        if not traffic.faults:
            absent |= {"detection_ms": "traffic.faults", "recovery_ms": "traffic.faults"}
        for metric in (scenario.objective.metric, *(guardrail.metric for guardrail in scenario.guardrails)):
            if metric in absent:
                raise ScenarioError(
                    f"Nothing gives {metric!r}: the scenario has no {absent[metric]}. Add it.", path=metric
                )

    def model(
        self, settings: Sequence[Settings], asked: Asked, *, rtt_ms: float | None
    ) -> list[dict[str, float]]:
        """Model the waits in closed form, at the workload's own rate; see `perfkit.lab.pools_model`."""
        traffic, world = asked.scenario.traffic_or_usual, asked.scenario.world.at(rtt_ms)
        rate_per_s = asked.workload.rate_per_s
        return [modelled_response(s.pools, traffic, world, rate_per_s=rate_per_s) for s in settings]

    def simulated_delay_ms(self, world: World) -> float:
        """One round trip and one command."""
        return world.round_trip_ms + world.command_ms

    @asynccontextmanager
    async def open(
        self, settings: Settings, asked: Asked, line: Line, *, seed: int, key_prefix: str
    ) -> AsyncIterator[OpenPools]:
        """Open the arm's pools; what they read is stored first and removed when the block ends."""
        steward = RedisPools(endpoint=line.endpoint, probe=null_probe)
        pools = RedisPools(settings.pools, line.endpoint, rng=random.Random(seed), probe=null_probe)  # noqa: S311  # jitter that can be repeated
        opened = OpenPools(
            pools, steward, asked.workload, asked.scenario, settings.pools, line, seed=seed, prefix=key_prefix
        )
        try:
            yield opened
        finally:
            await pools.aclose()
            await opened.remove_keys()
            await steward.aclose()

    def fits(self, settings: Settings, asked: Asked, rows: Sequence[TrialResult]) -> list[Fit]:
        """Model the objective at the measured rate, at each round trip; it knows neither load nor faults."""
        scenario, traffic = asked.scenario, asked.scenario.traffic_or_usual
        metric = scenario.objective.metric
        stage = scenario.measure
        if stage is None or traffic.analytics or traffic.faults or not metric.startswith("response_"):
            return []
        found = []
        for rtt_ms in sorted({row.trial.rtt_ms for row in rows}, key=lambda rtt_ms: rtt_ms or 0.0):
            world = scenario.world.at(rtt_ms)
            modelled = modelled_response(settings.pools, traffic, world, rate_per_s=stage.asked_per_s)
            measured = pooled_levels([row.metrics for row in rows if row.trial.rtt_ms == rtt_ms])
            found.append(
                Fit(
                    metric=metric,
                    arm=rows[0].trial.arm,
                    modelled=modelled[metric],
                    measured=measured[metric],
                    rtt_ms=rtt_ms,
                )
            )
        return found


POOLS = PoolsRig()
