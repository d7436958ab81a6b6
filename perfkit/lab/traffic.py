"""What a scenario about the pools asks of Redis: which commands, what load beside them, what mishaps.

The workload says when requests come and for which object; this says what each request is, which analytics
run beside it, and what happens to the server meanwhile.
"""

from __future__ import annotations

import random
from typing import Annotated, Literal

from pydantic import Field, model_validator

from perfkit.lab.results import Record

__all__ = ["Analytics", "Calls", "Fault", "Traffic"]


class Calls(Record):
    """A share of the requests: one command on one workload's pool."""

    pool: Literal["default", "read_heavy", "write_heavy", "cache"] = "cache"
    command: Literal["get", "set"]
    share: Annotated[float, Field(gt=0)]
    """Against the other shares; they need not sum to one."""


class Analytics(Record):
    """Tasks that read large batches on the pool `analytics`, each as soon as its last one is answered."""

    tasks: Annotated[int, Field(ge=1, le=256)] = 4
    keys: Annotated[int, Field(ge=1, le=10_000)] = 100
    """How many keys one read asks for."""
    value_bytes: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000


class Fault(Record):
    """A mishap in every round.

    A `stall` stops the server, a `reset` closes every connection to it, a `blackhole` lets nothing through.
    """

    kind: Literal["stall", "reset", "blackhole"]
    at_s: Annotated[float, Field(ge=0)]
    """When it begins, in seconds from the round's first request."""
    seconds: Annotated[float, Field(ge=0, le=60)] = 0.0
    """How long it lasts; a reset lasts no time."""
    spread: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Each round it lasts longer or shorter by up to this share, for all arms alike, so that no setting wins
    by being in step with it."""

    @property
    def end_s(self) -> float:
        """When it is over at the latest, in seconds from the round's first request."""
        return self.at_s + self.seconds * (1 + self.spread)

    def drawn(self, rng: random.Random) -> Fault:
        """The fault as it happens in one round."""
        factor = 1 + self.spread * rng.uniform(-1, 1)
        return self.model_copy(update={"seconds": self.seconds * factor})

    @model_validator(mode="after")
    def _lasts(self) -> Fault:
        if (self.kind == "reset") != (self.seconds == 0):
            raise ValueError(f"a {self.kind} of {self.seconds:g} seconds: only a reset lasts no time")
        return self


class Traffic(Record):
    """What the requests are, and what happens beside them."""

    calls: Annotated[tuple[Calls, ...], Field(min_length=1)] = (
        Calls(command="get", share=0.9),
        Calls(command="set", share=0.1),
    )
    analytics: Analytics | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def quiet_after_s(self) -> float:
        """When the last mishap is over, in seconds from a round's first request."""
        return max((fault.end_s for fault in self.faults), default=0.0)
