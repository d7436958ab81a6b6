"""Choosing by a decoder made for one set of fields: names not chosen are skipped without becoming objects.

Each branch that names its members becomes a `msgspec.Struct` class with a field a name: `Raw` where all of a
member is chosen, and for a branch within a union of its own class, a list of it, and `null`. A branch that is
only `*` becomes a dictionary. One call decodes, one encodes.

What such a decoder cannot say is left to the way level by level: `*` beside names, what is left out, names
with quotes, and values of another shape than the fields suggest (lists within lists, numbers on the way).
Those show as a `ValidationError` while decoding, and the two ways agree on the result. A decoder that keeps
failing is given up.

Making one costs a fraction of a millisecond a branch, on the event loop; so the branches are bounded, and
what is larger is left to the other way too. Classes are made with `|` between types, not `typing.Union`: that
keeps its last arguments for ever, and with them the classes.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType
from msgspec.json import Decoder

from perfkit.asgi.fields.counts import FieldCounts
from perfkit.asgi.fields.generic import Chooser, Level, stepwise
from perfkit.asgi.fields.tree import NOTHING, Branch, Choice

__all__ = ["Compiled", "compiled"]

MOST_CLASSES = 32
"""Sets of fields with more branches than this are not compiled."""
PATIENCE = 16
"""A decoder that fails so many times in a row is given up."""


class Compiled:
    """A branch with a decoder of its own, and the way level by level for what the decoder cannot read."""

    __slots__ = ("_counts", "_decoder", "_failures", "_level")

    def __init__(self, branch: Branch, counts: FieldCounts) -> None:
        self._decoder: Decoder[Any] | None = Decoder(_values(_type_of(branch)))
        self._failures = 0
        self._level = stepwise(branch)
        self._counts = counts
        counts.compilations += 1

    def choose(self, raw: bytes | Raw, depth: int) -> Any:
        """Return what is left of a value."""
        if self._decoder is not None:
            try:
                value = self._decoder.decode(raw)
            except msgspec.ValidationError:
                self._failures += 1
                if self._failures == PATIENCE:
                    self._decoder = None
            else:
                self._failures = 0
                return value
        self._counts.misfits += 1
        return self._level.choose(raw, depth)


def compiled(branch: Branch, counts: FieldCounts) -> Chooser:
    """Return a chooser with decoders wherever they can be made.

    Under a branch that has none, the branches within may have: with `*,-secret` or an envelope the levels
    down to them are gone through, and the rest is decoded.

    >>> from perfkit.asgi.fields.grammar import read
    >>> counts = FieldCounts()
    >>> chooser = compiled(read(["a,b/c"]), counts)
    >>> msgspec.json.encode(chooser.choose(b'{"z": 0, "b": [{"c": 1.10}, null], "a": 1e400}', 0))
    b'{"a":1e400,"b":[{"c":1.10},null]}'
    >>> counts.misfits
    0
    """
    if _classes(branch) > MOST_CLASSES:
        return stepwise(branch)
    if _can_be_compiled(branch):
        return Compiled(branch, counts)
    return Level(branch, lambda within: compiled(within, counts))


def _classes(choice: Choice) -> int:
    if not isinstance(choice, Branch):
        return 0
    return 1 + sum(map(_classes, choice.named.values())) + _classes(choice.other)


def _can_be_compiled(choice: Choice) -> bool:
    if not isinstance(choice, Branch):
        return True
    if choice.scalar or (choice.named and choice.other is not NOTHING):
        return False
    return (
        all(map(_can_be_written, choice.named))
        and all(map(_can_be_compiled, choice.named.values()))
        and _can_be_compiled(choice.other)
    )


def _can_be_written(name: str) -> bool:
    """Tell whether msgspec takes it for a name: it writes them without escapes."""
    return '"' not in name and "\\" not in name


def _type_of(branch: Branch) -> Any:
    if isinstance(branch.other, Branch):
        return dict[str, _values(_type_of(branch.other))]  # type: ignore[misc]  # a type made just now
    # Named by number: a member may have any name, such as `a-b`, `class` or `__init__`.
    fields: list[tuple[str, Any, Any]] = []
    for number, choice in enumerate(branch.named.values()):
        if not isinstance(choice, Branch):  # everything: nothing is named that is not chosen
            fields.append((f"f{number}", Raw, _ABSENT))
        else:
            fields.append((f"f{number}", _values(_type_of(choice)) | UnsetType, UNSET))
    names = {f"f{number}": name for number, name in enumerate(branch.named)}
    return msgspec.defstruct("Chosen", fields, rename=names, omit_defaults=True, gc=False)


def _values(kind: Any) -> Any:
    """Return the type of what may stand where objects of a type are expected."""
    return kind | list[kind | None] | None


_ABSENT = Raw()
