"""What goes wrong at the emulated Vertex AI, and when.

A plan names faults as plain data: which kind, in which span of time or of calls, for which share of requests.
Times are seconds since the emulator was first asked; calls count from 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from perfkit.errors import SettingsError

__all__ = ["KINDS", "Fault", "FaultKind", "PlannedFault"]

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
"""What may go wrong.

`quota` 429, `unavailable` 503, `internal` 500, `deadline` 504, `not_found` 404, `unauthenticated` 401,
`permission_denied` 403; `hang`: no answer until the caller gives up; `slow`: answers take `times` as long;
`slow_start`: the same, falling evenly to the usual until the span ends; `max_texts`, `max_tokens`: a request
may hold only `value`; `too_few`: `value` vectors are missing from an answer; `poison`: a text that holds
`marker` is refused; `cut_stream`: a stream breaks after `value` pieces; `restart`: what is under way fails,
and what comes before the span ends is refused.
"""


class Fault(Exception):
    """What the emulator answers instead: a gRPC status by name, Google's message, `RetryInfo` where it says so."""

    def __init__(self, status: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """One thing that goes wrong, and for whom.

    >>> storm = PlannedFault(kind="quota", from_s=10, to_s=20, retry_after_s=2)
    >>> storm.strikes(at_s=12.0, call=700, model="text-embedding-005")
    True
    """

    kind: FaultKind
    from_s: float = 0.0
    to_s: float = math.inf
    """Not included."""
    from_call: int = 1
    to_call: int | None = None
    """Not included; None is never."""
    share: float = 1.0
    """Of the requests of the span; drawn by the emulator's seed."""
    models: tuple[str, ...] = ()
    """Google's ids; empty is every model."""
    retry_after_s: float | None = None
    times: float = 10.0
    """Only for `slow` and `slow_start`."""
    value: int = 1
    """Only for `max_texts`, `max_tokens`, `too_few` and `cut_stream`."""
    marker: str = field(default="", repr=False)
    """Only for `poison`."""

    def strikes(self, *, at_s: float, call: int, model: str) -> bool:
        """Say whether a request falls into the span; its share is drawn elsewhere."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SettingsError("…", path="faults.kind", value=self.kind)
