"""What a sweep leaves behind: trials, one line each, in a run folder.

`trials.jsonl` is the source of truth: appended and fsynced trial by trial, so a killed run loses at most
the trial it was in, and a torn last line is dropped when the folder is opened again. Everything else in
the folder is derived from it and can be made again.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from perfkit.knobs import Value

Stage: TypeAlias = Literal["modelled", "simulated", "measured", "confirmed"]
"""Where in a sweep a trial stands; `confirmed` trials are measured once more, in a fresh
process with a fresh seed."""

How: TypeAlias = Literal["modelled", "simulated", "measured"]
"""How a number was obtained; every number in a report says which."""

Status: TypeAlias = Literal["ok", "invalid", "failed"]
"""`invalid`: it ran, but the load generator could not keep up. `failed`: it raised."""

BASELINE = "baseline"
AGAIN = "baseline-again"
"""The two arms with the baseline's settings: between them only noise can differ (the A/A comparison)."""


class Record(BaseModel):
    """A frozen value that is written to a file and read back, and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Trial(Record):
    """One setting to try once: which arm of which stage, in which round, from which seed."""

    stage: Stage
    arm: str
    knobs: dict[str, Value]
    """The knobs that differ from the baseline's, by dotted path."""
    fingerprint: str
    """Of the whole settings the trial runs with."""
    round: int
    seed: int
    rtt_ms: float | None = None
    """The round trip to Redis it is played at, where a scenario names several."""

    @property
    def key(self) -> str:
        """Names the trial within its run, the same in every process."""
        return f"{self.stage}/{self.arm}/{self.round}"


class Validity(Record):
    """Whether the load generator did what was planned; a number from an invalid trial is never compared."""

    planned_per_s: float
    achieved_per_s: float
    dropped: int
    lag_p99_ms: float
    """How late requests were started, at the 99th percentile."""
    run_queue_share: float
    """Share of the wall time this process waited for a processor: contention."""
    complaint: str = ""
    """Why the trial is invalid, in words; empty when it is valid."""


class Histogram(Record):
    """Response times in logarithmic buckets, mergeable by adding counts.

    Bucket b holds responses in [2^(b/128), 2^((b+1)/128)) microseconds: a relative half-width of 0.27 %.
    """

    buckets: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()


class TrialResult(Record):
    """What one trial gave: a line of `trials.jsonl`."""

    trial: Trial
    how: How
    backend: str
    """What answered: `model`, `fakeredis`, or the server's own name and version."""
    status: Status
    metrics: dict[str, float] = {}
    """By the names of `perfkit.lab.metrics`."""
    responses: Histogram = Histogram()
    validity: Validity | None = None
    error: str = ""
    at: str = ""
    """When it ended, UTC; the only field two runs of one seed may differ in when nothing is measured."""
