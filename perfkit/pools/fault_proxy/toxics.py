"""What can be wrong with the line to Redis, under toxiproxy's names.

A line has two streams, `requests` towards the server and `replies` back, and each has toxics of its own: a
request that is never executed and a reply that is never heard are different faults. Toxics are values: a
`perfkit.pools.fault_proxy.FaultProxy` is given one after another, also while connections are open.

They mean what https://github.com/Shopify/toxiproxy#toxics says, but for this:

- `latency` is a minimum and `jitter` is added to it, where toxiproxy's varies around a mean.
- `limit_data` closes after exactly so many bytes, not after the read that reaches them.
- `blackhole` stands for a `timeout` of 0. Its bytes wait until it is over, as TCP would send them again; were
  they dropped, the rest of the stream would be answers to the wrong questions, and no client could tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from perfkit.errors import SettingsError

__all__ = ["StreamToxics", "Toxics", "checked_ms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamToxics:
    """What is wrong with one direction of every connection; by default nothing.

    Several may be set at once: a slow line that also cuts its connections, say.

    >>> StreamToxics(latency_ms=-1)
    Traceback (most recent call last):
    perfkit.errors.SettingsError: latency_ms=-1 is not a number from 0 up, so the line cannot have it...

    Raises:
        SettingsError: a value is of the wrong kind or out of bounds.
    """

    latency_ms: float = 0.0
    """Each byte arrives so much later."""
    jitter_ms: float = 0.0
    """Each arrival may be up to so much later still, uniformly, yet never before what was sent before it."""
    bandwidth_bytes_per_s: float | None = None
    """How fast bytes enter the line; the sender is held back."""
    blackhole: bool = False
    """Nothing arrives, an end of the connection included; it does once this is over."""
    timeout_ms: float | None = None
    """Nothing arrives, and the connection closes so long after this was set, or after it was opened."""
    reset_peer_ms: float | None = None
    """The next bytes do not arrive; so long after they should have, both ends get RST."""
    slicer_bytes: int | None = None
    """Bytes arrive in pieces of at most so many; what arrives together may still be read together."""
    slicer_delay_ms: float = 0.0
    """How long each piece waits for the next."""
    limit_data_bytes: int | None = None
    """The connection closes once so many bytes have arrived, counted from when this was set or it was opened.

    With 0 it closes instead of the next byte.
    """
    slow_close_ms: float = 0.0
    """The end of the stream arrives so much later than its bytes."""

    def __post_init__(self) -> None:
        for name in ("latency_ms", "jitter_ms", "slicer_delay_ms", "slow_close_ms"):
            checked_ms(name, getattr(self, name))
        if self.reset_peer_ms is not None:
            checked_ms("reset_peer_ms", self.reset_peer_ms)
        if self.timeout_ms is not None and not (_is_number(self.timeout_ms) and self.timeout_ms > 0):
            raise _refused(
                "timeout_ms", self.timeout_ms, "None or a number above 0; `blackhole` never closes"
            )
        rate = self.bandwidth_bytes_per_s
        if rate is not None and not (_is_number(rate) and rate > 0):
            raise _refused("bandwidth_bytes_per_s", rate, "None or a number above 0; `blackhole` is its 0")
        for name, least in (("slicer_bytes", 1), ("limit_data_bytes", 0)):
            count = getattr(self, name)
            if count is not None and (type(count) is not int or count < least):
                raise _refused(name, count, f"None or a whole number from {least} up")
        if type(self.blackhole) is not bool:
            raise _refused("blackhole", self.blackhole, "True or False")


@dataclass(frozen=True, slots=True, kw_only=True)
class Toxics:
    """What is wrong with a line: with each of its streams, or that it is down.

    >>> half_open = Toxics(replies=StreamToxics(blackhole=True))
    >>> half_open.requests.blackhole, half_open.replies.blackhole
    (False, True)
    >>> Toxics.both(latency_ms=2) == Toxics(
    ...     requests=StreamToxics(latency_ms=2), replies=StreamToxics(latency_ms=2)
    ... )
    True

    Raises:
        SettingsError: a value is of the wrong kind.
    """

    down: bool = False
    """Connections are closed, and new ones refused, as when the server's process is gone."""
    requests: StreamToxics = field(default_factory=StreamToxics)
    """From the client to the server; toxiproxy's `upstream`."""
    replies: StreamToxics = field(default_factory=StreamToxics)
    """From the server to the client; toxiproxy's `downstream`."""

    def __post_init__(self) -> None:
        if type(self.down) is not bool:
            raise _refused("down", self.down, "True or False")
        for name in ("requests", "replies"):
            if not isinstance(getattr(self, name), StreamToxics):
                raise _refused(name, getattr(self, name), "a StreamToxics")

    @classmethod
    def both(cls, **toxics: Any) -> Toxics:
        """Return the same toxics for both streams; the names are those of `StreamToxics`."""
        return cls(requests=StreamToxics(**toxics), replies=StreamToxics(**toxics))

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Toxics:
        """Return the toxics that `to_json` wrote."""
        requests, replies = StreamToxics(**plain["requests"]), StreamToxics(**plain["replies"])
        return cls(down=plain["down"], requests=requests, replies=replies)


def checked_ms(name: str, milliseconds: float) -> float:
    """Return a duration that a line can have.

    Raises:
        SettingsError: it is negative, not finite or no number.
    """
    if not (_is_number(milliseconds) and milliseconds >= 0):
        raise _refused(name, milliseconds, "a number from 0 up")
    return milliseconds


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refused(name: str, value: object, allowed: str) -> SettingsError:
    return SettingsError(
        f"{name}={value!r} is not {allowed}, so the line cannot have it. Give {allowed}.",
        path=name,
        value=value,
        allowed=allowed,
    )
