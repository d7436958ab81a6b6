"""A cached value and its times, as the memory tier holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["Entry", "EntryInFull"]


class Entry:
    """A value and its times, in seconds of the clock of the tier that returned it.

    `born_s` is when the origin was asked for it (RFC 9111 §4.2.3 counts age from the request), `filled_s`
    when this tier took it in. It is fresh while now ≤ `expires_s` and may be served stale while now ≤
    `stale_until_s`; from `refresh_s` on it is worth a thought whether to renew it early. `load_seconds` is
    what it took to get, `tags` are what it can be invalidated by, `weight` is its bytes. `uses`, `older` and
    `newer` belong to the eviction policy.

    An entry stays as it was when it leaves the tier: who holds one may go on reading it.

    Most entries need two different times only. So this class has places for those, and what it says of the
    others is read from the same two; an `EntryInFull` has a place for each. A tier makes whichever is enough.
    """

    __slots__ = ("born_s", "expires_s", "newer", "older", "uses", "value", "weight")

    value: object
    born_s: float
    expires_s: float
    weight: int
    uses: int
    older: str | None
    newer: str | None
    if TYPE_CHECKING:
        filled_s: float
        stale_until_s: float
        refresh_s: float
        load_seconds: float
        tags: tuple[str, ...]

    def __init__(self, value: object, born_s: float, expires_s: float, weight: int = 0) -> None:
        self.value = value
        self.born_s = born_s
        self.expires_s = expires_s
        self.weight = weight
        self.uses = 0

    def rest(self, until_s: float) -> None:
        """Let nobody think of renewing it until then: nobody does before its end, and then it is gone."""

    def __repr__(self) -> str:
        """Show the times and not the value, which may be private."""
        return (
            f"{type(self).__name__}(born_s={self.born_s}, expires_s={self.expires_s}, "
            f"stale_until_s={self.stale_until_s}, weight={self.weight})"
        )


# The very slots under further names: they read as fast as any, and take no room.
for _name, _value in {
    "filled_s": Entry.__dict__["born_s"],
    "stale_until_s": Entry.__dict__["expires_s"],
    "refresh_s": Entry.__dict__["expires_s"],
    "load_seconds": 0.0,
    "tags": (),
}.items():
    setattr(Entry, _name, _value)


class EntryInFull(Entry):
    """An entry whose times all differ."""

    __slots__ = ("filled_s", "load_seconds", "refresh_s", "stale_until_s", "tags")

    def __init__(
        self,
        value: object,
        born_s: float,
        filled_s: float,
        expires_s: float,
        weight: int = 0,
        *,
        stale_until_s: float | None = None,
        refresh_s: float | None = None,
        load_seconds: float = 0.0,
        tags: tuple[str, ...] = (),
    ) -> None:
        super().__init__(value, born_s, expires_s, weight)
        self.filled_s = filled_s
        self.stale_until_s = expires_s if stale_until_s is None else stale_until_s
        self.refresh_s = expires_s if refresh_s is None else refresh_s
        self.load_seconds = load_seconds
        self.tags = tags

    def rest(self, until_s: float) -> None:
        """Let nobody think of renewing it until then."""
        self.refresh_s = max(self.refresh_s, until_s)
