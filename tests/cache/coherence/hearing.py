"""A listener that notes what it is told, and when."""

from __future__ import annotations

import asyncio


class Notes:
    """Hears, and remembers in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, float]] = []
        self.missed = 0

    def key_invalidated(self, full_key: str, at_epoch_s: float) -> None:
        self.heard.append(("key", full_key, at_epoch_s))

    def tag_invalidated(self, tag: str, at_epoch_s: float) -> None:
        self.heard.append(("tag", tag, at_epoch_s))

    def missed_some(self) -> None:
        self.missed += 1
        self.heard.append(("missed", "", 0.0))

    @property
    def names(self) -> list[str]:
        """Of keys and tags, in the order heard."""
        return [name for kind, name, _at in self.heard if kind != "missed"]


def others() -> set[asyncio.Task[object]]:
    """Every task but this one."""
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current}
