"""What goes wrong at the emulated Vertex AI, and when.

A plan names faults as plain data: which kind, in which span of time or of calls, for which share of requests.
Times are seconds since the emulator was first asked; calls count from 1, embeddings and texts together.

    quota               429
    unavailable         503
    internal            500
    deadline            504, the server's own
    not_found           404, as when a model retires
    unauthenticated     401
    permission_denied   403
    hang                no answer until the caller gives up
    slow                answers take `times` as long
    slow_start          the same, falling evenly to the usual until the span ends
    max_texts           a request may hold only `value` texts
    max_tokens          and only `value` tokens
    too_few             `value` vectors are missing from an answer
    poison              a text that holds `marker` is refused, and with it the request
    cut_stream          a stream breaks after `value` pieces
    restart             what is under way fails when the span begins; what comes before it ends is refused,
                        whatever model it asks
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from perfkit.errors import SettingsError, did_you_mean

__all__ = ["KINDS", "Fault", "FaultKind", "Faults", "PlannedFault"]

FaultKind: TypeAlias = Literal[
    "quota",
    "unavailable",
    "internal",
    "deadline",
    "not_found",
    "unauthenticated",
    "permission_denied",
    "hang",
    "slow",
    "slow_start",
    "max_texts",
    "max_tokens",
    "too_few",
    "poison",
    "cut_stream",
    "restart",
]
KINDS: Final[tuple[FaultKind, ...]] = get_args(FaultKind)


class Fault(Exception):
    """What is answered instead: a gRPC status by its name, Google's message, `RetryInfo` if any."""

    def __init__(self, status: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """One thing that goes wrong, and for whom.

    >>> storm = PlannedFault(kind="quota", from_s=10, to_s=20, retry_after_s=2)
    >>> [storm.strikes(at_s=at_s, call=700, model="text-embedding-005") for at_s in (9.9, 10.0, 20.0)]
    [False, True, False]

    Raises:
        SettingsError: there is no such kind, or the span or share is none.
    """

    kind: FaultKind
    from_s: float = 0.0
    to_s: float = math.inf
    """Not included."""
    from_call: int = 1
    to_call: int | None = None
    """Not included; None is never."""
    share: float = 1.0
    """Of the requests in the span; drawn by the plan's seed."""
    models: tuple[str, ...] = ()
    """Google's ids; empty is every model."""
    retry_after_s: float | None = None
    times: float = 10.0
    """Only for `slow` and `slow_start`."""
    value: int = 1
    """Only for `max_texts`, `max_tokens`, `too_few` and `cut_stream`."""
    marker: str = field(default="", repr=False)
    """Only for `poison`."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise _wrong("kind", self.kind, f"there is none.{did_you_mean(str(self.kind), KINDS)}", KINDS)
        if not self.from_s < self.to_s:
            raise _wrong("to_s", self.to_s, f"the span begins at {self.from_s} s and would never come.")
        if self.to_call is not None and not self.from_call < self.to_call:
            raise _wrong("to_call", self.to_call, f"the span begins at call {self.from_call}.")
        if not 0 < self.share <= 1:
            raise _wrong("share", self.share, "it is no share of requests; more than 0 and 1 at the most is.")
        if not 0 < self.times < math.inf or self.value < 0:
            raise _wrong("times" if self.value >= 0 else "value", self.times, "it is out of range.")
        if self.kind == "poison" and not self.marker:
            raise _wrong("marker", "", "every text holds it; say which marker poisons a text.")
        if self.kind == "restart" and (self.models or self.share < 1):
            name = "models" if self.models else "share"
            raise _wrong(name, getattr(self, name), "a server restarts as a whole; leave it out.")
        if self.kind == "slow_start" and self.to_s == math.inf:
            raise _wrong("to_s", self.to_s, "a slow start ends; say when.")

    def strikes(self, *, at_s: float, call: int, model: str) -> bool:
        """Say whether a request falls into the span; its share is drawn elsewhere."""
        return (
            self.from_s <= at_s < self.to_s
            and call >= self.from_call
            and (self.to_call is None or call < self.to_call)
            and (not self.models or model in self.models)
        )

    def slower(self, at_s: float) -> float:
        """Return how many times as long an answer takes."""
        if self.kind == "slow_start":
            left = (self.to_s - at_s) / (self.to_s - self.from_s)
            return 1.0 + (self.times - 1.0) * left
        return self.times


class Faults:
    """A schedule that is asked of every request."""

    def __init__(self, planned: Iterable[PlannedFault], rng: random.Random) -> None:
        self._planned = tuple(planned)
        self._rng = rng
        self._restarts_s = sorted(
            fault.from_s
            for fault in self._planned
            if fault.kind == "restart" and fault.from_call == 1 and fault.from_s > 0
        )

    def __bool__(self) -> bool:
        return bool(self._planned)

    def of(self, at_s: float, call: int, model: str) -> list[PlannedFault]:
        """Return what befalls a request, in the order of the plan."""
        return [
            fault
            for fault in self._planned
            if fault.strikes(at_s=at_s, call=call, model=model)
            and (fault.share >= 1 or self._rng.random() < fault.share)
        ]

    def next_restart_s(self, after_s: float) -> float:
        """Return when the server next restarts by the clock, or infinity."""
        at = bisect_right(self._restarts_s, after_s)
        return self._restarts_s[at] if at < len(self._restarts_s) else math.inf


def _wrong(name: str, value: object, why: str, allowed: Iterable[str] = ()) -> SettingsError:
    listed = ", ".join(allowed)
    return SettingsError(
        f"A fault's {name} cannot be {value!r}: {why}" + (f" There are {listed}." if listed else ""),
        path=f"faults.{name}",
        value=value,
        allowed=listed,
    )
