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

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perfkit.cache.codecs as room
from perfkit.cache.codecs import GENERAL, Codecs, MsgpackCodec, NotEncodable, TaggedJsonCodec
from perfkit.cache.envelope import TornEnvelope
from tests.cache.codec_case import CodecCase, same, there_and_back

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


class Colour(IntEnum):
    """An int that JSON would write as a bare 1."""

    RED = 1


class Text(str):
    """A str that would come back as a bare one."""

    __slots__ = ()


Point = namedtuple("Point", "x y")


class TestBytes(CodecCase):
    kind = b"B"
    values = st.binary()

    def test_they_are_stored_as_they_are(self) -> None:
        """No quotes, no base64."""
        assert GENERAL.encode(b"\x00\xff") == (b"B", b"", b"\x00\xff")


class TestPlainJson(CodecCase):
    kind = b"J"
    values = PLAIN.filter(lambda value: GENERAL.encode(value)[0] != b"V")  # eight floats are a vector

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
            [None, math.nan],
            {"null": [math.inf]},
            5e-324,
            0.1 + 0.2,
            1e22,
            2**64,
            -(2**2_000),
            "",
            "null",
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
        assert GENERAL.encode(value)[0] == b"J"
        assert same(there_and_back(value), value)

    def test_other_programs_can_read_it(self) -> None:
        """The payload is JSON, as a person with redis-cli hopes."""
        _, _, payload = GENERAL.encode(ROWS)

        assert json.loads(payload) == ROWS

    def test_what_older_versions_wrote_is_read(self) -> None:
        """Theirs was Python's own JSON, with what msgspec refuses."""
        value = {"float": [math.nan, -math.inf, 1e300], "text": "\ud800", "int": 2**70}
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))

        assert same(GENERAL.decode(b"J", b"", text.encode("utf-8", "surrogatepass")), value)

    def test_what_looks_like_a_tag_is_left_alone(self) -> None:
        """In plain JSON nothing is a tag, so nothing is mistaken for one."""
        assert GENERAL.encode({"$tuple": [1]}) == (b"J", b"", b'{"$tuple":[1]}')
        assert there_and_back({"$tuple": [1]}) == {"$tuple": [1]}


class TestMsgpack(CodecCase):
    kind = b"M"
    values = ANYTHING.map(lambda inner: (inner,)).filter(
        lambda value: MsgpackCodec().encode(value) is not None  # not what has an integer beyond 64 bits
    )

    @pytest.mark.parametrize(
        "value",
        [
            (),
            ((),),
            [(1, [2], (3,))],
            {"a": b""},
            (math.nan, -0.0, None),
            (2**63, -(2**63)),
            ({"$tuple": [1]},),
        ],
        ids=ascii,
    )
    def test_tuples_and_bytes_come_back(self, value: object) -> None:
        """At any depth, and what would look like a tag in JSON beside them."""
        assert GENERAL.encode(value)[0] == b"M"
        assert same(there_and_back(value), value)

    def test_it_is_smaller_than_the_tagged_json(self) -> None:
        """Which is why it is written where both could be."""
        value = [{"id": n, "raw": bytes(30), "pair": (n, n + 0.5)} for n in range(100)]
        tagged = TaggedJsonCodec().encode(value)

        assert tagged is not None
        assert len(GENERAL.encode(value)[2]) < len(tagged) / 1.5

    @pytest.mark.parametrize("code", [0, 2, 127, -1])
    def test_an_extension_that_is_not_known_is_refused(self, code: int) -> None:
        """-1 is MessagePack's own time, which no encoder here writes."""
        payload = msgspec.msgpack.encode(msgspec.msgpack.Ext(code, b"\x90"))

        with pytest.raises(TornEnvelope):
            GENERAL.decode(b"M", b"", payload)


class TestTaggedJson(CodecCase):
    kind = b"T"
    values = ANYTHING.map(lambda inner: (inner,))
    codecs = Codecs(TaggedJsonCodec())

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
        assert same(there_and_back(value, self.codecs), value)

    @pytest.mark.parametrize("value", [(2**64,), ("\ud800", b"x")], ids=ascii)
    def test_it_is_written_where_nothing_else_will_do(self, value: object) -> None:
        """Integers beyond 64 bits and halves of surrogate pairs, beside a tuple."""
        assert GENERAL.encode(value)[0] == b"T"
        assert same(there_and_back(value), value)

    @pytest.mark.parametrize("text", ['{"$bytes":"é"}', '{"$bytes":"A"}', '{"$bytes":"AA==!"}'])
    def test_a_tag_with_something_else_inside_is_refused(self, text: str) -> None:
        """No encoder writes base64 that is none."""
        with pytest.raises(TornEnvelope, match="cannot be decoded"):
            GENERAL.decode(b"T", b"", text.encode())


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
        GENERAL.encode(around(value))


def test_a_value_that_contains_itself_is_refused() -> None:
    """It has no end to write."""
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(NotEncodable, match="list cannot be written as JSON: it contains itself"):
        GENERAL.encode(endless)


def test_an_integer_too_long_to_be_read_back_is_refused_on_the_way_in() -> None:
    """Python reads no more than 4300 digits, so none are written."""
    with pytest.raises(NotEncodable, match="int cannot be written as JSON"):
        GENERAL.encode(10**5_000)


def test_a_kind_that_is_not_known_is_refused() -> None:
    """A newer instance may write one."""
    with pytest.raises(TornEnvelope, match="kind b'P' is not known"):
        GENERAL.decode(b"P", b"", b"{}")


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
@pytest.mark.parametrize("kind", [b"J", b"T", b"M", b"V"])
def test_the_bytes_of_a_pickle_are_refused_and_nothing_runs(trap: Trap, protocol: int, kind: bytes) -> None:
    """In every protocol there is; whoever can write to Redis must not run code here."""
    with pytest.raises(TornEnvelope):
        GENERAL.decode(kind, b"", pickle.dumps(trap, protocol))


def test_a_pickle_that_was_cached_as_bytes_stays_bytes(trap: Trap) -> None:
    """It is the service's own business what its bytes mean."""
    pickled = pickle.dumps(trap)

    assert there_and_back(pickled) == pickled
    assert there_and_back((pickled,)) == (pickled,)
    assert GENERAL.decode(b"T", b"", b'{"$bytes":"' + base64.b64encode(pickled) + b'"}') == pickled


@pytest.mark.parametrize(
    "module", sorted(Path(room.__file__).parent.glob("*.py")), ids=lambda path: path.stem
)
def test_no_codec_imports_what_executes_what_it_reads(module: Path) -> None:
    """Neither pickle nor its kin, under any name."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    taken_from = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }

    assert (imported | taken_from).isdisjoint(
        {"pickle", "marshal", "shelve", "dill", "cloudpickle", "copyreg"}
    )
    assert called.isdisjoint({"eval", "exec", "compile", "__import__"})
