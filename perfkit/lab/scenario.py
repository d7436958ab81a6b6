"""A scenario: a question about knobs, put so that a machine can answer it.

The file is YAML, read by `perfkit.lab.yaml12`; the shape is below; a wrong name, type or bound is refused
with the file, the line and the nearest right name.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from perfkit.errors import ScenarioError, SettingsError
from perfkit.knobs import KnobInfo, Value, find_knob
from perfkit.lab.embed.traffic import Vertex
from perfkit.lab.metrics import find_metric
from perfkit.lab.results import Record
from perfkit.lab.traffic import Traffic
from perfkit.lab.web.traffic import Http
from perfkit.settings import Settings

__all__ = [
    "Axis",
    "Confirm",
    "GeneratedWorkload",
    "Guardrail",
    "Measure",
    "Objective",
    "Scenario",
    "Simulate",
    "Spread",
    "TraceWorkload",
    "World",
    "axis_values",
]


Milliseconds: TypeAlias = Annotated[float, Field(ge=0)]


class GeneratedWorkload(Record):
    """Requests made up from published laws (`perfkit.lab.generate` has the sources)."""

    kind: Literal["generated"] = "generated"
    requests: Annotated[int, Field(ge=1, le=50_000_000)]
    objects: Annotated[int, Field(ge=1, le=10_000_000)]
    zipf_alpha: Annotated[float, Field(ge=0, le=3)] = 0.9
    """Popularity of the k-th object is proportional to k^-alpha; 0 makes all alike."""
    arrivals: Literal["poisson", "constant", "burst", "gamma"] = "poisson"
    rate_per_s: Annotated[float, Field(gt=0)] = 100.0
    arrivals_cv: Annotated[float, Field(gt=0, le=30)] = 1.0
    """How uneven the gaps are, for `gamma` alone: their standard deviation over their mean. 1 is Poisson;
    recorded were 1.09 for chat and 13 for code completion (Patel et al., ISCA 2024)."""
    burst_factor: Annotated[float, Field(ge=1)] = 5.0
    """In a burst, arrivals come this many times as fast as on average; bursts take a tenth of the time."""
    mean_bytes: Annotated[int, Field(ge=1)] = 1_000
    size_sigma: Annotated[float, Field(ge=0, le=4)] = 1.0
    """Spread of the lognormal sizes; 0 makes all sizes equal."""
    tokens: str | None = None
    """A distribution (`field,tokens,prob`) that gives each object its size, four bytes a token, in place of
    the lognormal law; beside the scenario file, or absolute."""
    scan_share: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Share of requests that belong to scans: objects nobody else asks for, each once, one after another."""
    scan_length: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    """How many objects one scan reads."""
    drift_per_hour: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    """How often in an hour each place in the order of popularity passes to an object that is new."""
    chain_share: Annotated[float, Field(ge=0, le=0.99)] = 0.0
    """Share of requests that ask for the successor of what was asked for before them; each object has one."""
    chain_length: Annotated[int, Field(ge=2, le=10_000)] = 10
    """After how many successors a chain is back at its beginning."""
    callers: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """How many clients ask, each as often; 0 leaves it unknown who asked."""
    own_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the objects that are one client's own: nobody else asks for them."""


class TraceWorkload(Record):
    """Requests as they were recorded somewhere."""

    kind: Literal["trace"]
    path: str
    """Beside the scenario file, or absolute; may be compressed (.gz, .xz, .bz2, .zst)."""
    format: Literal["auto", "csv", "cache2k", "oracle-general", "perfkit", "azure-llm", "servegen"] = "auto"
    rate_per_s: Annotated[float, Field(gt=0)] | None = None
    """Spaces requests of a trace without times evenly; refused for a trace that has times."""
    start_s: Annotated[float, Field(ge=0)] = 0.0
    """Where the part that is used begins, in the trace's own time."""
    span_s: Annotated[float, Field(gt=0)] | None = None
    """How long it is; null is to the end, and of `servegen` one window of 600 s."""
    requests: Annotated[int, Field(ge=1, le=50_000_000)] | None = None
    """The first so many of the part; null is all of them."""
    speed: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    """By how much time is compressed: at 20 an hour passes in three minutes, and all else stays as it is."""
    tokens: str | None = None
    """A distribution (`field,tokens,prob`) that gives each object its size, four bytes a token, in place of
    the trace's own; beside the scenario file, or absolute."""


class World(Record):
    """How long the outside takes to answer, where it is imitated."""

    redis_ms: Milliseconds | Annotated[tuple[Milliseconds, ...], Field(min_length=1)] = 0.6
    """One round trip to Redis, where it is imitated; measured trials have the real server's own. A list makes
    it a factor: each round is played at one of the values in turn, and measured trials really add it."""
    command_ms: Annotated[float, Field(gt=0)] = 0.1
    """What one command takes beside its round trip, of the server and of the client; the pools' rig alone."""
    origin_ms: Annotated[float, Field(ge=0)] = 25.0
    """Median time of one paid call; imitated in every way of looking."""
    origin_sigma: Annotated[float, Field(ge=0, le=3)] = 0.4
    """Spread of the lognormal time of a paid call."""
    instances: Annotated[int, Field(ge=1, le=64)] = 1
    """How many instances of the service share Redis, each with a memory tier of its own; the cache's rig
    alone. Requests are dealt to them at random, or by caller under `cloudrun.session_affinity`."""

    @property
    def rtts_ms(self) -> tuple[float, ...]:
        """The round trips that rounds take turns at; empty when there is only the one."""
        return self.redis_ms if isinstance(self.redis_ms, tuple) else ()

    @property
    def round_trip_ms(self) -> float:
        """One round trip to Redis, in a world that has only one (see `at`)."""
        assert not isinstance(self.redis_ms, tuple)  # noqa: S101  # a mistake of ours, not of a scenario
        return self.redis_ms

    def at(self, rtt_ms: float | None) -> World:
        """The world at one round trip; None leaves it as it is."""
        return self if rtt_ms is None else self.model_copy(update={"redis_ms": rtt_ms})

    @field_validator("redis_ms")
    @classmethod
    def _each_once(cls, redis_ms: float | tuple[float, ...]) -> float | tuple[float, ...]:
        if isinstance(redis_ms, tuple) and len(set(redis_ms)) < len(redis_ms):
            raise ValueError("a round trip stands twice in the list")
        return redis_ms


class Spread(Record):
    """Values of an axis spaced from `low` to `high`, both included."""

    low: float
    high: float
    count: Annotated[int, Field(ge=2, le=1_000)]
    log: bool = False

    @property
    def values(self) -> tuple[float, ...]:
        """The values in ascending order; whole numbers for whole-number knobs are made by the sweep."""
        steps = self.count - 1
        if self.log:
            ratio = math.log(self.high / self.low)
            inner = (self.low * math.exp(ratio * step / steps) for step in range(1, steps))
        else:
            inner = (self.low + (self.high - self.low) * step / steps for step in range(1, steps))
        return (self.low, *inner, self.high)

    @model_validator(mode="after")
    def _ascends(self) -> Spread:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic axis cannot start at {self.low:g}; write a low above 0")
        return self


Axis: TypeAlias = tuple[Value, ...] | Spread


class Objective(Record):
    """What to improve; which way is better is the metric's own."""

    metric: str

    @model_validator(mode="after")
    def _exists(self) -> Objective:
        _check_metric(self.metric)
        return self


class Guardrail(Record):
    """A limit a choice may not break."""

    metric: str
    at_most: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Guardrail:
        _check_metric(self.metric)
        if self.at_most is None and self.at_least is None:
            raise ValueError("a guardrail needs at_most or at_least")
        return self


class Simulate(Record):
    """The second look: the shipping classes in virtual time."""

    requests: Annotated[int, Field(ge=100)] = 10_000
    """How many requests are counted, after the warm-up."""
    warmup: Annotated[int, Field(ge=0)] = 5_000
    promote: Annotated[int, Field(ge=1, le=64)] = 3
    """How many of the modelled settings are simulated, each with every value of the other axes."""
    rounds: Annotated[int, Field(ge=1, le=64)] = 1
    """How often each is simulated, every time on the next requests; where faults vary, once says little."""


class Measure(Record):
    """The third look: wall clock, real server, interleaved rounds."""

    requests: Annotated[int, Field(ge=100)] = 6_000
    """How many requests each arm is asked in all, after the warm-up, shared out over the rounds."""
    warmup: Annotated[int, Field(ge=0)] = 20_000
    rounds: Annotated[int, Field(ge=6, le=200)] = 12
    rate_per_s: Annotated[float, Field(gt=0)] | None = 1_500.0
    """How fast requests arrive on the wall clock; the cache's clock runs faster by the same factor. Null
    is as they come, which the rig `vertex` wants and no other takes: a batch window shrinks with no trace."""
    finalists: Annotated[int, Field(ge=1, le=16)] = 2

    @property
    def asked_per_s(self) -> float:
        """How fast requests arrive, where it is the measurement's to say."""
        assert self.rate_per_s is not None  # noqa: S101  # refused with the scenario
        return self.rate_per_s


class Confirm(Record):
    """The last look: the leader and the baseline once more, fresh process, fresh seed."""

    rounds: Annotated[int, Field(ge=6, le=200)] = 12


class Scenario(Record):
    """A question about knobs, with all that is needed to answer it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
    question: str
    rig: Literal["cache", "pools", "asgi", "vertex"]
    workload: Annotated[GeneratedWorkload | TraceWorkload, Field(discriminator="kind")]
    world: World = World()
    traffic: Traffic | None = None
    """What the requests are; only for the rig `pools`, which has a default for it."""
    http: Http | None = None
    """Who asks and for what; only for the rig `asgi`, which has a default for it."""
    vertex: Vertex | None = None
    """What is asked of the model, and what the project grants; only for the rig `vertex`, which has a default
    for it."""
    baseline: dict[str, Value] = Field(default_factory=dict)
    """Knobs of the settings in use today that differ from the defaults."""
    axes: dict[str, Axis]
    objective: Objective
    guardrails: tuple[Guardrail, ...] = ()
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    simulate: Simulate = Simulate()
    measure: Measure | None = Measure()
    """Null to stop at the simulation; then nothing can be confirmed."""
    confirm: Confirm = Confirm()

    @property
    def traffic_or_usual(self) -> Traffic:
        """The traffic, or the usual one where none is named: nine reads of the cache to one write."""
        return self.traffic or Traffic()

    @property
    def http_or_usual(self) -> Http:
        """The requests over HTTP, or the usual ones where none are named: one client that accepts all."""
        return self.http or Http()

    @property
    def vertex_or_usual(self) -> Vertex:
        """What is asked of Vertex AI, or the usual where nothing is said: single texts, no quota."""
        return self.vertex or Vertex()

    @field_validator("baseline")
    @classmethod
    def _baseline_is_legal(cls, baseline: dict[str, Value]) -> dict[str, Value]:
        for path, value in baseline.items():
            _admit(path, (value,))
        return baseline

    @field_validator("axes")
    @classmethod
    def _axes_are_legal(cls, axes: dict[str, Axis]) -> dict[str, Axis]:
        for path, axis in axes.items():
            _admit(path, axis_values(path, axis))
        return axes

    @model_validator(mode="after")
    def _fits_its_rig(self) -> Scenario:
        if self.vertex is not None and self.rig != "vertex":
            raise ValueError(f"the part vertex is for the rig vertex, and this is {self.rig}; remove it")
        paced = self.measure is not None and self.measure.rate_per_s is not None
        if self.rig == "vertex" and paced:
            raise ValueError(
                "a batch window shrinks with no trace, so the rig vertex plays requests as they come: write "
                "measure.rate_per_s: null, and workload.speed or workload.rate_per_s to have them come faster"
            )
        if self.rig != "vertex" and self.measure is not None and not paced:
            raise ValueError("measure.rate_per_s may be null for the rig vertex only; write a rate")
        return self

    def quick(self) -> Scenario:
        """The same question on a fraction of the requests: to see that everything works, not to decide.

        Where faults are planned rounds stay as long as they are, and are only fewer. A service over HTTP and
        Vertex AI are asked at their own pace, so they are asked least.
        """
        least = {"asgi": 300, "vertex": 120}.get(self.rig, 1_200)
        faulty = self.traffic is not None and bool(self.traffic.faults)
        simulated = self.simulate.requests if faulty else 600
        changes: dict[str, object] = {
            "simulate": Simulate(requests=simulated, warmup=min(self.simulate.warmup, 1_000), promote=1),
            "confirm": Confirm(rounds=6),
        }
        if self.measure is not None:
            changes["measure"] = Measure(
                requests=self.measure.requests // self.measure.rounds * 6 if faulty else least,
                warmup=min(self.measure.warmup, 20 if self.rig == "vertex" else 2_000),
                rounds=6,
                finalists=1,
                rate_per_s=self.measure.rate_per_s,
            )
        if isinstance(self.workload, GeneratedWorkload):
            requests = min(self.workload.requests, 20_000)
            changes["workload"] = self.workload.model_copy(update={"requests": requests})
        return self.model_copy(update=changes)

    @classmethod
    def load(cls, path: str | Path) -> Scenario:
        """Read a scenario file.

        Raises:
            ScenarioError: the file is not a scenario; the message says where, why, and what to write.
        """
        from perfkit.lab.yaml12 import read_scenario

        scenario: Scenario = read_scenario(cls, Path(path))
        return scenario


def axis_values(path: str, axis: Axis) -> tuple[Value, ...]:
    """Return the values an axis asks for, each once, as the knob's own kind.

    A spread over a whole-number knob is rounded; what rounds to the same number counts once.
    """
    if not isinstance(axis, Spread):
        return tuple(dict.fromkeys(axis))
    if _knob(path).kind is int:
        return tuple(dict.fromkeys(round(value) for value in axis.values))
    return tuple(float(f"{value:.4g}") for value in axis.values)


def _check_metric(name: str) -> None:
    try:
        find_metric(name)
    except ScenarioError as refusal:
        raise PydanticCustomError("knob", "{why}", {"why": str(refusal), "key": "metric"}) from None


def _knob(path: str) -> KnobInfo:
    try:
        return find_knob(Settings(), path)
    except SettingsError as refusal:
        raise PydanticCustomError("knob", "{why}", {"why": str(refusal), "key": path}) from None


def _admit(path: str, values: tuple[Value, ...]) -> None:
    info = _knob(path)
    for value in values:
        if not info.admits(value):
            why = f"{path}={value!r} is refused: it must be {info.allowed}."
            raise PydanticCustomError("knob", "{why}", {"why": why, "key": path})
