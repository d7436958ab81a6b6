"""What the memory tier asks of an eviction policy.

A policy holds keys and their order, never values, sizes or times. The tier tells it what happens (`admit`,
`touch`, `forget`) and asks it one question (`evict`). To add one: write the file, name it in `make_policy`
and in `CacheSettings.l1_policy`, and let its test inherit `EvictionPolicyCase`.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from perfkit.errors import SettingsError, did_you_mean

__all__ = ["EvictionPolicy", "make_policy"]


class EvictionPolicy(Protocol):
    """Decides which key leaves.

    >>> policy = make_policy("lru", max_entries=2)
    >>> policy.admit("a"); policy.admit("b"); policy.touch("a")
    >>> policy.evict()
    'b'
    """

    reclaims_expired: ClassVar[bool]
    """Whether the tier may remove expired keys before it asks for a victim."""

    def __len__(self) -> int:
        """Return how many keys are resident."""
        ...

    def admit(self, key: str) -> None:
        """Take in a key that is not resident."""
        ...

    def touch(self, key: str) -> None:
        """Note that a resident key was used."""
        ...

    def evict(self) -> str:
        """Choose the resident key that leaves, let go of it and return it; one must be resident."""
        ...

    def forget(self, key: str, *, expired: bool = False) -> None:
        """Let go of a resident key that left for another reason: deleted, or `expired`."""
        ...


def make_policy(name: str, max_entries: int) -> EvictionPolicy:
    """Return an empty policy for a tier of at most `max_entries`.

    Raises:
        SettingsError: there is no policy of that name; the message names the nearest.
    """
    from perfkit.cache.policies.lru import Lru  # the policies import this file
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
    known = ("lru", "s3fifo", "sieve")
    raise SettingsError(
        f"There is no eviction policy {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}.",
        path="l1_policy",
        value=name,
        allowed=", ".join(known),
    )
