"""From a reply to the answer redis-py would give, looked up once a command name instead of once a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, NamedTuple

from redis.client import EMPTY_RESPONSE, NEVER_DECODE

from perfkit.pools.commands import is_read, needs_own_connection, word
from perfkit.pools.slots import ONE_KEY

__all__ = ["Answers", "Kind", "made_by"]

_MOST_NAMES = 2_048
_DEPENDS_ON_ARGUMENTS = frozenset({"CLIENT", "XREAD", "XREADGROUP"})


class Kind(NamedTuple):
    """What is known of a command by its name alone."""

    callback: Callable[..., Any] | None
    """What redis-py makes the answer with; None where the answer is the reply."""
    may_need_own: bool
    """Whether it needs a connection of its own, or may, depending on its arguments."""
    one_key: bool
    """Whether its only key is its first argument."""
    reads: bool
    """Whether it changes nothing."""


class Answers:
    """The kinds of commands seen so far, over redis-py's table of callbacks."""

    def __init__(self, callbacks: MutableMapping[Any, Callable[..., Any]]) -> None:
        self._callbacks = callbacks
        self.known: dict[Any, Kind] = {}
        """By name as it was given, for the hot path to look up; `learn` fills it."""
        self._own_callbacks = False

    def forget(self) -> None:
        """Learn all kinds anew, because a callback of the program's own was set; it may be asynchronous."""
        self.known.clear()
        self._own_callbacks = True

    def learn(self, name: Any) -> Kind:
        """Return the kind of a command and remember it."""
        if len(self.known) >= _MOST_NAMES:
            self.known.clear()  # names are the program's own, unless it passes on a user's
        upper = word(name)
        kind = Kind(
            callback=self._callbacks.get(upper),
            may_need_own=upper in _DEPENDS_ON_ARGUMENTS or needs_own_connection((upper,)),
            one_key=upper in ONE_KEY,
            reads=is_read((upper,)),
        )
        self.known[name] = kind
        return kind

    def answer(self, command: Sequence[Any], reply: Any, options: dict[str, Any]) -> Any:
        """Return what redis-py makes of a reply to a command; an error stays as it is."""
        kind = self.known.get(command[0]) or self.learn(command[0])
        if kind.callback is None or isinstance(reply, Exception):
            return reply
        return made_by(kind.callback, reply, options)

    async def settled(self, answers: list[Any]) -> list[Any]:
        """Return the answers once those are there that a callback left to be awaited."""
        if self._own_callbacks:
            return [await answer if inspect.isawaitable(answer) else answer for answer in answers]
        return answers


def made_by(callback: Callable[..., Any], reply: Any, options: dict[str, Any]) -> Any:
    """Return what a callback makes of a reply, without the options that are not its own."""
    options.pop("keys", None)
    options.pop(NEVER_DECODE, None)
    options.pop(EMPTY_RESPONSE, None)
    return callback(reply, **options)
