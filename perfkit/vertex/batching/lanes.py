"""Where texts wait: single queries in one lane, bulk work in the other.

A lane is a queue that knows how much it holds. Texts that nobody wants any more stay in it until they come to
its head: taking them out of the middle would cost more than passing over them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from perfkit.vertex.batching.items import Item

__all__ = ["Lane"]


class Lane:
    """A queue of texts.

    >>> from perfkit.vertex.protocols import Text
    >>> lane = Lane(bulk=False)
    >>> for tokens in (40, 70, 5):
    ...     lane.append(Item(Text("some text"), tokens, 0.0, lane))
    >>> [item.tokens for item in lane.take(max_texts=250, max_tokens=100)], lane.texts, lane.tokens
    ([40], 2, 75)
    """

    __slots__ = ("_queue", "bulk", "texts", "tokens")

    def __init__(self, *, bulk: bool) -> None:
        self.bulk = bulk
        self.texts = 0
        """Texts that wait and are wanted."""
        self.tokens = 0
        """Their tokens, as estimated."""
        self._queue: deque[Item] = deque()

    def append(self, item: Item) -> None:
        """Stand at the end."""
        item.where, item.lane = "waiting", self
        self._queue.append(item)
        self.texts += 1
        self.tokens += item.tokens

    def put_back(self, items: Iterable[Item]) -> None:
        """Stand at the head again, in the same order."""
        for item in reversed(list(items)):
            item.where, item.lane = "waiting", self
            self._queue.appendleft(item)
            self.texts += 1
            self.tokens += item.tokens

    def drop(self, item: Item) -> None:
        """Count a text no more, because nobody wants it or it waits elsewhere now."""
        self.texts -= 1
        self.tokens -= item.tokens
        if not self.texts:
            self._queue.clear()

    def next_tokens(self, *, max_tokens: int) -> int:
        """Return about how many tokens the next request would carry."""
        return min(self.tokens, max_tokens)

    def take(self, *, max_texts: int, max_tokens: int) -> list[Item]:
        """Return what the next request carries, in order; a text that is too long for any goes alone."""
        taken: list[Item] = []
        queue, tokens = self._queue, 0
        while queue and len(taken) < max_texts:
            item = queue[0]
            if item.where != "waiting" or item.lane is not self:
                queue.popleft()
                continue
            if taken and tokens + item.tokens > max_tokens:
                break
            queue.popleft()
            tokens += item.tokens
            item.where = "sent"
            taken.append(item)
        self.texts -= len(taken)
        self.tokens -= tokens
        return taken

    def all(self) -> list[Item]:
        """Take out everything that is wanted."""
        return self.take(max_texts=self.texts, max_tokens=self.tokens) if self.texts else []
