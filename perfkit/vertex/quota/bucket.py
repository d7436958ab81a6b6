"""A token bucket that no minute overflows, wherever the server's minutes begin.

A server counts a quota in minutes of its own. A bucket of `burst` that fills at `rate` lets at most
`burst + 60 * rate` through in any minute, so it must be

    60 * rate + burst ≤ quota        rate = headroom * quota / 60,   burst = (1 - headroom) * quota

A quota's worth of tokens at once, as limiters usually start, lets almost twice the quota into one minute.
What leaves within a minute does not all arrive within one: the network holds some back and brings them
together with what left later. What 60 s + `jitter_s` may bring must fit, so the burst is smaller by
`rate * jitter_s`. A burst is at least one: requests are whole, so `n` of them leave in a time only when
`n ≤ burst + rate * time`, and 1 + 0.95 * quota, rounded down, is within the quota still.

An amount above the burst passes when the bucket is full and goes into debt, which all that follow pay off.
In the minute it ends it comes on top of what flowed, so it also waits until the last minute has room for it:
the bucket keeps what it let through in steps of four seconds. One above the quota itself waits for an empty
minute; what the server makes of it is the server's.
"""

from __future__ import annotations

from typing import Final

from perfkit.resilience.bounds import demand

__all__ = ["JITTER_S", "MINUTE_S", "Bucket"]

MINUTE_S: Final = 60.0
JITTER_S: Final = 0.25
"""By how much two requests may differ in how long they travel."""

_STEP_S: Final = 4.0
_STEPS: Final = 16  # besides the one of now: 64 s, which is a minute and its jitter
_DUST: Final = 1e-6
"""Shares of a token that rounding may have lost."""
_LEAST_WAIT_S: Final = 1e-6  # less would not move a clock that has run for long


class Bucket:
    """What may still be spent of a quota per minute.

    The caller brings the time, which may stand still, jump, or step back by a rounding error.

    >>> bucket = Bucket(1_500, headroom=0.95)
    >>> round(bucket.rate_per_s, 2), round(bucket.burst, 2)
    (23.75, 69.06)
    >>> bucket.lacks_s(0.0, 1.0)
    0.0
    >>> bucket.spend(69.0)
    >>> round(bucket.lacks_s(0.0, 1.0), 3)
    0.039

    Args:
        quota: How much a minute may bring.
        headroom: The share of it that flows steadily.
        jitter_s: By how much two requests may differ in how long they travel.

    Raises:
        SettingsError: a quota below one, or a headroom that leaves no flow or no burst.
    """

    __slots__ = (
        "_full_burst",
        "_full_rate",
        "_last_s",
        "_level",
        "_ring",
        "_spent",
        "_step",
        "_step_ends_s",
        "burst",
        "quota",
        "rate_per_s",
    )

    def __init__(self, quota: float, *, headroom: float, jitter_s: float = JITTER_S) -> None:
        demand(quota >= 1, "quota", quota, otherwise="nothing would ever pass", allowed="1 a minute or more")
        demand(
            0 < headroom <= 0.99,
            "headroom",
            headroom,
            otherwise="nothing would flow, or no burst would be left",
            allowed="a share above 0, up to 0.99",
        )
        demand(
            0 <= jitter_s <= 4,
            "jitter_s",
            jitter_s,
            otherwise="the quota could not be kept to",
            allowed="seconds from 0 to 4",
        )
        self.quota: Final = quota
        self._full_rate = headroom * quota / MINUTE_S
        self._full_burst = (1 - headroom) * quota - self._full_rate * jitter_s
        self.rate_per_s = self._full_rate
        self.burst = max(1.0, self._full_burst)
        self._level = self.burst
        self._last_s: float | None = None
        self._ring = [0.0] * _STEPS
        self._spent = 0.0
        """Within the step of now."""
        self._step = 0
        self._step_ends_s = 0.0

    def lacks_s(self, now_s: float, amount: float, reserve: float = 0.0) -> float:
        """Return how long to wait until an amount may be spent: 0 when it may now.

        Args:
            now_s: The time.
            amount: What is to be spent.
            reserve: What is to be left for others, where the burst has room for both.
        """
        raise NotImplementedError

    def spend(self, amount: float) -> None:
        """Take an amount that `lacks_s` let pass, or charge one after the fact; less than 0 gives back."""
        raise NotImplementedError

    def level(self, now_s: float) -> float:
        """Return what is there to be spent; less than 0 is a debt."""
        raise NotImplementedError

    def spent(self, now_s: float) -> float:
        """Return what was spent in the last minute, and up to 8 s before it."""
        raise NotImplementedError

    def drain(self, now_s: float, until_s: float) -> None:
        """Let nothing flow until a time, and leave one then: who was refused does not come back in a burst."""
        raise NotImplementedError

    def pace(self, share: float) -> None:
        """Flow at a share of the rate and the burst, because others draw on the same quota."""
        raise NotImplementedError
