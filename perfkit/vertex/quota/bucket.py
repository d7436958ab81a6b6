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

import math
from collections import deque
from typing import Final

from perfkit.resilience.bounds import demand

__all__ = ["JITTER_S", "MINUTE_S", "Bucket"]

MINUTE_S: Final = 60.0
JITTER_S: Final = 0.25
"""By how much two requests may differ in how long they travel."""

_MOST_HEADROOM: Final = 0.99  # with a burst of one: 1 + 0.99 * quota * (1 + jitter_s / 60) < quota + 1
_AFTER_A_PAUSE: Final = 0.125
_STEP_S: Final = 4.0
_STEPS: Final = 16  # besides the one of now: 64 s, more than a minute and its jitter
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
    >>> bucket.spend(0.0, 69.0)
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
        "_allowed",
        "_full_burst",
        "_full_rate",
        "_last_s",
        "_level",
        "_number",
        "_spent",
        "_step_ends_s",
        "_steps",
        "burst",
        "quota",
        "rate_per_s",
    )

    def __init__(self, quota: float, *, headroom: float, jitter_s: float = JITTER_S) -> None:
        demand(
            1 <= quota < math.inf,
            "quota",
            quota,
            otherwise="nothing would pass, or nothing is to be kept to",
            allowed="1 a minute or more",
        )
        demand(
            0 < headroom <= _MOST_HEADROOM,
            "headroom",
            headroom,
            otherwise="nothing would flow, or a burst of one would not fit",
            allowed=f"a share above 0, up to {_MOST_HEADROOM}",
        )
        demand(
            0 <= jitter_s <= 0.5,
            "jitter_s",
            jitter_s,
            otherwise="a burst of one would not fit into a small quota",
            allowed="seconds from 0 to 0.5",
        )
        self.quota: Final = quota
        self._full_rate: Final = headroom * quota / MINUTE_S
        self._full_burst: Final = max(1.0, (1 - headroom) * quota - self._full_rate * jitter_s)
        self.rate_per_s = self._full_rate
        self.burst = self._full_burst
        """The largest amount that passes without going into debt."""
        self._allowed = quota
        self._level = self.burst
        self._last_s = -math.inf
        self._steps = deque([0.0] * _STEPS, maxlen=_STEPS)
        self._spent = 0.0  # within the step of now
        self._number = 0
        self._step_ends_s = -math.inf

    def lacks_s(self, now_s: float, amount: float, reserve: float = 0.0) -> float:
        """Return how long to wait until an amount may be spent: 0 when it may now.

        Args:
            now_s: The time.
            amount: What is to be spent.
            reserve: What is to be left for others, as far as the burst has room for both.
        """
        passed_s = now_s - self._last_s
        if passed_s > 0:
            level = self._level + passed_s * self.rate_per_s
            self._level = min(self.burst, level)
            self._last_s = now_s
        needed = amount + reserve
        if needed > self.burst:
            needed = self.burst
        if self._level >= needed - _DUST:
            return 0.0 if amount <= self.burst else self._until_room_s(now_s, amount)
        return max(self._last_s - now_s, 0.0) + (needed - self._level) / self.rate_per_s + _LEAST_WAIT_S

    def spend(self, now_s: float, amount: float) -> None:
        """Take an amount that `lacks_s` let pass, or charge one after the fact; less than 0 gives back."""
        if now_s >= self._step_ends_s:
            self._step_on(now_s)
        self._spent += amount
        level = self._level - amount
        self._level = min(self.burst, level)

    def level(self, now_s: float) -> float:
        """Return what is there to be spent; less than 0 is a debt."""
        self.lacks_s(now_s, 0.0)
        return self._level

    def spent(self, now_s: float) -> float:
        """Return what was spent in the last 64 s, and up to 4 s before."""
        if now_s >= self._step_ends_s:
            self._step_on(now_s)
        return max(0.0, math.fsum(self._steps) + self._spent)

    def utilisation(self, now_s: float) -> float:
        """Return the share of the quota that the last minute took."""
        watched_s = (_STEPS + 1) * _STEP_S - max(0.0, self._step_ends_s - now_s)
        return self.spent(now_s) / self.quota * MINUTE_S / max(watched_s, _STEPS * _STEP_S)

    def drain(self, now_s: float, until_s: float) -> None:
        """Let nothing flow until a time, and little be there then: nobody returns from a pause in a burst."""
        self._level = min(self.level(now_s), max(1.0, self.burst * _AFTER_A_PAUSE))
        self._last_s = max(self._last_s, until_s)

    def pace(self, now_s: float, share: float) -> None:
        """Flow at a share of the rate, with a share of the burst: others draw on the same quota."""
        self.level(now_s)
        self.rate_per_s = self._full_rate * share
        self.burst = max(1.0, self._full_burst * share)
        self._allowed = self.quota * share
        self._level = min(self._level, self.burst)

    def _until_room_s(self, now_s: float, amount: float) -> float:
        """Return how long until the last minute leaves room for an amount above the burst."""
        left = self.spent(now_s)
        if left + amount <= self._allowed or left <= _DUST:
            return 0.0
        leaves_s = self._step_ends_s
        for spent in (*self._steps, self._spent):
            left -= spent
            if left + amount <= self._allowed or left <= _DUST:
                break
            leaves_s += _STEP_S
        return leaves_s - now_s + _LEAST_WAIT_S

    def _step_on(self, now_s: float) -> None:
        """Begin the step of now. Steps are numbered from the clock's zero: adding them up would drift."""
        number = math.floor(now_s / _STEP_S)
        self._steps.append(self._spent)
        self._steps.extend([0.0] * min(max(number - self._number - 1, 0), _STEPS))
        self._spent = 0.0
        self._number = number
        self._step_ends_s = (number + 1) * _STEP_S
