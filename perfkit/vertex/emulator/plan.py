"""What the emulated Vertex AI is like, as plain data that a scenario's YAML and a command's flags can say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Final, Literal, TypeVar

from perfkit.errors import SettingsError, did_you_mean
from perfkit.vertex.emulator.faults import PlannedFault
from perfkit.vertex.emulator.latency import Latency, latency_of
from perfkit.vertex.models import EMBEDDING_MODELS, EmbeddingSpec

__all__ = ["EmulatorPlan"]

_LIMITS: Final = ("dimensions", "max_text_tokens", "max_texts", "max_tokens")
_QUOTAS: Final = ("requests_per_minute", "tokens_per_minute")
_Made = TypeVar("_Made", PlannedFault, Latency)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorPlan:
    """Limits, quotas, latency and faults of an emulator; the default refuses nothing and answers at once.

    >>> plan = EmulatorPlan.from_data({
    ...     "latency": "study",
    ...     "requests_per_minute": 1500,
    ...     "faults": [{"kind": "max_texts", "from_s": 60, "value": 5}],
    ... })
    >>> plan.faults[0].from_s, EmulatorPlan.from_data(plan.to_data()) == plan
    (60.0, True)

    Raises:
        SettingsError: a value is wrong, or names what does not exist.
    """

    latency: str | Latency = "none"
    """Of embeddings: a preset's name, or numbers of your own."""
    requests_per_minute: int = 0
    """Of each base model of embeddings, in fixed minutes; 0 refuses nothing."""
    tokens_per_minute: int = 0
    """Input tokens of each base model of embeddings; 0 refuses nothing."""
    project_requests_per_minute: int = 0
    """Of all models together; 0 refuses nothing."""
    quotas: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By base model (`textembedding-gecko`): `requests_per_minute`, `tokens_per_minute` of its own."""
    minute_phase_s: float | None = None
    """How far into a minute the emulator starts; None draws it by the seed, as nobody knows Google's."""
    retry_info: bool = False
    """Whether a refusal for quota says when the minute ends; Google's say nothing."""
    limits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By model: `max_texts`, `max_tokens`, `max_text_tokens`, `dimensions` other than in the table."""
    capacity: int = 0
    """How many embedding requests are served at once, while others queue; 0 serves all."""
    refusal_ms: float = 0.0
    """How long a refusal takes."""
    text_latency: str | Latency = "none"
    """Of generated text, until its first token; its tokens are those of the prompt."""
    text_token_ms: float = 0.0
    """For each token after the first."""
    text_tokens: int = 120
    """How long an answer is: the median of a lognormal."""
    text_capacity: int = 0
    """How many texts may be in the making, as dynamic shared quota allows; 0 refuses none."""
    vectors: Literal["semantic", "cheap"] = "semantic"
    """`cheap` vectors are told apart and nothing more, for sweeps where only time counts."""
    faults: tuple[PlannedFault, ...] = ()
    """What goes wrong, and when."""
    seed: int = 0

    def __post_init__(self) -> None:
        latency_of(self.latency)
        latency_of(self.text_latency)
        for name in _COUNTS:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise _wrong(name, value, "write a whole number, 0 or more")
        for name in ("refusal_ms", "text_token_ms"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise _wrong(name, value, "write a number of milliseconds, 0 or more")
        if self.minute_phase_s is not None and not 0 <= self.minute_phase_s < 60:
            raise _wrong("minute_phase_s", self.minute_phase_s, "write seconds, 0 or more and less than 60")
        if self.vectors not in ("semantic", "cheap"):
            raise _wrong("vectors", self.vectors, "write semantic or cheap")
        _check_table("limits", self.limits, EMBEDDING_MODELS, _LIMITS)
        _check_table("quotas", self.quotas, {spec.quota for spec in EMBEDDING_MODELS.values()}, _QUOTAS)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> EmulatorPlan:
        """Return the plan that plain data spells; a name it does not know is refused.

        Raises:
            SettingsError: a name or a value is wrong.
        """
        known = {one.name: one for one in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in data.items():
            if name not in known:
                raise _unknown(name, known)
            if name == "faults":
                if not isinstance(value, (list, tuple)):
                    raise _wrong(name, value, "write a list of faults")
                value = tuple(_made(PlannedFault, one, f"faults[{at}]") for at, one in enumerate(value))
            elif name in ("latency", "text_latency") and not isinstance(value, str):
                value = _made(Latency, value, name)
            values[name] = value
        try:
            return cls(**values)
        except TypeError:
            raise _wrong("a value", dict(data), "one of them is of the wrong type") from None

    def to_data(self) -> dict[str, Any]:
        """Return what `from_data` reads: every field that differs from its default."""
        data = _told(self)
        for name in ("latency", "text_latency"):
            if isinstance(data.get(name), Latency):
                data[name] = _told(data[name])
        if self.faults:
            data["faults"] = [_told(fault) for fault in self.faults]
        for name in ("limits", "quotas"):
            if name in data:
                data[name] = {key: dict(value) for key, value in data[name].items()}
        return data

    def spec(self, model: str) -> EmbeddingSpec | None:
        """Return what this plan makes of an embedding model, or None where Google has none by that id."""
        spec = EMBEDDING_MODELS.get(model)
        if spec is None or model not in self.limits:
            return spec
        own: dict[str, Any] = dict(self.limits[model])
        return replace(spec, **own)

    def quota(self, base_model: str) -> tuple[int, int]:
        """Return the requests and the tokens a minute of a base model; 0 is no limit."""
        own = self.quotas.get(base_model, {})
        return (
            own.get("requests_per_minute", self.requests_per_minute),
            own.get("tokens_per_minute", self.tokens_per_minute),
        )


_COUNTS: Final = (
    "requests_per_minute",
    "tokens_per_minute",
    "project_requests_per_minute",
    "capacity",
    "text_tokens",
    "text_capacity",
    "seed",
)


def _made(kind: type[_Made], data: object, path: str) -> _Made:
    """Return a value of plain data, numbers turned into what the field is."""
    if isinstance(data, kind):
        return data
    if not isinstance(data, Mapping):
        raise _wrong(path, data, "write its fields by name")
    known = {one.name: _READ[str(one.type)] for one in fields(kind)}
    values: dict[str, Any] = {}
    for name, value in data.items():
        if name not in known:
            raise _unknown(f"{path}.{name}", [f"{path}.{one}" for one in known])
        try:
            values[name] = known[name](value)
        except (TypeError, ValueError):
            raise _wrong(f"{path}.{name}", value, "it is of the wrong type") from None
    try:
        return kind(**values)
    except TypeError:
        raise _wrong(path, sorted(map(str, data)), "a fault has a kind") from None


def _number(value: Any) -> float:
    if isinstance(value, (str, bool)):
        raise TypeError
    return float(value)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(one) for one in value)


_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "FaultKind": str,
    "str": str,
    "float": _number,
    "float | None": lambda value: None if value is None else _number(value),
    "int": _whole,
    "int | None": lambda value: None if value is None else _whole(value),
    "tuple[str, ...]": _names,
}
"""How a field of a fault or a latency is read, by its annotation."""


def _told(value: EmulatorPlan | PlannedFault | Latency) -> dict[str, Any]:
    told = {}
    for one in fields(value):
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        if (own := getattr(value, one.name)) != default:
            told[one.name] = list(own) if isinstance(own, tuple) else own
    return told


def _check_table(
    name: str,
    table: Mapping[str, Mapping[str, int]],
    rows: Mapping[str, object] | set[str],
    columns: tuple[str, ...],
) -> None:
    for row, values in table.items():
        if row not in rows:
            raise _unknown(f"{name}.{row}", [f"{name}.{one}" for one in sorted(rows)])
        for column, value in values.items():
            if column not in columns:
                raise _unknown(f"{name}.{row}.{column}", [f"{name}.{row}.{one}" for one in columns])
            least = 1 if name == "limits" else 0
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise _wrong(f"{name}.{row}.{column}", value, f"write a whole number, {least} or more")


def _wrong(name: str, value: object, remedy: str) -> SettingsError:
    return SettingsError(
        f"The emulator's {name} cannot be {value!r}: {remedy}.", path=f"emulator.{name}", value=value
    )


def _unknown(name: str, known: Mapping[str, object] | list[str]) -> SettingsError:
    return SettingsError(
        f"The emulator has no {name!r}.{did_you_mean(name, known)} It has {', '.join(known)}.",
        path=f"emulator.{name}",
        allowed=", ".join(known),
    )
