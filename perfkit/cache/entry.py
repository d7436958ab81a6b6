"""A cached value with its times, as a tier holds it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Entry"]


@dataclass(slots=True)
class Entry:
    """A value and its times, in seconds of the clock of the tier that returned it.

    `born_s` is when the origin was asked for it (RFC 9111 §4.2.3 counts age from the request), `filled_s`
    when this tier took it in; it may be served while now ≤ `expires_s`. `weight` is what the memory tier
    counts it for, in bytes.
    """

    value: object
    born_s: float
    filled_s: float
    expires_s: float
    weight: int = 0
