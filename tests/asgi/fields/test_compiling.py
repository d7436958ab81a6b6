"""Decoders: when they are made, how many there are, and that none outlives its set of fields."""

from __future__ import annotations

import gc
import json
import weakref

import pytest

from perfkit.asgi.fields import FieldFilter, Mask
from perfkit.asgi.fields.compiled import MOST_CLASSES, PATIENCE, Compiled, compiled
from perfkit.asgi.fields.counts import FieldCounts
from perfkit.asgi.fields.generic import Level
from perfkit.asgi.fields.grammar import read
from perfkit.asgi.fields.tree import Branch
from perfkit.asgi.request import Request
from perfkit.asgi.settings import AsgiSettings


def branch(text: str) -> Branch:
    """A choice that is not everything."""
    choice = read([text])
    assert isinstance(choice, Branch)
    return choice


def asked(fields: FieldFilter, text: str) -> Mask:
    """The mask of a request."""
    scope = {"type": "http", "method": "GET", "headers": [], "query_string": b"fields=" + text.encode()}
    mask = fields.mask_of(Request(scope))
    assert mask is not None
    return mask


def test_a_decoder_is_made_when_a_set_is_asked_for_again_and_again() -> None:
    """Not before; and from then on it is used."""
    fields = FieldFilter(AsgiSettings(fields_compile_after=3))
    for _ in range(2):
        asked(fields, "a").apply(b'{"a":1}')
    assert (fields.counts.compilations, fields.counts.generic, fields.counts.compiled) == (0, 2, 0)

    for _ in range(3):
        asked(fields, "a").apply(b'{"a":1}')
    assert (fields.counts.compilations, fields.counts.generic, fields.counts.compiled) == (1, 2, 3)


def test_however_a_set_is_written_it_has_one_decoder() -> None:
    """The canonical text tells sets apart, not what was sent."""
    fields = FieldFilter(AsgiSettings(fields_compile_after=3))
    for text in ("a/b,a/c", "a(b,c)", " a( b , c )", "a(b,c),a/b"):
        asked(fields, text).apply(b'{"a":{"b":1}}')

    assert fields.counts.compilations == 1
    assert asked(fields, "a/b,a/c") is asked(fields, "a(b,c)")


def test_whoever_sends_a_new_set_each_time_never_has_one_compiled() -> None:
    """Sets that are asked for in turn push each other out before they are due."""
    fields = FieldFilter(AsgiSettings(fields_compile_after=3, fields_compiled_masks=8))
    for turn in range(90):
        asked(fields, f"n{turn % 9}").apply(b'{"a":1}')
    assert fields.counts.compilations == 0

    for turn in range(80):
        asked(fields, f"n{turn % 8}").apply(b'{"a":1}')
    assert fields.counts.compilations == 8


def test_no_decoder_is_made_when_there_shall_be_none() -> None:
    """`fields_compiled_masks` of 0."""
    fields = FieldFilter(AsgiSettings(fields_compile_after=1, fields_compiled_masks=0))
    for _ in range(5):
        assert asked(fields, "a").apply(b'{"a":1,"b":2}') == b'{"a":1}'

    assert (fields.counts.compilations, fields.counts.generic) == (0, 5)


def test_a_set_that_was_pushed_out_leaves_nothing_behind() -> None:
    """Neither the mask, nor its classes, which msgspec and typing could hold."""
    fields = FieldFilter(AsgiSettings(fields_compile_after=1, fields_compiled_masks=2))
    gone = []
    for number in range(200):
        mask = asked(fields, f"n{number}(x,y/z),*/y")
        mask.apply(b'{"n1":[{"x":1,"y":{"z":2}},null]}')
        decoder = compiled(branch(f"n{number}(x,y/z)"), FieldCounts())
        made = decoder.choose(b'{"n%d":{"y":{}}}' % number, 0)
        gone += [weakref.ref(mask), weakref.ref(type(made)), weakref.ref(type(getattr(made.f0, "f1", None)))]
    del mask, decoder, made
    gc.collect()

    alive = [what for what in gone if what() is not None and what() is not type(None)]
    assert len(alive) <= 2


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a,b", Compiled),
        ("a(b,c/d)", Compiled),
        ("*/a", Compiled),
        ("a/*/b", Compiled),
        ("-a", Level),
        ("*/a,b/c", Level),
        ('a"', Level),
        ("a\\\\", Level),
        (",".join(f"n{i}/x" for i in range(MOST_CLASSES - 1)), Compiled),
        (",".join(f"n{i}/x" for i in range(MOST_CLASSES)), Level),
    ],
)
def test_what_can_be_compiled(text: str, kind: type) -> None:
    """The rest goes level by level, within bounds."""
    assert type(compiled(branch(text), FieldCounts())) is kind


def test_what_is_within_an_envelope_or_beside_a_minus_is_compiled() -> None:
    """Only the levels down to it are gone through."""
    fields = FieldFilter(AsgiSettings(fields_compile_after=1), root="data")
    body = b'{"data":[{"a":{"b":1,"c":2}}],"x":1}'
    assert asked(fields, "a/b").apply(body) == b'{"data":[{"a":{"b":1}}],"x":1}'

    assert fields.counts.compiled == 1


def test_a_decoder_that_keeps_failing_is_given_up() -> None:
    """Documents of another shape cost no exception each for ever; one that fits in between saves it."""
    counts = FieldCounts()
    mask = Mask(branch("a/b"), compile_after=1, counts=counts)
    odd, fit = b'{"a":5}', b'{"a":{"b":1}}'
    for _ in range(PATIENCE - 1):
        assert mask.apply(odd) == b"{}"
    assert mask.apply(fit) == fit
    assert (counts.misfits, counts.compiled, counts.generic) == (PATIENCE - 1, 1, PATIENCE - 1)

    for _ in range(3 * PATIENCE):
        assert mask.apply(odd) == b"{}"
    assert mask.apply(fit) == fit
    assert counts.compiled == 1


def test_what_is_counted() -> None:
    """Bytes of what was filtered, and why the rest was not."""
    counts = FieldCounts()
    mask = Mask(branch("a"), max_bytes=20, counts=counts)
    mask.apply(b'{"a": 1, "b": 2}')
    mask.apply(b'{"a": 1, "b": 2222222222222}')
    mask.apply(b"no")

    assert (counts.filtered, counts.bytes_in, counts.bytes_out) == (1, 16, 7)
    assert (counts.too_large, counts.unreadable) == (1, 1)


def test_a_large_document_takes_memory_in_proportion_to_what_is_left() -> None:
    """8 MiB of which little is chosen: no tree of it is ever built."""
    import tracemalloc

    row = json.dumps({"id": 1, "text": "x" * 200, "tags": list(range(50))}).encode()
    body = b"[" + b",".join([row] * 15_000) + b"]"
    mask = Mask(branch("id"), compile_after=1)
    mask.apply(b"{}")
    tracemalloc.start()
    filtered = mask.apply(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert filtered is not None
    assert peak < len(body)
