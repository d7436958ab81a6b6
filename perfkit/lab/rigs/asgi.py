"""The rig for responses: the shipping middleware around a small service, under a real uvicorn, really asked.

Compressing is processor work, which virtual time does not see. So nothing is simulated: settings are modelled
from what the shipping codecs and filters take on this machine (`perfkit.lab.web.calibrate`), and the best are
measured. Each arm is a service process of its own that reads its settings from its environment, as deployed.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import numpy as np

from perfkit.errors import ScenarioError
from perfkit.lab.compare import Fit
from perfkit.lab.line import Line
from perfkit.lab.metrics import pooled_levels
from perfkit.lab.results import TrialResult
from perfkit.lab.rigs.rig import Asked
from perfkit.lab.scenario import Axis, Scenario, World, axis_values
from perfkit.lab.web.calibrate import calibration_of, own_sizes
from perfkit.lab.web.clients import Clients, Drawn
from perfkit.lab.web.model import ServiceModel
from perfkit.lab.web.play import OpenService
from perfkit.lab.web.process import ServiceProcess
from perfkit.lab.web.service import Plan
from perfkit.lab.workload import Workload
from perfkit.pools import Endpoint
from perfkit.settings import Settings

__all__ = ["ASGI", "AsgiRig"]

_MOST_BYTES = 512 * 1024**2
_LEAST_BYTES = 800
"""About an item: no body is smaller."""
_KEEPS = "asgi.response_cache"


class AsgiRig:
    """What the settings of the middleware come to."""

    modelled_knobs = (
        *(f"asgi.compress_{leaf}" for leaf in ("responses", "min_bytes", "min_gain", "objective", "codings")),
        *(f"asgi.compress_{coding}_level" for coding in ("zstd", "brotli", "gzip")),
        *("asgi.optimize_payloads", "asgi.fields_compile_after", "asgi.fields_compiled_masks"),
        *(_KEEPS, f"{_KEEPS}_ttl_seconds", f"{_KEEPS}_stale_while_revalidate_seconds"),
    )
    metrics = frozenset(
        {
            *("response_mean_ms", "response_p50_ms", "response_p95_ms", "response_p99_ms"),
            *("bytes_per_response", "server_cpu_ms_per_request", "dollars_per_million"),
            *("server_peak_bytes", "origin_calls_per_request", "hit_ratio", "age_p95_seconds"),
        }
    )
    simulates = False

    def served_by(self, scenario: Scenario) -> str | None:
        """No Redis is needed unless whole answers are kept in the tiered cache."""
        return None if _keeps_answers(scenario) else f"uvicorn {version('uvicorn')}"

    def check(self, scenario: Scenario) -> None:
        """Refuse what this rig cannot do.

        Raises:
            ScenarioError: traffic of the pools, several round trips, or a metric that nothing gives.
        """
        if scenario.traffic is not None:
            raise ScenarioError(
                "Traffic is what Redis is asked; say what the service is asked in http.", path="traffic"
            )
        if scenario.world.rtts_ms or scenario.world.instances > 1:
            raise ScenarioError(
                "This rig has one service, beside its Redis: name one redis_ms and one instance.",
                path="world",
            )
        if _keeps_answers(scenario):
            return
        for metric in (scenario.objective.metric, *(rail.metric for rail in scenario.guardrails)):
            if metric in ("origin_calls_per_request", "hit_ratio", "age_p95_seconds"):
                raise ScenarioError(
                    f"Nothing gives {metric!r}: every request reaches the service unless {_KEEPS} is on. "
                    "Put it on an axis or into the baseline.",
                    path=metric,
                )

    def idle_knobs(self, settings: Settings) -> frozenset[str]:
        """None is known to do nothing."""
        return frozenset()

    def calibrated(self, settings: Sequence[Settings], asked: Asked) -> dict[str, Any]:
        """Time the shipping codecs and filters on this workload's answers; takes some seconds."""
        _check_size(asked.workload)
        return calibration_of(settings, asked.scenario.http_or_usual, asked.workload)

    def model(
        self, settings: Sequence[Settings], asked: Asked, *, rtt_ms: float | None
    ) -> list[dict[str, float]]:
        """Model the requests a simulation would count, at the rate they are measured at."""
        stage, measure = asked.scenario.simulate, asked.scenario.measure
        counted = np.arange(stage.warmup, min(stage.warmup + stage.requests, len(asked.workload)))
        rate_per_s = measure.asked_per_s if measure else asked.workload.rate_per_s
        model = _model_of(asked)
        return [model.metrics(one, counted, rate_per_s=rate_per_s) for one in settings]

    def simulated_delay_ms(self, world: World) -> float:
        """One round trip; where there is no Redis at all, the stand-in takes it."""
        return world.round_trip_ms

    @asynccontextmanager
    async def open(
        self, settings: Settings, asked: Asked, line: Line, *, seed: int, key_prefix: str
    ) -> AsyncIterator[OpenService]:
        """Start the arm's service and its clients' lines; both are ended when the block ends."""
        scenario, workload, http = asked.scenario, asked.workload, asked.scenario.http_or_usual
        _check_size(workload)
        keeps = _keeps_answers(scenario)
        plan = Plan(
            socket="",
            payload=http.payload,
            sizes=own_sizes(workload).tolist(),
            private_share=http.private_share,
            max_age_seconds=http.max_age_seconds,
            origin_ms=scenario.world.origin_ms,
            origin_sigma=scenario.world.origin_sigma,
            seed=seed,
            redis_url=_url_of(line.endpoint) if keeps else "",
            key_prefix=key_prefix,
        )
        drawn = Drawn(http, workload.objects, seed)
        with ServiceProcess.start(settings, plan) as service:
            async with await Clients.connect(http.clients, service.address) as clients:
                yield OpenService(service, clients, workload, drawn, http.prices, keeps_answers=keeps)

    def fits(self, settings: Settings, asked: Asked, rows: Sequence[TrialResult]) -> list[Fit]:
        """Model the objective over exactly the requests of the rounds that count."""
        stage, metric = asked.scenario.measure, asked.scenario.objective.metric
        if stage is None or not asked.calibration:
            return []
        per_round = stage.requests // stage.rounds
        model = _model_of(asked)
        starts = [stage.warmup + row.trial.round * per_round for row in rows]
        by_round = [
            model.metrics(settings, np.arange(start, start + per_round), rate_per_s=stage.asked_per_s)
            for start in starts
        ]
        modelled, measured = pooled_levels(by_round), pooled_levels([row.metrics for row in rows])
        if metric not in modelled or metric not in measured:
            return []
        return [
            Fit(metric=metric, arm=rows[0].trial.arm, modelled=modelled[metric], measured=measured[metric])
        ]


ASGI = AsgiRig()


def _keeps_answers(scenario: Scenario) -> bool:
    """Whether any arm may keep whole answers."""
    axis: Axis = scenario.axes.get(_KEEPS, (bool(scenario.baseline.get(_KEEPS, False)),))
    return True in axis_values(_KEEPS, axis)


def _model_of(asked: Asked) -> ServiceModel:
    scenario = asked.scenario
    return ServiceModel(
        asked.workload, scenario.http_or_usual, scenario.world, asked.calibration, seed=scenario.seed
    )


def _check_size(workload: Workload) -> None:
    sizes = own_sizes(workload)
    total = int(np.maximum(sizes, _LEAST_BYTES).sum())
    if total > _MOST_BYTES:
        raise ScenarioError(
            f"The {len(sizes)} answers come to {total / 1024**2:.0f} MiB, which each service holds ready; "
            f"{_MOST_BYTES // 1024**2} MiB is the most. Lower workload.objects or workload.mean_bytes.",
            path="workload",
        )


def _url_of(endpoint: Endpoint) -> str:
    """The address of the line's Redis, empty for the stand-in: the service then has one of its own."""
    if endpoint.backend == "fakeredis":
        return ""
    if path := endpoint.connection.get("path"):
        return f"unix://{path}"
    return os.environ["PERFKIT_REDIS_URL"]
