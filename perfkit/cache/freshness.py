"""How long an answer lives: arithmetic, without a cache around it.

What was filled together must not expire together, or the origin meets everybody at once. So a time to live
is shortened by a share between nothing and the knob. Which share is a fixed function of the key (a CRC-32,
so keys differ and instances agree), not a throw of dice: then a sweep can model it exactly.
"""

from __future__ import annotations

from zlib import crc32

__all__ = ["jittered_seconds"]


def jittered_seconds(ttl_seconds: float, full_key: str, jitter: float, tier: str) -> float:
    """Return a time to live shortened by the key's own share of `jitter`.

    >>> jittered_seconds(60.0, "users:7", 0.0, "l1")
    60.0
    >>> 54 < jittered_seconds(60.0, "users:7", 0.1, "l1") <= 60
    True
    """
    if not jitter:
        return ttl_seconds
    factor = 1 - jitter * crc32(f"{tier}:{full_key}".encode("utf-8", "surrogatepass")) / 2**32
    return ttl_seconds * factor
