"""How many requests to a base model may be under way, shared out between batchers and lanes.

Bulk work never takes the last places: a single query that comes later should not wait for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Slots"]


class Slots:
    """Places for requests under way.

    >>> slots = Slots(4, bulk_share=0.5)
    >>> [slots.take(bulk=True) for _ in range(3)], slots.take(bulk=False)
    ([True, True, False], True)
    """

    __slots__ = ("_bulk", "_bulk_most", "_line", "most", "taken")

    def __init__(self, most: int, *, bulk_share: float) -> None:
        self.most = most
        self.taken = 0
        self._bulk = 0
        self._bulk_most = max(1, min(most, int(most * bulk_share)))
        self._line: OrderedDict[Callable[[], None], None] = OrderedDict()

    def free(self, *, bulk: bool) -> bool:
        """Tell whether there is a place."""
        return self.taken < self.most and not (bulk and self._bulk >= self._bulk_most)

    def take(self, *, bulk: bool) -> bool:
        """Take a place, if there is one."""
        if not self.free(bulk=bulk):
            return False
        self.taken += 1
        self._bulk += bulk
        return True

    def release(self, *, bulk: bool) -> None:
        """Give a place back, and tell those who stand in line, who came first first."""
        self.taken -= 1
        self._bulk -= bulk
        line, self._line = self._line, OrderedDict()
        for wake in line:
            wake()

    def when_free(self, wake: Callable[[], None]) -> None:
        """Stand in line once: `wake` is called when a place is given back, and may have to come again."""
        self._line.setdefault(wake)
