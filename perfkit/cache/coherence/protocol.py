"""What the cache says to and hears from its other instances, however it travels."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Coherence", "Hears", "Silent"]


class Hears(Protocol):
    """Who is told: the cache itself. It is called within the loop, must return at once and never raise."""

    def key_invalidated(self, full_key: str, at_epoch_s: float) -> None:
        """Trust nothing under a key that was born at this time or before."""
        ...

    def tag_invalidated(self, tag: str, at_epoch_s: float) -> None:
        """Trust nothing with a tag that was born at this time or before."""
        ...

    def missed_some(self) -> None:
        """Trust nothing that memory was filled with before now: something may have gone unheard."""
        ...


class Coherence(Protocol):
    """How instances hear of each other's changes.

    `start` is called once, before anything is served, and never waits for Redis. Until `connected`, and while
    it is not, memory is as stale as its time to live allows; when hearing begins, the first time or again,
    the listener is told `missed_some`.
    """

    @property
    def connected(self) -> bool:
        """Whether changes made elsewhere are heard now."""
        ...

    async def start(self, hears: Hears) -> None:
        """Begin to hear, in a task of its own."""
        ...

    def writing(self, full_key: str, born_epoch_s: float) -> None:
        """Learn that an entry of this birth is about to be written here, so that its echo is known."""
        ...

    async def key_changed(self, full_key: str, at_epoch_s: float) -> bool:
        """Tell the others, after Redis holds the change; False when that is not certain. Never raises."""
        ...

    async def tag_changed(self, tag: str, at_epoch_s: float) -> bool:
        """Tell the others of a tag; as `key_changed`."""
        ...

    async def aclose(self) -> None:
        """Hear no more; every task has ended when this returns."""
        ...


class Silent:
    """Nothing is said or heard: for one instance alone, or when staleness up to a time to live is fine."""

    connected = True

    async def start(self, hears: Hears) -> None:
        """Do nothing."""

    def writing(self, full_key: str, born_epoch_s: float) -> None:
        """Do nothing."""

    async def key_changed(self, full_key: str, at_epoch_s: float) -> bool:
        """Say nothing, which cannot fail."""
        return True

    async def tag_changed(self, tag: str, at_epoch_s: float) -> bool:
        """Say nothing, which cannot fail."""
        return True

    async def aclose(self) -> None:
        """Do nothing."""
