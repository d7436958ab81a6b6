"""Choosing level by level: any choice from any document, and every leaf byte for byte as it came.

A level is read as names with raw bytes behind them (`msgspec.Raw`), of which those that are wanted are kept
and those that are wanted in part are read in turn. Nothing is parsed into Python that is not looked into, and
numbers pass as they were written. Bytes are read once for each level above them; elements of a list of
objects are read together with it. The depth is bounded, so the work is too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw
from msgspec.json import Decoder

from perfkit.asgi.fields.tree import EVERYTHING, NOTHING, Branch, Choice

__all__ = ["OMITTED", "Chooser", "Level", "TooDeep", "stepwise"]

DEEPEST = 64
"""How many objects and lists within each other are looked into."""


class TooDeep(Exception):
    """The document has more lists within lists than are looked into."""


class _Omitted:
    __slots__ = ()


OMITTED: Final = _Omitted()
"""Nothing is left of a value."""


class Chooser(Protocol):
    """Chooses from a value."""

    def choose(self, raw: bytes | Raw, depth: int) -> Any:
        """Return what is left, to be encoded by msgspec, or OMITTED.

        Raises:
            msgspec.DecodeError: the bytes are not JSON.
            TooDeep: more lists within lists than are looked into.
        """
        ...


_OBJECTS: Final = Decoder(dict[str, Raw] | list[dict[str, Raw] | None] | None)
_ELEMENTS: Final = Decoder(list[Raw])


class Level:
    """A branch, level by level."""

    __slots__ = ("_named", "_other", "_plain", "_scalar")

    def __init__(self, branch: Branch, chooser_of: Callable[[Branch], Chooser]) -> None:
        """Prepare a branch.

        Args:
            branch: What is chosen.
            chooser_of: Makes the choosers of the branches within it.
        """

        def chooser(choice: Choice) -> Chooser | _Omitted | None:
            if isinstance(choice, Branch):
                return chooser_of(choice)
            return None if choice is EVERYTHING else OMITTED

        self._named = {name: chooser(choice) for name, choice in branch.named.items()}
        self._other = chooser(branch.other)
        self._plain = branch.other is NOTHING and not any(self._named.values())
        self._scalar = branch.scalar

    def choose(self, raw: bytes | Raw, depth: int) -> Any:
        """Return what is left of a value."""
        if depth > DEEPEST:
            raise TooDeep
        try:
            value = _OBJECTS.decode(raw)
        except msgspec.ValidationError:
            return self._elements(raw, depth)
        if value is None:
            return None
        if isinstance(value, dict):
            return self._members(value, depth)
        return [None if item is None else self._members(item, depth) for item in value]

    def _elements(self, raw: bytes | Raw, depth: int) -> Any:
        try:
            values = _ELEMENTS.decode(raw)
        except msgspec.ValidationError:  # a number, a text, true, false
            return (raw if isinstance(raw, Raw) else Raw(raw)) if self._scalar else OMITTED
        kept = (self.choose(value, depth + 1) for value in values)
        return [value for value in kept if value is not OMITTED]

    def _members(self, members: dict[str, Raw], depth: int) -> dict[str, Any]:
        if self._plain:
            return {name: members[name] for name in self._named if name in members}
        chosen: dict[str, Any] = {}
        names = self._named if self._other is OMITTED else members
        for name in names:
            raw = members.get(name)
            if raw is None:
                continue
            chooser = self._named.get(name, self._other)
            if chooser is None:
                chosen[name] = raw
            elif not isinstance(chooser, _Omitted):
                value = chooser.choose(raw, depth + 1)
                if value is not OMITTED:
                    chosen[name] = value
        return chosen


def stepwise(branch: Branch) -> Level:
    """Return the chooser of a branch that goes level by level all the way down.

    >>> level = stepwise(Branch({"a": EVERYTHING, "b": Branch({"c": EVERYTHING})}))
    >>> msgspec.json.encode(level.choose(b'{"z": 0, "b": [{"c": 1.10}, 7, null], "a": 1e400}', 0))
    b'{"a":1e400,"b":[{"c":1.10},null]}'
    """
    return Level(branch, stepwise)
