"""What the memory tier asks of an eviction policy.

A policy owns the tier's one table of entries, and their order; it knows no sizes and no clock. The tier tells
it what comes (`admit`, `replace`) and what goes (`forget`), and asks it one question (`evict`). A look-up
does not call it: the table is read directly, and a use is noted on the entry itself, in `Entry.uses`:

    0 to 3, −4 to −1   uses, counted by the tier in the two lowest bits up to three; the sign is the policy's
    above 3, `TOLD`    the policy hears of each use of this entry (`touch`); the further bits are its own

To add one: write the file, name it in `make_policy` and in `CacheSettings.l1_policy`, and let its test
inherit `EvictionPolicyCase`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from perfkit.cache.entry import Entry
from perfkit.clock import Clock, now_s
from perfkit.errors import SettingsError, did_you_mean

__all__ = ["IN_MAIN", "SAMPLED", "TOLD", "EvictionPolicy", "make_policy"]

TOLD = 35
"""`Entry.uses` of an entry whose uses the policy is told of: above 3, and its two lowest bits are set."""

IN_MAIN = 16
"""Bit of `Entry.uses`: the key is in the second of a policy's two queues; −4 to −1 have it too."""

SAMPLED = 64
"""Bit of a told entry's `uses`: it is told because its key is in a sample."""


class EvictionPolicy(Protocol):
    """Holds the entries, and decides which leaves.

    >>> policy = make_policy("lru", max_entries=2)
    >>> policy.admit("a", Entry("apple", 0, 9)); policy.admit("b", Entry("pear", 0, 9)); policy.touch("a")
    >>> policy.evict()[0], list(policy.entries)
    ('b', ['a'])
    """

    entries: dict[str, Entry]
    """All that is resident; read by anybody, changed by the policy alone."""

    reclaims_expired: bool
    """Whether the tier may remove expired keys before it asks for a victim."""

    missed: Callable[[str], None] | None
    """Told of each look-up that found nothing fresh, by a policy that learns from requests."""

    def admit(self, key: str, entry: Entry) -> None:
        """Take in a key that is not resident."""
        ...

    def replace(self, key: str, old: Entry, new: Entry) -> None:
        """Give a resident key a new entry: it keeps its standing, and this was a use."""
        ...

    def touch(self, key: str) -> None:
        """Note a use of a resident key whose entry asks to be told."""
        ...

    def evict(self) -> tuple[str, Entry]:
        """Choose the resident key that leaves, and let go of it; one must be resident."""
        ...

    def forget(self, key: str, *, expired: bool = False) -> None:
        """Let go of a resident key that leaves for another reason: deleted, or `expired`."""
        ...

    def emptied(self) -> dict[str, Entry]:
        """Return all entries and start anew without them, at once however many there are."""
        ...


def make_policy(
    name: str, max_entries: int, *, max_bytes: int = 1 << 62, clock: Clock = now_s
) -> EvictionPolicy:
    """Return an empty policy for a tier of at most `max_entries`.

    Raises:
        SettingsError: there is no policy of that name; the message names the nearest.
    """
    from perfkit.cache.policies.adaptive import Adaptive  # the policies import this file
    from perfkit.cache.policies.lru import Lru
    from perfkit.cache.policies.s3fifo import S3Fifo
    from perfkit.cache.policies.sieve import Sieve

    if max_entries < 1:
        raise SettingsError(
            f"max_entries={max_entries} is refused: a tier that may hold nothing cannot choose what leaves. "
            "Write 1 or more.",
            path="max_entries",
            value=max_entries,
            allowed=">= 1",
        )
    match name:
        case "lru":
            return Lru()
        case "sieve":
            return Sieve()
        case "s3fifo":
            return S3Fifo(max_entries)
        case "adaptive":
            return Adaptive(max_entries, max_bytes, clock)
    known = ("adaptive", "lru", "s3fifo", "sieve")
    raise SettingsError(
        f"There is no eviction policy {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}.",
        path="l1_policy",
        value=name,
        allowed=", ".join(known),
    )
