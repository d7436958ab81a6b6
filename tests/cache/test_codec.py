"""What was put in comes out, of the same types, or is refused on the way in; and nothing is ever executed."""

from __future__ import annotations

import ast
import base64
import json
import math
import pickle
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import brotli
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from perfkit.cache import codec
from perfkit.cache.codec import NotEncodable, decode, encode
from perfkit.cache.entry import TornEnvelope

NEVER = 1 << 40
ROWS = {"rows": [{"name": "Ada", "score": 2.5, "none": None}] * 100}
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
PLAIN = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(ANY_TEXT, inner, max_size=5)
)
# Keys that look like tags are drawn often, because they are what could be mistaken.
KEYS = st.sampled_from(["$tuple", "$bytes", "$dict", "$", "a"]) | ANY_TEXT
ANYTHING = st.recursive(
    ATOMS | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
)


def there_and_back(value: object, compress_min_bytes: int = NEVER) -> object:
    return decode(*encode(value, compress_min_bytes=compress_min_bytes))


def same(one: object, other: object) -> bool:
    """Equal with types, order, NaN and the sign of zero: what `repr` shows of these types."""
    return repr(one) == repr(other)


class Colour(IntEnum):
    """An int that JSON would write as a bare 1."""

    RED = 1


class Text(str):
    """A str that would come back as a bare one."""

    __slots__ = ()


Point = namedtuple("Point", "x y")


class CodecCase:
    """What every kind must do, compressed or not; a new one inherits this."""

    kind: bytes
    values: st.SearchStrategy[Any]
    large: object
    """A value of this kind that compression makes smaller."""

    @given(data=st.data(), compress_min_bytes=st.sampled_from([0, 1, 30, NEVER]))
    # The suite is inherited on purpose, which is what that health check warns of.
    @settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    def test_what_goes_in_comes_out(self, data: st.DataObject, compress_min_bytes: int) -> None:
        """The same value of the same types, under its own kind, wherever compression begins."""
        value = data.draw(self.values)
        kind, compression, payload = encode(value, compress_min_bytes=compress_min_bytes)

        assert kind == self.kind
        assert same(decode(kind, compression, payload), value)

    @given(data=st.data())
    @settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    def test_equal_values_make_equal_bytes(self, data: st.DataObject) -> None:
        """Nothing of the moment is inside: two instances write the same."""
        value = data.draw(self.values)

        assert encode(value, compress_min_bytes=0) == encode(value, compress_min_bytes=0)

    def test_compression_begins_at_its_bound_and_not_below(self) -> None:
        """The bound is of the payload as it would be stored bare."""
        _, bare, payload = encode(self.large, compress_min_bytes=NEVER)
        at = encode(self.large, compress_min_bytes=len(payload))
        above = encode(self.large, compress_min_bytes=len(payload) + 1)

        assert bare == b"-"
        assert at[1] == b"b"
        assert len(at[2]) < len(payload)
        assert above == (self.kind, b"-", payload)
        assert same(decode(*at), self.large)

    @given(payload=st.binary(max_size=60), compression=st.sampled_from([b"-", b"b"]))
    @example(payload=b"", compression=b"b")
    @example(payload=b"[" * 100_000, compression=b"-")
    @example(payload=b"9" * 5_000, compression=b"-")
    @example(payload=brotli.compress(b"[1,2]") + b"x", compression=b"b")
    @settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    def test_arbitrary_bytes_are_a_value_or_refused(self, payload: bytes, compression: bytes) -> None:
        """Never another exception: not for text that is none, nor for ten thousand brackets."""
        try:
            value = decode(self.kind, compression, payload)
        except TornEnvelope:
            return
        assert same(there_and_back(value), value)

    @given(data=st.data(), place=st.integers(0, 10_000), byte=st.integers(0, 255))
    @settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    def test_altered_bytes_are_a_value_or_refused(self, data: st.DataObject, place: int, byte: int) -> None:
        """The checksum stands before this; behind it too, nothing unexpected is raised."""
        compress_min_bytes = data.draw(st.sampled_from([0, NEVER]))
        kind, compression, payload = encode(data.draw(self.values), compress_min_bytes=compress_min_bytes)
        place %= len(payload) + 1
        try:
            value = decode(kind, compression, payload[:place] + bytes([byte]) + payload[place + 1 :])
        except TornEnvelope:
            return
        assert same(there_and_back(value), value)

    def test_a_compression_that_is_not_known_is_refused(self) -> None:
        """A newer instance may write one."""
        kind, _, payload = encode(self.large, compress_min_bytes=NEVER)

        with pytest.raises(TornEnvelope, match="compression b'z' is not known"):
            decode(kind, b"z", payload)

    def test_a_compressed_payload_cut_short_is_refused(self) -> None:
        """Half an answer is none."""
        kind, compression, payload = encode(self.large, compress_min_bytes=0)

        with pytest.raises(TornEnvelope, match="cannot be decoded"):
            decode(kind, compression, payload[: len(payload) // 2])


class TestBytes(CodecCase):
    kind = b"B"
    values = st.binary()
    large = b"perfkit " * 1_000

    def test_they_are_stored_as_they_are(self) -> None:
        """No quotes, no base64."""
        assert encode(b"\x00\xff", compress_min_bytes=NEVER) == (b"B", b"-", b"\x00\xff")


class TestPlainJson(CodecCase):
    kind = b"J"
    values = PLAIN
    large = ROWS

    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            False,
            0,
            -0.0,
            1.0,
            math.inf,
            -math.inf,
            math.nan,
            5e-324,
            0.1 + 0.2,
            2**64,
            -(2**2_000),
            "",
            "é 漢 🙂 \x00 \u2028 \ufeff",
            "\ud800",
            "\ud83d\ude00",
            [],
            {},
            {"": [None]},
        ],
        ids=ascii,
    )
    def test_the_corners_come_back(self, value: object) -> None:
        """None, big integers, floats without a JSON of their own, halves of surrogate pairs."""
        assert same(there_and_back(value), value)

    def test_other_programs_can_read_it(self) -> None:
        """The payload is JSON, as a person with redis-cli hopes."""
        _, _, payload = encode(self.large, compress_min_bytes=NEVER)

        assert json.loads(payload) == self.large

    def test_what_looks_like_a_tag_is_left_alone(self) -> None:
        """In plain JSON nothing is a tag, so nothing is mistaken for one."""
        assert encode({"$tuple": [1]}, compress_min_bytes=NEVER) == (b"J", b"-", b'{"$tuple":[1]}')
        assert there_and_back({"$tuple": [1]}) == {"$tuple": [1]}


class TestTaggedJson(CodecCase):
    kind = b"T"
    values = ANYTHING.map(lambda inner: (inner,))
    large = ({"raw": b"\x00" * 1_000, "pair": (1, "x" * 1_000)},)

    @pytest.mark.parametrize(
        "value",
        [
            (),
            ((),),
            [(1, [2], (3,))],
            {"a": b""},
            ({"$tuple": [1]}, {"$tuple": 1}, {"$tuple": (1,)}),
            ({"$bytes": "AA=="}, {"$bytes": b"\x00"}, {"$bytes": "no base64"}),
            ({"$dict": {"$dict": {}}}, {"$dict": {"$tuple": [1]}}, {"$dict": (1,)}),
            ({"$tuple": [1], "$bytes": "AA=="},),
        ],
        ids=ascii,
    )
    def test_a_dictionary_that_looks_like_a_tag_comes_back_as_a_dictionary(self, value: object) -> None:
        """Beside a tuple, a `$tuple` of the service's own is still the service's."""
        assert same(there_and_back(value), value)

    @pytest.mark.parametrize("text", ['{"$bytes":"é"}', '{"$bytes":"A"}', '{"$bytes":"AA==!"}'])
    def test_a_tag_with_something_else_inside_is_refused(self, text: str) -> None:
        """No encoder writes base64 that is none."""
        with pytest.raises(TornEnvelope, match="cannot be decoded"):
            decode(b"T", b"-", text.encode())


@given(ANYTHING)
@settings(deadline=None)
def test_any_value_that_is_accepted_comes_back_the_same(value: object) -> None:
    """The kind is the codec's choice; the promise is not."""
    assert same(there_and_back(value), value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "datetime.datetime"),
        (date(2026, 1, 1), "datetime.date"),
        (Decimal("1.5"), "decimal.Decimal"),
        (UUID(int=1), "uuid.UUID"),
        ({1, 2}, "builtins.set"),
        (frozenset(), "builtins.frozenset"),
        (bytearray(b"x"), "builtins.bytearray"),
        (1j, "builtins.complex"),
        (range(3), "builtins.range"),
        (object(), "builtins.object"),
        (len, "builtins.builtin_function_or_method"),
        ({1: "number"}, "builtins.dict"),
        ({None: 1}, "builtins.dict"),
        (OrderedDict(a=1), "collections.OrderedDict"),
        (defaultdict(int), "collections.defaultdict"),
        (Point(1, 2), "test_codec.Point"),
        (Colour.RED, "test_codec.Colour"),
        (Text("bare"), "test_codec.Text"),
        ({Text("key"): 1}, "builtins.dict"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("around", [lambda value: value, lambda value: {"in": [(value,)]}], ids=["", "in"])
def test_what_would_come_back_different_is_refused_by_name(
    value: object, name: str, around: Callable[[object], object]
) -> None:
    """Wherever it stands inside; the message names the type and what can be cached instead."""
    with pytest.raises(
        NotEncodable, match=rf"{name} would not come back from Redis as it is; cache None, bool"
    ):
        encode(around(value), compress_min_bytes=NEVER)


def test_a_value_that_contains_itself_is_refused() -> None:
    """It has no end to write."""
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(NotEncodable, match="list cannot be written as JSON"):
        encode(endless, compress_min_bytes=NEVER)


def test_an_integer_too_long_to_be_read_back_is_refused_on_the_way_in() -> None:
    """Python reads no more than 4300 digits, so none are written."""
    with pytest.raises(NotEncodable, match="int cannot be written as JSON"):
        encode(10**5_000, compress_min_bytes=NEVER)


def test_a_kind_that_is_not_known_is_refused() -> None:
    """A newer instance may write one."""
    with pytest.raises(TornEnvelope, match="kind b'P' is not known"):
        decode(b"P", b"-", b"{}")


SPRUNG: list[str] = []


class Trap:
    """Unpickled, it would run code of whoever wrote it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (spring, ())


def spring() -> None:
    """What an attacker would run."""
    SPRUNG.append("sprung")


@pytest.fixture
def trap() -> Iterator[Trap]:
    """A trap that is seen to work: without that, one that stays shut would prove nothing."""
    SPRUNG.clear()
    yield Trap()
    before = list(SPRUNG)
    pickle.loads(pickle.dumps(Trap()))  # noqa: S301  # our own, to see the trap spring
    assert (before, SPRUNG) == ([], ["sprung"])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [b"J", b"T"])
def test_the_bytes_of_a_pickle_are_refused_and_nothing_runs(trap: Trap, protocol: int, kind: bytes) -> None:
    """In every protocol there is; whoever can write to Redis must not run code here."""
    with pytest.raises(TornEnvelope):
        decode(kind, b"-", pickle.dumps(trap, protocol))


def test_a_pickle_that_was_cached_as_bytes_stays_bytes(trap: Trap) -> None:
    """It is the service's own business what its bytes mean."""
    pickled = pickle.dumps(trap)

    assert there_and_back(pickled) == pickled
    assert there_and_back((pickled,)) == (pickled,)
    assert decode(b"T", b"-", b'{"$bytes":"' + base64.b64encode(pickled) + b'"}') == pickled


def test_the_module_imports_nothing_that_executes_what_it_reads() -> None:
    """Neither pickle nor its kin, under any name."""
    tree = ast.parse(Path(codec.__file__).read_text(encoding="utf-8"))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    taken_from = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }

    assert imported == {"base64", "json", "brotli"}
    assert taken_from.isdisjoint({"pickle", "marshal", "shelve", "dill", "cloudpickle"})
    assert called.isdisjoint({"eval", "exec", "compile", "__import__"})
