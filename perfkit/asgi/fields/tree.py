"""What is chosen of a document, as a value that can be added to and taken from.

Of any JSON value one chooses everything, nothing, or a `Branch`: a choice for each member by name, one for
all other members, and whether a value that has no members (a number, a text) stays. Choices form an algebra:
`union` keeps what either keeps, so `a,a/b` is all of `a`, and `b/c,b/d` both; `without` takes away, so `*,-b`
is everything but `b`. A list is its elements, at any depth: choices never see it. `null` always stays.

`*/x,a/y` chooses `x` and `y` of `a`: both paths lead there. To say so, `union` copies what is chosen of all
others into each name, and a text of a few names could be written that makes exponentially many copies (as a
deterministic automaton has exponentially many states). So branches know their size, which is bounded, and a
merge counts its steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, TypeAlias

from perfkit.errors import FieldsError

__all__ = ["EVERYTHING", "NOTHING", "Branch", "Choice", "Merge", "written"]

MOST = 1_000
"""Branches within a branch, each where it stands; and steps of a merge."""
SPECIAL = frozenset("\\,/.()*- ")


class _End(Enum):
    EVERYTHING = "everything"
    NOTHING = "nothing"


EVERYTHING: Literal[_End.EVERYTHING] = _End.EVERYTHING
NOTHING: Literal[_End.NOTHING] = _End.NOTHING


@dataclass(frozen=True, slots=True)
class Branch:
    """A choice among the members of an object."""

    named: Mapping[str, Choice]
    """What is chosen of the members of these names, which come in this order."""
    other: Choice = NOTHING
    """What is chosen of all others."""
    scalar: bool = False
    """Whether a value without members stays, where an object was expected."""
    size: int = field(init=False, compare=False, repr=False)
    """How many branches it is, itself counted."""

    def __post_init__(self) -> None:
        """Count."""
        size = 1 + sum(choice.size for choice in self.named.values() if isinstance(choice, Branch))
        if isinstance(self.other, Branch):
            size += self.other.size
        object.__setattr__(self, "size", size)
        if size > MOST:
            raise _too_many()


Choice: TypeAlias = Branch | Literal[_End.EVERYTHING, _End.NOTHING]


def _branch(named: Mapping[str, Choice], other: Choice, scalar: bool) -> Choice:
    if other is not NOTHING or NOTHING in named.values():
        named = {name: choice for name, choice in named.items() if choice != other}
    return EVERYTHING if not named and other is EVERYTHING and scalar else Branch(named, other, scalar)


@dataclass(slots=True)
class Merge:
    """The two operations, with a bound on the steps of all calls together.

    >>> merge = Merge()
    >>> some = merge.union(Branch({"a": EVERYTHING}), Branch({"b": Branch({"c": EVERYTHING})}))
    >>> written(some)
    'a,b(c)'
    >>> written(merge.without(EVERYTHING, some))
    '-a,b(-c,*),*'
    """

    steps_left: int = field(default=MOST)

    def union(self, one: Choice, two: Choice) -> Choice:
        """Return what keeps all that either keeps; names come in the order in which they came first."""
        if one is EVERYTHING or two is EVERYTHING:
            return EVERYTHING
        if one is NOTHING:
            return two
        if two is NOTHING:
            return one
        self._step()
        named = dict(one.named)
        for name, choice in two.named.items():
            named[name] = self.union(one.named.get(name, one.other), choice)
        if two.other is not NOTHING:
            for name in one.named.keys() - two.named.keys():
                named[name] = self.union(one.named[name], two.other)
        return _branch(named, self.union(one.other, two.other), one.scalar or two.scalar)

    def without(self, one: Choice, two: Choice) -> Choice:
        """Return what keeps all that `one` keeps and `two` does not; an object some of which goes stays."""
        if one is NOTHING or two is EVERYTHING:
            return NOTHING
        if two is NOTHING:
            return one
        whole = one if isinstance(one, Branch) else Branch({}, one, scalar=True)
        self._step()
        left = dict(whole.named)
        for name in two.named if two.other is NOTHING else {**left, **two.named}:
            left[name] = self.without(whole.named.get(name, whole.other), two.named.get(name, two.other))
        return _branch(left, self.without(whole.other, two.other), whole.scalar)

    def _step(self) -> None:
        self.steps_left -= 1
        if self.steps_left < 0:
            raise _too_many()


def _too_many() -> FieldsError:
    return FieldsError(
        "The chosen fields name too many combinations of `*` and names. Name what you need without `*`, or "
        "take less.",
        position=0,
    )


def written(choice: Choice) -> str:
    """Return a choice as one text; equal choices in the same order have the same, and different ones never.

    >>> written(Branch({"a.b": EVERYTHING}, Branch({"x": EVERYTHING})))
    'a\\\\.b,*(x)'
    """
    if choice is EVERYTHING:
        return "*"
    if choice is NOTHING:
        return "-*"
    parts = [_part(_escaped(name), chosen) for name, chosen in choice.named.items()]
    if choice.other is not NOTHING:
        parts.append(_part("*", choice.other))
    if choice.scalar and choice.other is not EVERYTHING:
        parts.append("**")  # what only `-*/x` can say: each member without its `x`, and those that have none
    return ",".join(parts)


def _part(name: str, choice: Choice) -> str:
    if isinstance(choice, Branch):
        return f"{name}({written(choice)})"
    return name if choice is EVERYTHING else "-" + name


def _escaped(name: str) -> str:
    return "".join("\\" + letter if letter in SPECIAL else letter for letter in name)
