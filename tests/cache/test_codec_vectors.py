"""Vectors: exact where nothing else was asked for, and as small as was asked for where it was."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from perfkit.cache.codecs import GENERAL, Codecs, VectorCodec
from perfkit.cache.codecs.vectors import Precision, Returned
from perfkit.cache.envelope import TornEnvelope
from tests.cache.codec_case import CodecCase, there_and_back

FLOATS = st.lists(st.floats(), min_size=8, max_size=40)
ROWS = st.tuples(st.integers(1, 4), st.integers(8, 12)).flatmap(
    lambda shape: st.lists(
        st.lists(st.floats(), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)
ARRAYS = st.sampled_from(["f2", "f4", "f8"]).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=9))
)
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")


def unit_vector(seed: int, length: int = 768) -> list[float]:
    numbers = np.random.default_rng(seed).standard_normal(length)
    return (numbers / np.linalg.norm(numbers)).tolist()


def cosine(one: Any, other: Any) -> float:
    a, b = np.asarray(one, "f8"), np.asarray(other, "f8")
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


class TestVectors(CodecCase):
    kind = b"V"
    values = (
        FLOATS
        | FLOATS.map(tuple)
        | FLOATS.map(lambda floats: array("d", floats))
        | st.lists(st.floats(width=32), max_size=9).map(lambda floats: array("f", floats))
        | ROWS
        | ROWS.map(lambda rows: [tuple(row) for row in rows])
        | ROWS.map(lambda rows: [array("d", row) for row in rows])
        | ROWS.map(lambda rows: [np.array(row) for row in rows])
        | ARRAYS
    )

    @given(value=ARRAYS)
    @settings(deadline=None)
    def test_every_bit_of_an_array_comes_back(self, value: np.ndarray) -> None:
        """Its type, its shape and NaN's own bits."""
        found: Any = there_and_back(value)

        assert (found.dtype, found.shape) == (value.dtype, value.shape)
        assert found.tobytes() == value.tobytes()

    @pytest.mark.parametrize(
        "value",
        [
            *([], [0.5] * 7, [1] * 8, [0.5] * 7 + [1], [True] * 8, [[0.5] * 8, [0.5] * 9], [[0.5] * 8, None]),
            *([[[0.5] * 8]], [[0.5] * 8, (0.5,) * 8]),
        ],
        ids=ascii,
    )
    def test_what_is_no_vector_is_left_to_the_other_codecs(self, value: object) -> None:
        """Short lists, integers among floats, rows that are not alike: they come back as they are."""
        assert GENERAL.encode(value)[0] != b"V"
        assert repr(there_and_back(value)) == repr(value)

    @pytest.mark.parametrize(
        "value",
        [
            np.zeros((2, 2, 2)),
            np.arange(3),
            np.array(1.0),
            np.array(["a"]),
            np.zeros(3, ">f8"),
            np.float64(1),
        ],
        ids=lambda value: f"{value.dtype}{value.shape}",
    )
    def test_an_array_of_another_kind_is_refused(self, value: object) -> None:
        """Nothing else would bring it back."""
        with pytest.raises(TypeError, match=r"numpy\.\w+ would not come back"):
            GENERAL.encode(value)

    def test_a_view_with_gaps_is_stored_as_what_it_shows(self) -> None:
        """Every second number, and a transposed table."""
        table = np.arange(12.0).reshape(3, 4)
        found: Any = [there_and_back(view) for view in (table[:, ::2], table.T, table[0, ::-1])]

        assert [each.tolist() for each in found] == [table[:, ::2].tolist(), table.T.tolist(), [3, 2, 1, 0]]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("precision", "least", "most_bytes"),
    [("float32", 1 - 1e-12, 3_100), ("float16", 0.999_999, 1_550), ("int8", 0.9999, 790)],
)
def test_an_embedding_keeps_its_direction_in_a_fraction_of_the_bytes(
    precision: Precision, least: float, most_bytes: int, seed: int
) -> None:
    """JSON takes about 17,000 bytes for 768 numbers."""
    vector = unit_vector(seed)
    codec = VectorCodec(precision)
    payload = codec.encode(vector)

    assert payload is not None
    assert cosine(codec.decode(payload), vector) >= least
    assert len(payload) <= most_bytes < len(json.dumps(vector)) / 5


@pytest.mark.parametrize("returns", ["list", "tuple", "array", "numpy"])
@pytest.mark.parametrize("precision", ["exact", *PRECISIONS])
@pytest.mark.parametrize("rows", [1, 3])
def test_what_comes_back_is_what_was_asked_for(precision: Precision, returns: Returned, rows: int) -> None:
    """Whatever was put in: a list, a tuple, an array of either library, or a list of them."""
    kinds = {"list": list, "tuple": tuple, "array": lambda row: array("d", row), "numpy": np.array}
    codec = VectorCodec(precision, returns=returns)
    expected = type(kinds[returns]([1.0]))
    for put in kinds.values():
        vectors = [put(unit_vector(seed, 16)) for seed in range(rows)]
        payload = codec.encode(vectors if rows > 1 else vectors[0])
        assert payload is not None
        found: Any = codec.decode(payload)
        if rows > 1:
            assert type(found) is (np.ndarray if returns == "numpy" else list)
        for row, vector in zip(found if rows > 1 else [found], vectors, strict=True):
            assert type(row) is expected
            assert cosine(row, vector) > 0.999


@given(
    st.lists(st.floats(-1e30, 1e30), min_size=8, max_size=30),
    st.sampled_from(PRECISIONS),
)
@settings(deadline=None)
def test_lists_and_arrays_lose_the_same(values: list[float], precision: Precision) -> None:
    """With numpy or without, one instance reads what another wrote."""
    codec = VectorCodec(precision, returns="list")
    payloads = [codec.encode(values), codec.encode(np.array(values))]
    found: list[Any] = [codec.decode(payload) for payload in payloads if payload is not None]
    peak = max(map(abs, values))

    assert found[0] == pytest.approx(found[1], abs=peak / 100)
    step = {"float32": 1e-7, "float16": 1e-3, "int8": 0.5 / 127 + 1e-6}[precision]
    assert found[0] == pytest.approx(
        values, rel=step, abs=peak * step + 1e-29 + 6e-8 * (precision == "float16")
    )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("wrap", [list, np.array], ids=["list", "numpy"])
@pytest.mark.parametrize("odd", [1e300, math.nan, math.inf, -math.inf], ids=str)
def test_what_does_not_fit_is_kept_exactly(precision: Precision, wrap: Any, odd: float) -> None:
    """Rather larger than wrong."""
    values = [0.1] * 8 + [odd]
    codec = VectorCodec(precision, returns="list")
    payload = codec.encode(wrap(values))

    assert payload is not None
    assert repr(codec.decode(payload)) == repr(values)


@pytest.mark.parametrize("wrap", [list, np.array], ids=["list", "numpy"])
def test_a_vector_of_zeros_stays_one(wrap: Any) -> None:
    """Its scale would be 0."""
    codec = VectorCodec("int8", returns="list")
    payload = codec.encode(wrap([0.0] * 8))

    assert payload is not None
    assert codec.decode(payload) == [0.0] * 8


def test_an_array_that_came_back_cannot_be_changed_by_accident() -> None:
    """Memory hands the same one to everybody."""
    found: Any = there_and_back(np.ones(3))

    with pytest.raises(ValueError, match="read-only"):
        found[0] = 2


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<ccccII", b"-", b"n", b"f", b"f", 2**32 - 1, 2**32 - 1),
        struct.pack("<ccccII", b"l", b"l", b"d", b"d", 2**32 - 1, 0),
        struct.pack("<ccccII", b"-", b"l", b"d", b"d", 0, 0),
        struct.pack("<ccccII", b"n", b"l", b"d", b"d", 1, 0),
        struct.pack("<ccccII", b"-", b"l", b"f", b"d", 1, 0),
        struct.pack("<ccccII", b"-", b"a", b"e", b"e", 1, 0),
        struct.pack("<ccccII", b"-", b"z", b"d", b"d", 1, 0),
    ],
    ids=["huge", "endless", "none", "table of lists", "list of float32", "array of float16", "unknown"],
)
def test_a_head_that_lies_is_refused_before_anything_is_made_by_it(head: bytes) -> None:
    """Four thousand million rows of nothing take twelve bytes."""
    with pytest.raises(TornEnvelope):
        GENERAL.decode(b"V", b"", head)


def test_lists_need_no_numpy_and_arrays_are_refused_softly_without_it() -> None:
    """A service image without it reads its own lists; what another wrote as an array is a miss."""
    payload = GENERAL.encode(np.ones(3))[2]
    code = f"""
import sys
sys.modules["numpy"] = None
from perfkit.cache.codecs import GENERAL, Codecs, VectorCodec
from perfkit.cache.envelope import TornEnvelope
for precision in ("exact", "float32", "float16", "int8"):
    codecs = Codecs(VectorCodec(precision))
    assert codecs.decode(*codecs.encode([0.5] * 8)) == __import__("pytest").approx([0.5] * 8)
try:
    GENERAL.decode(b"V", b"", {payload!r})
except TornEnvelope as error:
    assert "numpy, which is not installed" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_cache_of_embeddings_lists_its_codec_first() -> None:
    """The rest of the values are written as ever."""
    codecs = Codecs(VectorCodec("float16"), *GENERAL)

    assert codecs.encode(unit_vector(1))[0] == b"V"
    assert there_and_back({"a": (1,)}, codecs) == {"a": (1,)}
