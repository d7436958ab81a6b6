"""The rig for Vertex AI: the shipping client, asked for embeddings, on the emulator.

modelled    the shipping policies replayed on the arrivals, without quota (`perfkit.lab.embed.model`)
simulated   the shipping service over the emulator in this process, in virtual time, with quotas and deadline
measured    the same service over Google's own client and gRPC, the emulator in a process of its own

Quotas are counted by the emulator in fixed minutes, as Google counts them. A real project is not asked: its
quota is shared with whoever else uses it, and its texts are paid for.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from perfkit.errors import ScenarioError
from perfkit.events import null_probe
from perfkit.lab.compare import Fit
from perfkit.lab.embed.model import BatchingModel, latency_of
from perfkit.lab.embed.traffic import Vertex
from perfkit.lab.embed.watched import Watched
from perfkit.lab.line import Line
from perfkit.lab.metrics import pooled_levels
from perfkit.lab.results import TrialResult
from perfkit.lab.rigs.rig import Asked
from perfkit.lab.scenario import Scenario, World
from perfkit.lab.virtual import VirtualTimeLoop
from perfkit.settings import Settings
from perfkit.vertex.emulator.plan import EmulatorPlan
from perfkit.vertex.protocols import Transport

if TYPE_CHECKING:
    from perfkit.lab.embed.play import OpenVertex

__all__ = ["VERTEX", "VertexRig"]

_ONLY_FOR = {
    "adaptive": ("vertex.request_worth_ms", "vertex.quota_price"),
    "fixed": ("vertex.batch_window_ms",),
    "off": (),
}
"""Which knobs a policy goes by; the others' do nothing under it."""


class VertexRig:
    """What the settings of the Vertex AI client come to."""

    modelled_knobs = tuple(
        f"vertex.{leaf}"
        for leaf in (
            "batch_policy",
            "request_worth_ms",
            "batch_window_ms",
            "batch_max_texts",
            "batch_max_tokens",
        )
    )
    metrics = frozenset(
        {
            *("response_mean_ms", "response_p50_ms", "response_p95_ms", "response_p99_ms"),
            *("added_wait_mean_ms", "added_wait_p95_ms", "requests_per_text", "cost_vs_offline"),
            *("in_deadline_share", "refused_share", "dollars_per_million_texts"),
        }
    )
    simulates = True

    def served_by(self, scenario: Scenario) -> str | None:
        """The emulator answers, over gRPC; no Redis is needed."""
        return f"emulated Vertex AI, grpcio {version('grpcio')}"

    def check(self, scenario: Scenario) -> None:
        """Refuse what this rig cannot do.

        Raises:
            ScenarioError: traffic of the pools or of HTTP, a fleet, or several round trips to Redis.
        """
        if scenario.traffic is not None or scenario.http is not None:
            raise ScenarioError(
                "Traffic is what Redis is asked and http what a service is; say what the model is asked in "
                "vertex.",
                path="traffic" if scenario.traffic is not None else "http",
            )
        if scenario.world.rtts_ms or scenario.world.instances > 1:
            raise ScenarioError(
                "This rig has one instance and no Redis: name one redis_ms and one instance.", path="world"
            )

    def idle_knobs(self, settings: Settings) -> frozenset[str]:
        """The knobs that the other policies go by."""
        mine = _ONLY_FOR[settings.vertex.batch_policy]
        return frozenset(path for paths in _ONLY_FOR.values() for path in paths if path not in mine)

    def calibrated(self, settings: Sequence[Settings], asked: Asked) -> dict[str, Any]:
        """Find the bound that no policy can pass on these arrivals; nothing is asked of the machine."""
        start, stop = _counted(asked)
        return {"offline": [asdict(point) for point in _model_of(asked).bound(start, stop)]}

    def model(
        self, settings: Sequence[Settings], asked: Asked, *, rtt_ms: float | None
    ) -> list[dict[str, float]]:
        """Replay the policies on the calls a simulation would count."""
        start, stop = _counted(asked)
        model = _model_of(asked)
        return [model.metrics(one.vertex, start, stop) for one in settings]

    def simulated_delay_ms(self, world: World) -> float:
        """Nothing: there is no Redis to stand in for."""
        return 0.0

    @asynccontextmanager
    async def open(
        self, settings: Settings, asked: Asked, line: Line, *, seed: int, key_prefix: str
    ) -> AsyncIterator[OpenVertex]:
        """Start the arm's emulator and its service; both are closed when the block ends."""
        from perfkit.lab.embed.play import OpenVertex
        from perfkit.vertex.service import OptimizedVertexAIService

        scenario = asked.scenario
        vertex = scenario.vertex_or_usual
        virtual = isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
        stage = scenario.measure if scenario.measure and not virtual else scenario.simulate
        async with _transport(emulator_plan(vertex, seed), virtual=virtual) as transport:
            watched = Watched(transport)
            service = OptimizedVertexAIService(
                settings=settings.vertex,
                transport=watched,
                enable_caching=False,
                rng=random.Random(seed),  # noqa: S311  # jitter that can be repeated
                probe=null_probe,
            )
            try:
                await watched.warm()
                yield OpenVertex(
                    service, watched, asked.workload, vertex, seed=scenario.seed, most_warmup=stage.warmup
                )
            finally:
                await service.aclose()

    def fits(self, settings: Settings, asked: Asked, rows: Sequence[TrialResult]) -> list[Fit]:
        """Model exactly the calls of the rounds that count; where there is a quota, the model has no say."""
        scenario, stage = asked.scenario, asked.scenario.measure
        vertex = scenario.vertex_or_usual
        if stage is None or vertex.requests_per_minute or vertex.tokens_per_minute:
            return []
        model, per_round = _model_of(asked), stage.requests // stage.rounds
        starts = [stage.warmup + row.trial.round * per_round for row in rows]
        by_round = [model.metrics(settings.vertex, start, start + per_round) for start in starts]
        modelled, measured = pooled_levels(by_round), pooled_levels([row.metrics for row in rows])
        wanted = dict.fromkeys((scenario.objective.metric, "requests_per_text", "response_p95_ms"))
        return [
            Fit(metric=metric, arm=rows[0].trial.arm, modelled=modelled[metric], measured=measured[metric])
            for metric in wanted
            if metric in modelled and metric in measured
        ]


VERTEX = VertexRig()


def emulator_plan(vertex: Vertex, seed: int) -> EmulatorPlan:
    """Return the emulator that a scenario describes."""
    return EmulatorPlan(
        latency=latency_of(vertex),
        requests_per_minute=vertex.requests_per_minute,
        tokens_per_minute=vertex.tokens_per_minute,
        vectors="cheap",
        seed=seed,
    )


@asynccontextmanager
async def _transport(plan: EmulatorPlan, *, virtual: bool) -> AsyncIterator[Transport]:
    """The emulator in this process, or in one of its own behind Google's client."""
    if virtual:
        from perfkit.vertex.emulator.core import EmulatedVertex

        yield EmulatedVertex(plan)
        return
    from perfkit.vertex.emulator.process import EmulatorProcess
    from perfkit.vertex.google import GoogleTransport

    with EmulatorProcess.start(plan) as emulator:
        yield GoogleTransport("perfkit", "us-central1", endpoint=emulator.endpoint)


def _counted(asked: Asked) -> tuple[int, int]:
    """The calls that all rounds of the simulation count, from the first to the last."""
    stage = asked.scenario.simulate
    return stage.warmup, min(stage.warmup + stage.requests * stage.rounds, len(asked.workload))


def _model_of(asked: Asked) -> BatchingModel:
    return BatchingModel(asked.workload, asked.scenario.vertex_or_usual, seed=asked.scenario.seed)
