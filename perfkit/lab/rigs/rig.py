"""What the laboratory asks of a rig, and nothing about any area.

    Rig      what an area's settings come to: modelled at once, or opened and played
    OpenRig  one arm set up, standing at a position of the workload

Sweep, rounds and confirmation lean on these two. A rig is known by its area's word (`perfkit.lab.rigs.RIGS`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from perfkit.lab.compare import Fit
from perfkit.lab.line import Line
from perfkit.lab.results import Histogram, TrialResult, Validity
from perfkit.lab.scenario import Scenario, World
from perfkit.lab.workload import Workload
from perfkit.settings import Settings

__all__ = ["Asked", "Observation", "OpenRig", "Rig"]


@dataclass(frozen=True, slots=True)
class Asked:
    """The question, and the requests it is put with."""

    scenario: Scenario
    workload: Workload
    calibration: Mapping[str, Any] = field(default_factory=dict)
    """What the rig found out about this machine before it modelled anything, where it has to."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one stretch of a workload gave."""

    metrics: dict[str, float]
    responses: Histogram
    validity: Validity
    remote_errors: int = 0
    """How often Redis did not answer though nothing was done to it; more than none fails the trial."""


class OpenRig(Protocol):
    """One arm, set up and standing at a position of the workload."""

    async def warm(self, stop: int) -> None:
        """Bring the arm to the state it has when the requests before `stop` have been, uncounted."""
        ...

    async def play(self, stop: int, *, rate_per_s: float | None) -> Observation:
        """Ask the requests from the position up to `stop` as they are due and say what came of it.

        `rate_per_s` None is as fast as they were recorded.
        """
        ...


class Rig(Protocol):
    """What is bolted up for one area."""

    @property
    def modelled_knobs(self) -> tuple[str, ...]:
        """The knobs whose every combination is modelled in one pass; other axes are simulated."""
        ...

    @property
    def metrics(self) -> frozenset[str]:
        """The names of what a trial gives, modelled or played."""
        ...

    @property
    def simulates(self) -> bool:
        """Whether virtual time says anything of this area; if not, the model's best are measured."""
        ...

    def served_by(self, scenario: Scenario) -> str | None:
        """Name what answers, where a scenario needs no Redis; None where it does."""
        ...

    def check(self, scenario: Scenario) -> None:
        """Refuse a scenario that asks for what this rig cannot do.

        Raises:
            ScenarioError: naming the part.
        """
        ...

    def idle_knobs(self, settings: Settings) -> frozenset[str]:
        """Name the knobs that do nothing under these settings: no other value of theirs is tried."""
        ...

    def calibrated(self, settings: Sequence[Settings], asked: Asked) -> dict[str, Any]:
        """Find out about this machine what modelling these settings takes; empty where it takes nothing.

        It is kept in the run's folder, so that a run that is resumed goes on with the same numbers.
        """
        ...

    def model(
        self, settings: Sequence[Settings], asked: Asked, *, rtt_ms: float | None
    ) -> list[dict[str, float]]:
        """Model many settings in one pass, counting the requests after the simulation's warm-up."""
        ...

    def simulated_delay_ms(self, world: World) -> float:
        """How long the stand-in for Redis takes to answer in virtual time."""
        ...

    def open(
        self, settings: Settings, asked: Asked, line: Line, *, seed: int, key_prefix: str
    ) -> AbstractAsyncContextManager[OpenRig]:
        """Set up an arm; what it has written to the server is removed when the block ends."""
        ...

    def fits(self, settings: Settings, asked: Asked, rows: Sequence[TrialResult]) -> list[Fit]:
        """Model exactly the requests of an arm's measured rounds, and hold the two beside each other."""
        ...
