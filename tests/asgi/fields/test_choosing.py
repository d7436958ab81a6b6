"""Whatever is chosen of whatever document: a decoder, the way level by level and the plain meaning agree."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perfkit.asgi.fields.counts import FieldCounts
from perfkit.asgi.fields.grammar import read
from perfkit.asgi.fields.mask import Mask
from perfkit.asgi.fields.tree import Branch
from tests.asgi.fields.naive import choices, documents, fitting, kept, parsed, texts_of

WHOLE = [b"1.10", b"1e400", b"-0", b"1" * 400, rb'"\u00e9\/"', b"[1 , 2]", b'{"x": [ ] }', b"true", b"null"]
ODD = ["a-b", "class", "__init__", "__proto__", "f0", "f1", "é", "\U0001f600", "with space", "1", "'"]


def masks(text: str) -> tuple[Mask, Mask]:
    """A choice with its decoder, and one that goes level by level."""
    branch = read([text])
    assert isinstance(branch, Branch)
    return Mask(branch, compile_after=1), Mask(branch, compile_after=None)


def left(text: str, document: str | bytes) -> bytes | None:
    """What either way leaves of a document."""
    body = document.encode() if isinstance(document, str) else document
    decoded, stepwise = (mask.apply(body) for mask in masks(text))
    assert decoded == stepwise
    return decoded


@settings(deadline=None)
@given(st.data())
def test_the_ways_agree_with_each_other_and_with_the_plain_meaning(data: st.DataObject) -> None:
    """Over random choices, written in random ways, and random documents; decoder and levels to the byte."""
    some = data.draw(choices())
    text = data.draw(texts_of(some))
    document = data.draw(documents())
    if not isinstance(read([text]), Branch):
        assert kept(some, parsed(document)) == parsed(document)
        return

    filtered = left(text, document)
    expected = kept(some, parsed(document))

    if expected is ...:
        assert filtered is None
    else:
        assert filtered is not None
        assert parsed(filtered) == expected


@settings(deadline=None)
@given(st.data())
def test_documents_of_the_shape_that_is_asked_for_are_decoded(data: st.DataObject) -> None:
    """The decoder never leaves them to the other way, and does the same."""
    some = data.draw(choices(minus=False, star=False))
    text = data.draw(texts_of(some))
    document = data.draw(fitting(some))
    branch, counts = read([text]), FieldCounts()
    assert isinstance(branch, Branch)
    decoder = Mask(branch, compile_after=1, counts=counts)
    filtered = decoder.apply(document.encode())

    assert filtered == Mask(branch, compile_after=None).apply(document.encode())
    assert parsed(filtered or b"") == kept(some, parsed(document))
    assert (counts.compiled, counts.misfits) == (1, 0)


@pytest.mark.parametrize(
    ("text", "document", "expected"),
    [
        ("a,b", {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2}),
        ("b,a", {"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ("a/b", {"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}),
        ("a(b,c)", {"a": {"b": 1, "c": 2, "d": 3}}, {"a": {"b": 1, "c": 2}}),
        ("b/c,b/d", {"b": {"c": 1, "d": 2, "e": 3}}, {"b": {"c": 1, "d": 2}}),
        ("a,a/b", {"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 2}}),
        ("a/b,a", {"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 2}}),
        ("a", [{"a": 1, "b": 2}, None, {"b": 3}], [{"a": 1}, None, {}]),
        ("a/b", {"a": [{"b": 1, "c": 2}, {"c": 3}]}, {"a": [{"b": 1}, {}]}),
        ("a/b", {"a": [[{"b": 1, "c": 2}], []]}, {"a": [[{"b": 1}], []]}),
        ("a/b", {"a": None, "c": 1}, {"a": None}),
        ("a/b", {"a": 5}, {}),
        ("a/b", {"a": [5, {"b": 1}, "x", None]}, {"a": [{"b": 1}, None]}),
        ("a/b/c", {"a": {"b": {"c": 1, "d": 2}, "e": 3}}, {"a": {"b": {"c": 1}}}),
        ("nowhere", {"a": 1}, {}),
        ("items/*/title", {"items": {"x": {"title": 1, "y": 2}, "n": 3}}, {"items": {"x": {"title": 1}}}),
        ("items/*/title", {"items": [{"x": {"title": 1, "y": 2}}]}, {"items": [{"x": {"title": 1}}]}),
        ("*/x,a/y", {"a": {"x": 1, "y": 2, "z": 3}, "b": {"y": 5}}, {"a": {"x": 1, "y": 2}, "b": {}}),
        ("-a", {"a": 1, "b": 2}, {"b": 2}),
        ("-a/b", {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 2}, "d": 3}),
        ("-a/b", {"a": 5, "d": 3}, {"a": 5, "d": 3}),
        ("a(-b)", {"a": [{"b": 1, "c": 2}], "d": 3}, {"a": [{"c": 2}]}),
        ("a/-b", {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 2}}),
        ("a,b,-b", {"a": 1, "b": 2}, {"a": 1}),
        ("*(id)", {"a": {"id": 1, "x": 2}}, {"a": {"id": 1}}),
    ],
)  # fmt: skip
def test_what_is_left(text: str, document: Any, expected: Any) -> None:
    """The grammar by example, the order of the members included."""
    filtered = left(text, json.dumps(document))

    assert filtered is not None
    assert json.dumps(json.loads(filtered)) == json.dumps(expected)


@pytest.mark.parametrize("value", WHOLE)
@pytest.mark.parametrize("text", ["a", "a,b/c", "*/a,a", "-b", "w/*/a"])
def test_a_leaf_stays_byte_for_byte(text: str, value: bytes) -> None:
    """Integers of any length, `1.10`, what no double can hold, escapes, and the spaces within a value."""
    document = b'{"a":%b}' % value if text[0] != "w" else b'{"w":{"x":{"a":%b}}}' % value

    assert left(text, document) == document


@pytest.mark.parametrize("name", ODD)
def test_a_member_may_have_any_name(name: str) -> None:
    """Names that are no identifiers, that mean something to Python, and that the decoder's fields have."""
    escaped = name.replace("-", "\\-")
    document = json.dumps({"other": 0, name: {"f0": 1, name: 2}}, ensure_ascii=False)

    assert (
        left(f"{escaped}/{escaped}", document)
        == json.dumps({name: {name: 2}}, ensure_ascii=False, separators=(",", ":")).encode()
    )


def test_names_that_must_be_escaped_are_chosen_too() -> None:
    """A quote or a backslash in a name: no decoder can be made, and the result is the same."""
    assert left(r'q",b\\s', rb'{"q\"":1,"b\\s":2,"c":3}') == rb'{"q\"":1,"b\\s":2}'


def test_of_a_name_that_comes_twice_the_last_counts() -> None:
    """As in JavaScript and Python."""
    assert left("a", b'{"a":1,"a":2}') == b'{"a":2}'
    assert left("a/b", b'{"a":5,"a":{"b":1}}') == b'{"a":{"b":1}}'
    assert left("-z", b'{"a":1,"b":2,"\\u0061":3}') == b'{"a":3,"b":2}'


@pytest.mark.parametrize(
    ("text", "document", "expected"),
    [
        ("a", rb'{"a":"\ud800","b":1}', rb'{"a":"\ud800"}'),
        ("b", rb'{"a":"\uDFFF\u0041","b":1}', rb'{"b":1}'),
        ("b/c", rb'[{"\udc00":1,"b":{"c":"\ud83d\ude00\ud83d"}}]', rb'[{"b":{"c":"\ud83d\ude00\ud83d"}}]'),
        ("-b", rb'{"\udc00":1,"b":2,"c":"\\ud800"}', rb'{"\udc00":1,"c":"\\ud800"}'),
    ],
)  # fmt: skip
def test_half_a_surrogate_pair_stays_as_it_is(text: str, document: bytes, expected: bytes) -> None:
    """It is JSON, though msgspec does not read it."""
    assert left(text, document) == expected


def test_half_pairs_stay_even_if_the_document_has_the_mark_that_would_stand_for_them() -> None:
    """Another mark is taken, until none is left, when the document passes as it is."""
    marks = ["\U0010ffff", "\U0010fffe", "\U0010fffd"]
    document = r'{"a":"\ud800MARKS","b":1}'
    every = "".join(chr(0x10FFFF - number) for number in range(8))

    expected = r'{"a":"\ud800MARKS"}'.replace("MARKS", "".join(marks))
    assert left("a", document.replace("MARKS", "".join(marks))) == expected.encode()
    assert left("a", document.replace("MARKS", every)) is None


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b"}", b'{"a":1', b'{"a":1}}', b'{"a":1,}', b"[1,]", b'{"a":01}', b'{"a":NaN}'),
        *(
            b"{'a':1}",
            b'{"a":1}{"a":2}',
            b"<a>",
            b'\xef\xbb\xbf{"a":1}',
            b'{"a":"\xff"}',
            b'{"\xff":1,"a":2}',
        ),
        *(b'{"b":"\xff","a":1}', b'{"b":"\x00","a":1}', rb'{"b":"\x","a":1}', rb'{"a":"\ud80"}'),
        '{"a":1}'.encode("utf-16"),
    ],
)
@pytest.mark.parametrize("text", ["a", "a/b", "-b", "*/c"])
def test_what_is_no_json_is_left_alone(text: str, body: bytes) -> None:
    """Also where the fault lies in what was not asked for."""
    assert left(text, body) is None


@pytest.mark.parametrize("body", [b"5", b"1e400", b'"text"', b"true"])
def test_a_value_without_fields_is_left_alone(body: bytes) -> None:
    """A number is a document, but there is nothing to choose from."""
    assert left("a", body) is None
    assert left("-a", body) == body


@pytest.mark.parametrize(
    "document", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000]
)
@pytest.mark.parametrize("text", ["a", "a/a", "-b"])
def test_a_document_nested_beyond_reason_is_left_alone(text: str, document: bytes) -> None:
    """No recursion error reaches the client."""
    assert left(text, document) is None


def test_lists_within_lists_are_looked_through_up_to_a_bound() -> None:
    """Each level is read once more, so there must be one."""
    assert left("a", b"[" * 60 + b'{"a":1,"b":2}' + b"]" * 60) == b"[" * 60 + b'{"a":1}' + b"]" * 60
    assert left("a", b"[" * 70 + b'{"a":1,"b":2}' + b"]" * 70) is None


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_body_may_be_any_bytes(kind: type[bytearray | memoryview]) -> None:
    """And what is left does not change with it."""
    mask, _ = masks("a")

    assert mask.apply(kind(b'{"a":1,"b":2}')) == b'{"a":1}'  # type: ignore[arg-type]


def test_in_an_envelope_the_neighbours_stay() -> None:
    """Fields are chosen within the root alone, decoded or not; where it is missing, nothing changes."""
    branch = read(["id,price/amount"])
    assert isinstance(branch, Branch)
    for compile_after in (1, None):
        mask = Mask(branch, root="data", compile_after=compile_after)
        body = b'{"next": [2], "data": [{"id": 1, "price": {"amount": 1.10, "x": 1}, "y": 2}], "total": 1e3}'

        assert mask.apply(body) == b'{"next":[2],"data":[{"id":1,"price":{"amount":1.10}}],"total":1e3}'
        assert mask.apply(b'{"error":"x"}') == b'{"error":"x"}'


@settings(deadline=None)
@given(documents())
@example('{"a":{"b":{"c":1.0}}}')
def test_to_choose_twice_is_to_choose_once(document: str) -> None:
    """What is left has nothing that would not be chosen."""
    mask, _ = masks("a(b,c),*/b,class")
    once = mask.apply(document.encode())

    if once is not None:
        assert mask.apply(once) == once
