"""No two different calls share a key, however much they look alike; one call has one key, however written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, PrivateAttr, RootModel

from perfkit.cache.keys import CallKey, canonical, namespace_prefix

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
# What could be taken for structure is drawn often.
TRICKY_TEXT = st.sampled_from(["", "1", "a", "ab", "i1:1", "s1:", ":", "None", "#"]) | ANY_TEXT
HASHABLE = (
    st.none() | st.booleans() | st.integers(-2, 2) | st.integers() | st.floats() | TRICKY_TEXT | st.binary()
)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=3)
        | st.sets(HASHABLE, max_size=3)
    ),
)
LOOKALIKES = [
    *(1, True, 1.0, "1", b"1", "True", "1.0", "i1:1", Decimal(1), Decimal("1.0")),
    *(0, False, 0.0, -0.0, "", b"", None, "None", (), [], {}, set()),
    *([1], (1,), {1}, ((1,),), [[1]], [(1,)], {1: 1}, {1: None}, {"1": 1}, {True: 1}),
    *(("a", "bc"), ("ab", "c"), ("abc",), ("a", "b", "c"), ("a:b", "c"), ("a", "b:c"), ["a", "bc"]),
    *(({"a": 1}, {}), ({}, {"a": 1}), ({"a": {}},), {"a": {"b": 1}}, {"a": 1, "b": 1}),
    *("é", "e\u0301", "\ud800", "\\ud800", "é".encode(), float("nan"), "nan", float("inf")),
    *(date(2026, 1, 1), datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01"),  # noqa: DTZ001
    *(datetime(2026, 10, 25, 1, fold=fold, tzinfo=ZoneInfo("Europe/London")) for fold in (0, 1)),
    *(time(1), timedelta(1), timedelta(seconds=1), UUID(int=1), str(UUID(int=1))),
    *(PurePosixPath("a"), PureWindowsPath("a"), "a", 2**100, 2.0**100),
]

Point = namedtuple("Point", "x y")


class Colour(Enum):
    """A member by name, whatever its value."""

    RED = 1
    BLUE = 2


class Level(IntEnum):
    """Equal to an int, and not one."""

    RED = 1


@dataclass(frozen=True)
class User:
    """Made of fields."""

    name: str
    age: int = 0


@dataclass(frozen=True)
class Robot:
    """The same fields under another name."""

    name: str
    age: int = 0


class Query(BaseModel):
    """A pydantic model."""

    text: str
    limit: int = 10


async def report(user: Any, detail: Any = "low", *more: Any, region: Any = None, **options: Any) -> None:
    """Take arguments in every way there is."""


async def plain(a: Any, b: Any = 0) -> None:
    """Take arguments in order or by name."""


KEY = CallKey(report)


def typed(value: object) -> str:
    """Write a value with its types, sets and dictionaries in order: a second account of sameness."""
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(map(typed, value))})"
    if isinstance(value, dict):
        return f"dict({sorted((typed(key), typed(item)) for key, item in value.items())})"
    if isinstance(value, set):
        return f"set({sorted(map(typed, value))})"
    return repr(value)


@given(VALUES, VALUES)
@example(("a", "bc"), ("ab", "c"))
@example({"a": 1, "b": 2}, {"b": 2, "a": 1})
@example(-0.0, 0.0)
def test_two_values_share_a_text_exactly_when_they_are_the_same(one: object, other: object) -> None:
    """Of the same types and contents; the order of a dictionary or set is no content."""
    assert (canonical(one) == canonical(other)) == (typed(one) == typed(other))


@given(st.lists(VALUES, min_size=1, max_size=4), st.lists(VALUES, min_size=1, max_size=4))
@example(["a", "bc"], ["ab", "c"])
@example(["a"], ["a", "low"])
@example(["a", "low", ()], ["a", "low"])
def test_two_argument_lists_share_a_key_exactly_when_they_say_the_same(
    one: list[object], other: list[object]
) -> None:
    """A default left out is the default given; everything else differs."""
    complete = [typed(arguments + ["low"] * (len(arguments) == 1)) for arguments in (one, other)]

    assert (KEY(*one) == KEY(*other)) == (complete[0] == complete[1])


@given(VALUES, st.dictionaries(st.text("abz_", min_size=1, max_size=2), VALUES, max_size=3))
def test_keywords_differ_by_name_and_value_and_not_by_their_order(
    value: object, options: dict[str, object]
) -> None:
    """An extra keyword, another name and the same thing as a dictionary are other calls."""
    backwards = dict(reversed(options.items()))
    key = KEY(value, **options)

    assert key == KEY(user=value, **backwards)
    assert key != KEY(value, **options, extra=None)
    assert key != KEY(value, region=options)
    assert key != KEY(value, "low", options)
    if options:
        assert key != KEY(value)
        assert key != KEY(value, **{f"{name}y": item for name, item in options.items()})


def test_all_that_looks_alike_is_kept_apart() -> None:
    """1, True, 1.0 and "1"; empty things; nested things; texts that imitate the format."""
    assert len({canonical(value) for value in LOOKALIKES}) == len(LOOKALIKES)


def test_all_pairs_of_what_looks_alike_are_kept_apart() -> None:
    """In the first place, in the second, by position and by name."""
    key = CallKey(plain)
    keys = {key(one, other) for one in LOOKALIKES for other in LOOKALIKES}

    assert len(keys) == len(LOOKALIKES) ** 2
    assert keys == {key(b=other, a=one) for one in LOOKALIKES for other in LOOKALIKES}


@given(TRICKY_TEXT, VALUES)
def test_a_text_that_holds_another_value_s_form_is_not_taken_for_structure(text: str, value: object) -> None:
    """What a user types can imitate the format to the letter and still be one text."""
    forged = text + canonical(value)

    assert canonical((forged,)) != canonical((text, value))
    assert canonical([[forged]]) != canonical([[text, value]])
    assert canonical({"": forged}) != canonical({"": text, "x": value})
    assert KEY(forged) != KEY(text, value)


@pytest.mark.parametrize(
    "call",
    [
        lambda key: key(7, "low"),
        lambda key: key(7, detail="low"),
        lambda key: key(user=7),
        lambda key: key(detail="low", user=7),
        lambda key: key(7, region=None),
    ],
)
def test_however_a_call_is_written_it_has_one_key(call: Callable[[CallKey], str]) -> None:
    """Defaults are applied, names are put in their places."""
    assert call(KEY) == KEY(7)


def test_objects_of_classes_are_told_apart_by_class_and_content() -> None:
    """Two classes with the same fields are two; a member is neither its value nor its name."""
    values = [
        *(Colour.RED, Colour.BLUE, Level.RED, 1, "RED"),
        *(User("a"), User("a", 1), User("b"), Robot("a"), {"name": "a", "age": 0}, ("a", 0)),
        *(Query(text="a"), Query(text="a", limit=1), {"text": "a", "limit": 10}),
    ]

    assert len({canonical(value) for value in values}) == len(values)
    assert canonical(User("a")) == canonical(User(name="a", age=0))
    assert canonical(Query(text="a")) == canonical(Query(limit=10, text="a"))


@pytest.mark.parametrize(
    "value",
    [object(), bytearray(b"x"), 1j, range(3), len, iter([]), Point(1, 2), OrderedDict(a=1), User, KEY],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("around", [lambda value: value, lambda value: {"in": [(value,)]}], ids=["", "in"])
def test_what_has_no_canonical_form_is_refused_by_name(
    value: object, around: Callable[[object], object]
) -> None:
    """An address in memory would never be asked for again, or be another object's tomorrow."""
    message = (
        f"argument of type {re.escape(type(value).__qualname__)} cannot be part of a cache key.*Pass a number"
    )

    with pytest.raises(TypeError, match=message):
        KEY(around(value))


@pytest.mark.parametrize("arguments", [{}, {"user": 1, "usr": 2, "detail": 3}])
def test_arguments_the_function_does_not_take_are_refused_as_the_function_would(
    arguments: dict[str, int],
) -> None:
    """A misspelt call must not find an answer."""
    key = CallKey(plain)

    with pytest.raises(TypeError, match="argument"):
        key(**arguments)


def test_unhashable_arguments_have_keys_too() -> None:
    """Lists, dictionaries and sets need no hash to be written."""
    assert KEY([1, {"a": {2, 3}}]) == KEY([1, {"a": {3, 2}}])


def test_two_functions_never_share_a_key() -> None:
    """The function's own name and module stand first."""
    assert KEY(1) != CallKey(plain)(1)
    assert KEY(1).startswith(f"{__name__}.report(")


@given(st.text(max_size=400), st.text(max_size=400))
def test_a_key_is_of_bounded_length_and_still_its_own(one: str, other: str) -> None:
    """What is long is digested to 160 bits; a digest and a short text cannot be confused."""
    key = CallKey(plain)

    assert len(key(one, other)) <= len(key("", "")) + 200
    assert (key(one, other) == key(other, one)) == (one == other)
    assert key(one, other) != key(one, other + "x")


def test_the_length_bound_is_where_a_digest_begins() -> None:
    """Two hundred characters are written out, one more is not; a megabyte is as short as that."""
    key = CallKey(plain)
    room = 200 - len(canonical(("x" * 150, 0))) + 150
    written, digested, large = (key("x" * length) for length in (room, room + 1, 1_000_000))

    assert "x" * room in written
    assert re.fullmatch(r".*\(#[0-9a-f]{40}\)", digested)
    assert len(digested) == len(large)
    assert digested != large


@given(st.tuples(ANY_TEXT, ANY_TEXT), st.tuples(ANY_TEXT, ANY_TEXT))
@example(("a", "b:c"), ("a:b", "c"))
@example(("a:b", "c"), ("a%3Ab", "c"))
@example(("", ":a"), (":", "a"))
def test_no_key_of_one_namespace_is_a_key_of_another(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Whatever colons and percents the names and the keys hold."""
    keys = [namespace_prefix(namespace) + key for namespace, key in (one, other)]

    assert (keys[0] == keys[1]) == (one == other)


_IN_ANOTHER_PROCESS = """
from perfkit.cache.keys import CallKey, canonical
def plain(a, b=0): ...
print(CallKey(plain)({"x", "y", "z", None, 2.5}, {"k": frozenset("abcdef")}))
print(CallKey(plain)("long" * 100, {str(n): {str(n)} for n in range(50)}))
print(ascii(canonical({"b": "é", "a": [1, {"c", "d"}]})))
"""


def test_another_process_makes_the_same_keys() -> None:
    """Whatever its hash seed: otherwise no instance would find what another stored."""
    said = {
        subprocess.run(
            [sys.executable, "-c", _IN_ANOTHER_PROCESS],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }

    assert len(said) == 1
    assert len(said.pop().splitlines()) == 3


def test_the_format_is_the_one_that_is_in_redis_already() -> None:
    """A change here empties every cache at the next roll-out; make it knowingly."""
    value = {"b": [1, True, None], "a": ("é", b"\xff", -1.5, -255)}

    assert canonical(value) == "d49:s1:at22:s1:éy2:fff4:-1.5i3:-ffs1:bl11:i1:1b1:1n0:"
    assert CallKey(plain)("x" * 200).endswith("#fbeca6609626c1fa39d9ab11713912fa89390968)")


class Rights(IntFlag):
    """Flags that keep bits they have no name for, as IntFlag does."""

    READ = 4


def test_flags_without_a_name_are_told_apart() -> None:
    """`Rights(8)` and `Rights(16)` are different, and both are called None."""
    assert canonical(Rights(8)) != canonical(Rights(16))


class Names(RootModel[list[str]]):
    """Iterates over what it holds, as pydantic's documentation recommends."""

    def __iter__(self) -> Any:
        return iter(self.root)


def test_root_models_that_iterate_are_told_apart() -> None:
    """Pairs of letters become keys and items, and the later one wins."""
    assert canonical(Names(["ab", "ac"])) != canonical(Names(["ac"]))


class Session(BaseModel):
    """Equal only when the private part is."""

    user: int
    _tenant: str = PrivateAttr("")

    def of(self, tenant: str) -> Session:
        self._tenant = tenant
        return self


def test_models_that_differ_in_private_are_told_apart() -> None:
    """Pydantic says they are unequal, so they are two arguments."""
    one, other = Session(user=1).of("a"), Session(user=1).of("b")

    assert one != other
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize(
    "other", [time(1, tzinfo=ZoneInfo("Asia/Tokyo")), time(1, fold=1)], ids=["zone", "fold"]
)
def test_times_of_day_are_told_apart_by_zone_and_fold(other: time) -> None:
    """One o'clock in Tokyo is not one o'clock anywhere; a datetime's fold is written, a time's is not."""
    assert canonical(time(1)) != canonical(other)


def test_datetimes_are_told_apart_by_zone_and_not_by_offset_alone() -> None:
    """London in winter has UTC's offset, and another one half a year on: a function can tell."""
    winter = datetime(2026, 1, 1, tzinfo=UTC)

    assert canonical(winter) != canonical(winter.astimezone(ZoneInfo("Europe/London")))


def test_a_set_and_a_frozenset_are_told_apart() -> None:
    """`canonical` promises the same types; a list and a tuple are kept apart as well."""
    assert canonical({1}) != canonical(frozenset({1}))


def test_an_argument_that_contains_itself_is_refused() -> None:
    """It has no canonical form, which is a TypeError."""
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(TypeError):
        canonical(endless)
