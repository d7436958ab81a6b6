"""How long an answer lives, and when it is time for a new one: arithmetic, without a cache around it.

Jitter
------
What was filled together must not expire together, or the origin meets everybody at once. So a time to live
is shortened by a share between nothing and the knob. Which share is a fixed function of the key (a CRC-32,
so keys differ and instances agree), not a throw of dice: then a sweep can model it exactly.

Early refresh
-------------
`xfetch` [1] renews an answer before its end with a probability that rises towards it:

    now − Δ · β · ln(random) ≥ expires          Δ: what renewing takes

so that one of many callers renews in the background while the rest are served, without a word between them.
From about 14·Δ·β before the end on, that has a chance above one in a million; until then a hit needs no
thought, which is what `early_from_s` is for. `eager` renews from a share of the life on.

[1] A. Vattani, F. Chierichetti, K. Lowenstein: Optimal probabilistic cache stampede prevention.
    VLDB 2015.
"""

from __future__ import annotations

import math
import random
from zlib import crc32

from perfkit.cache.settings import CacheSettings

__all__ = ["early_from_s", "is_due", "jittered_seconds"]

_UNTHINKABLE = 14.0
"""−ln of the chance below which an early refresh is not thought of."""


def jittered_seconds(ttl_seconds: float, full_key: str, jitter: float, tier: str) -> float:
    """Return a time to live shortened by the key's own share of `jitter`.

    >>> jittered_seconds(60.0, "users:7", 0.0, "l1")
    60.0
    >>> 54 < jittered_seconds(60.0, "users:7", 0.1, "l1") <= 60
    True
    """
    if not jitter:
        return ttl_seconds
    share = crc32(f"{tier}:{full_key}".encode("utf-8", "surrogatepass")) / 2**32
    return ttl_seconds * (1 - jitter * share)


def early_from_s(settings: CacheSettings, begin_s: float, expires_s: float, takes_seconds: float) -> float:
    """Return the time from which a hit must ask `is_due`; the end itself where nothing is renewed early.

    Args:
        settings: `refresh`, `refresh_beta`, `refresh_share`.
        begin_s: When the life of the answer began.
        expires_s: When it ends.
        takes_seconds: What getting a new one takes.
    """
    if settings.refresh == "eager":
        return begin_s + settings.refresh_share * (expires_s - begin_s)
    if settings.refresh == "xfetch":
        return expires_s - _UNTHINKABLE * settings.refresh_beta * takes_seconds
    return expires_s


def is_due(
    settings: CacheSettings, now: float, early_from: float, expires_s: float, rng: random.Random
) -> bool:
    """Tell whether an answer that is still fresh should be renewed now; chance decides under `xfetch`."""
    if settings.refresh == "eager":
        return now >= early_from
    if settings.refresh == "xfetch" and now >= early_from:
        scale = (expires_s - early_from) / _UNTHINKABLE
        return now - scale * math.log(1.0 - rng.random()) >= expires_s
    return False
