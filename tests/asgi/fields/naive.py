"""What a choice of fields means, worked out the slow and plain way; and random choices and documents.

Here a result is the set of the places in one document that stay: a place is where one gets by names and
indices. Paths add places, a minus takes some away, and what is left is built anew. Nothing is shared with the
package.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Place = tuple[str | int, ...]
NAMES = ("a", "b", "c", "a-b", "__proto__", "class", "é", "-d", "*", "x.y", 'q"', "with space", "a/b")


@dataclass(frozen=True)
class One:
    """One part of a choice: `-name(inner)`; the name None is `*`."""

    name: str | None
    inner: tuple[One, ...] = ()
    minus: bool = False


Some = tuple[One, ...]


class Number(str):
    """A number as it stands in the text."""

    __slots__ = ()


def parsed(text: str | bytes) -> Any:
    """Read JSON; numbers stay as they are written."""
    return json.loads(text, parse_float=Number, parse_int=Number)


def kept(some: Some, value: Any) -> Any:
    """Return what is left of a value, or Ellipsis for nothing."""
    return _built(value, (), frozenset(_some(some, value, ())))


def _some(some: Some, value: Any, at: Place) -> set[Place]:
    added = [one for one in some if not one.minus]
    stay = set(_all(value, at)) if not added else set()
    for one in added:
        stay |= _added(one, value, at)
    for one in some:
        if one.minus:
            stay -= _taken(one, value, at)
    return stay


def _added(one: One, value: Any, at: Place) -> set[Place]:
    if one.name is None and not one.inner:
        return set(_all(value, at))
    if value is None:
        return {at}
    if isinstance(value, list):
        return {at}.union(*(_added(one, item, (*at, index)) for index, item in enumerate(value)))
    if not isinstance(value, dict):
        return set()
    places = {at}
    for name, member in value.items():
        if one.name in (None, name):
            inner = (*at, name)
            places |= _some(one.inner, member, inner) if one.inner else set(_all(member, inner))
    return places


def _taken(one: One, value: Any, at: Place) -> set[Place]:
    if isinstance(value, list):
        return set().union(*(_taken(one, item, (*at, index)) for index, item in enumerate(value)))
    places: set[Place] = set()
    for name, member in value.items() if isinstance(value, dict) else ():
        if one.name in (None, name):
            if not one.inner:
                places |= set(_all(member, (*at, name)))
            for within in one.inner:
                places |= _taken(within, member, (*at, name))
    return places


def _all(value: Any, at: Place) -> Iterator[Place]:
    yield at
    if isinstance(value, dict | list):
        for name, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _all(member, (*at, name))


def _built(value: Any, at: Place, stay: frozenset[Place]) -> Any:
    if at not in stay:
        return ...
    if isinstance(value, dict):
        members = ((name, _built(member, (*at, name), stay)) for name, member in value.items())
        return {name: member for name, member in members if member is not ...}
    if isinstance(value, list):
        items = (_built(item, (*at, index), stay) for index, item in enumerate(value))
        return [item for item in items if item is not ...]
    return value


@st.composite
def texts_of(draw: st.DrawFn, some: Some) -> str:
    """Return ways to write a choice."""
    spaces = st.sampled_from(["", "", " "])

    def written(one: One) -> str:
        name = "*" if one.name is None else "".join(f"\\{c}" if c in "\\,/()*-." else c for c in one.name)
        head = f"{draw(spaces)}{'-' if one.minus else ''}{draw(spaces)}{name}{draw(spaces)}"
        if not one.inner:
            return head
        inner = ",".join(map(written, one.inner))
        if len(one.inner) == 1 and draw(st.booleans()):
            return f"{head}/{inner}"
        return f"{head}({inner}){draw(spaces)}"

    return ",".join(map(written, some))


def choices(*, minus: bool = True, star: bool = True) -> st.SearchStrategy[Some]:
    """Return choices of a few names, some levels deep; of plain names only where there is no `*`."""
    plain = [name for name in NAMES if '"' not in name]  # what a decoder can have for a field
    names = st.sampled_from([*NAMES, None, None] if star else plain)

    def some(inner: st.SearchStrategy[Some], minuses: bool) -> st.SearchStrategy[Some]:
        signs = st.booleans() if minuses else st.just(False)
        return st.lists(st.builds(One, names, inner, signs), min_size=1, max_size=3).map(tuple)

    leaf: st.SearchStrategy[Some] = st.just(())
    deeper = leaf
    for _level in range(3):
        deeper = leaf | some(deeper, minus)
    return some(deeper, minus).map(_without_double_minus)


def _without_double_minus(some: Some, within: bool = False) -> Some:
    return tuple(
        One(one.name, _without_double_minus(one.inner, within or one.minus), one.minus and not within)
        for one in some
    )


NUMBERS = st.sampled_from(["0", "-0", "1.10", "1e400", "123456789012345678901234567890", "-2.5E-3", "1E+2"])
TEXTS = st.sampled_from(['""', '"a"', r'"\u00e9\/\n"', '"é"', r'"\ud83d\ude00"', r'"\\ud800"', r'"\""'])
LITERALS = st.sampled_from(["null", "true", "false"])


def documents(scalars: st.SearchStrategy[str] = NUMBERS | TEXTS | LITERALS) -> st.SearchStrategy[str]:
    """Return JSON texts in which names repeat, lists lie within lists, and nothing is written tidily."""
    spaces = st.sampled_from(["", "", " ", "\n\t"])
    names = st.sampled_from([json.dumps(name) for name in NAMES] + [r'"\u0061"', '"zz"', '""', '"é"'])

    def deeper(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        spaced = st.tuples(spaces, inner, spaces).map("".join)
        member = st.tuples(spaces, names, spaces, st.just(":"), spaced).map("".join)
        lists = st.lists(spaced, max_size=4).map(lambda items: f"[{','.join(items)}]")
        objects = st.lists(member, max_size=5).map(lambda members: "{" + ",".join(members) + "}")
        return lists | objects | objects

    return st.tuples(spaces, st.recursive(scalars, deeper, max_leaves=30), spaces).map("".join)


@st.composite
def fitting(draw: st.DrawFn, some: Some) -> str:
    """Return documents with objects, lists of them or null where the choice goes on, and more beside."""
    leaves = NUMBERS | TEXTS | LITERALS | st.sampled_from(["[1 , [2]]", '{"a" : {} }', "[{}]"])

    def an_object(some: Some) -> str:
        inner = {one.name: one.inner for one in some if one.name is not None and draw(st.integers(0, 5))}
        for name in draw(st.lists(st.sampled_from(["zz", "", "f0", "A"]), max_size=2, unique=True)):
            inner.setdefault(name, ())
        names = draw(st.permutations(list(inner)))
        values = [a_value(inner[name]) if inner[name] else draw(leaves) for name in names]
        members = [f"{json.dumps(name)}:{value}" for name, value in zip(names, values, strict=True)]
        return "{" + ",".join(members) + "}"

    def a_value(some: Some) -> str:
        kind = draw(st.sampled_from(["object", "object", "list", "null"]))
        if kind == "object":
            return an_object(some)
        items = [
            an_object(some) if draw(st.integers(0, 3)) else "null" for _ in range(draw(st.integers(0, 3)))
        ]
        return "null" if kind == "null" else f"[{','.join(items)}]"

    return a_value(some)
