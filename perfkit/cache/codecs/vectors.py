"""Vectors, as embeddings are: arrays and lists of floats, five times smaller than JSON and read at once.

What is taken is a numpy array of one or two dimensions, an `array.array`, a list or tuple of floats, or a
list of any of these that are alike and as long. What comes back is of the same kind, or of the kind asked
for. Arrays of numpy come back without being copied, and so can be read and not written.

    exact     arrays in their own type, lists and tuples as float64: every bit comes back
    float32   4 bytes a number; 7 digits
    float16   2 bytes a number; 3 digits
    int8      1 byte a number and one scale a vector: value ≈ number · scale, the largest being 127 (symmetric
              quantization). Of a random unit vector of 768 numbers the cosine stays above 0.9999

What does not fit into a type (beyond 65,504 in float16; NaN in int8) is kept exactly instead.

The bytes, little-endian: two letters for what holds the rows ("-" when there is but one) and what holds the
numbers of a row · `struct`'s letters of the numbers' type in memory and as stored · rows u32 · numbers in a
row u32 · for int8 each row's scale, f32 · the numbers.
"""

from __future__ import annotations

import functools
import math
import struct
import sys
from array import array
from collections.abc import Callable
from itertools import product
from typing import Any, Literal, NamedTuple, TypeAlias

__all__ = ["Precision", "Returned", "VectorCodec"]

Precision: TypeAlias = Literal["exact", "float32", "float16", "int8"]
Returned: TypeAlias = Literal["same", "list", "tuple", "array", "numpy"]

_HEAD = struct.Struct("<ccccII")
_SHAPE = struct.Struct("<II")
_BYTES_OF = {b"d": 8, b"f": 4, b"e": 2, b"b": 1}
_STORED = {"exact": b"", "float32": b"f", "float16": b"e", "int8": b"b"}
_RETURNED = {"same": b"", "list": b"l", "tuple": b"t", "array": b"a", "numpy": b"n"}
_LARGEST = {b"f": 3.4028234e38, b"e": 65_504.0, b"b": 3.4028234e38}
_LEAST_SCALE = 1e-30
_NUMPY = {b"d": "<f8", b"f": "<f4", b"e": "<f2", b"b": "<i1"}
_OWN = {b"l": (b"d",), b"t": (b"d",), b"a": (b"d", b"f"), b"n": (b"d", b"f", b"e")}
_KNOWN = {
    b"".join(head): head
    for head in product((b"-", b"l", b"n"), _OWN, (b"d", b"f", b"e"), _BYTES_OF)
    if head[2] in _OWN[head[1]] and (head[0] != b"n" or head[1] == b"n")
}
"""The first four bytes of all vectors there are."""
_FEWEST = 8
"""Shorter lists are left to JSON, which whoever looks at them with redis-cli can read."""


class VectorCodec:
    """Floats in a row, or rows of them.

    >>> codec = VectorCodec("int8", returns="tuple")
    >>> vector = [n / 100 for n in range(100)]
    >>> payload = codec.encode(vector)
    >>> len(payload), max(abs(a - b) for a, b in zip(codec.decode(payload), vector)) < 0.004
    (116, True)
    """

    kind, schema, compressible = b"V", b"", False

    def __init__(self, precision: Precision = "exact", *, returns: Returned = "same") -> None:
        """Say how exactly numbers are kept, and as what they come back.

        With anything but `exact`, memory answers with the numbers that were put in and Redis with those that
        were kept.
        """
        self._stored = _STORED[precision]
        self._returned = _RETURNED[returns]

    def encode(self, value: object) -> bytes | None:
        """Return the bytes of a vector or of rows of vectors; None for anything else."""
        table = _taken(value)
        if table is None:
            return None
        stored = self._stored or table.own
        if stored != table.own and not _fits(table, stored):
            stored = table.own
        scales, numbers = (b"", table.flat) if stored != b"b" else _quantized(table)
        head = _HEAD.pack(table.outer, table.inner, table.own, stored, table.rows, table.width)
        return b"".join((head, scales, _written(numbers, stored)))

    def decode(self, payload: bytes) -> object:
        """Return the vector of its bytes.

        Raises:
            ValueError: they are no vector, or numpy is needed for it and is not installed.
        """
        outer, inner, own, stored, rows, width = _checked_head(payload)
        start = _HEAD.size + (4 * rows if stored == b"b" else 0)
        if self._returned:
            inner = self._returned
            outer = outer if outer == b"-" else b"n" if inner == b"n" else b"l"
        if inner == b"n":
            table = _read_numpy(payload, start, stored, own, (width,) if outer == b"-" else (rows, width))
            return list(table) if outer == b"l" else table
        flat = _read(payload, start, stored, rows, width)
        if inner == b"a":
            letter = "d" if own == b"d" else "f"
            flat = flat if flat.typecode == letter else array(letter, flat)
        if outer == b"-":
            return _of_kind(inner, flat)
        return [_of_kind(inner, flat[at : at + width]) for at in range(0, rows * width, width or 1)]


def _checked_head(payload: bytes) -> tuple[bytes, bytes, bytes, bytes, int, int]:
    """Return a payload's head once it is one that `encode` writes, before anything is made by its numbers."""
    known = _KNOWN.get(payload[:4])
    if known is None or len(payload) < _HEAD.size:
        raise ValueError(f"no vector begins with {payload[: _HEAD.size]!r}")
    outer, inner, own, stored = known
    rows, width = _SHAPE.unpack_from(payload, 4)
    count = rows * width
    size = _HEAD.size + (4 * rows if stored == b"b" else 0) + count * _BYTES_OF[stored]
    if len(payload) != size or (not count and (rows > 1 or outer == b"l")) or (rows != 1 and outer == b"-"):
        raise ValueError(f"{rows} rows of {width} numbers take {size} bytes and not {len(payload)}")
    return outer, inner, own, stored, rows, width


def _of_kind(inner: bytes, flat: array[float]) -> object:
    return flat if inner == b"a" else flat.tolist() if inner == b"l" else tuple(flat)


class _Table(NamedTuple):
    """Vectors looked through: what holds them, and their numbers one after another."""

    outer: bytes
    inner: bytes
    own: bytes
    rows: int
    width: int
    flat: Any
    """An `array.array`, or an array of numpy in one dimension."""


def _taken(value: Any) -> _Table | None:
    if type(value) is list and value and type(value[0]) is not float:
        return _taken_rows(value)
    return _taken_row(value)


def _taken_row(value: Any) -> _Table | None:
    kind = type(value)
    if kind is list or kind is tuple:
        if len(value) < _FEWEST or set(map(type, value)) != {float}:
            return None
        return _Table(b"-", b"l" if kind is list else b"t", b"d", 1, len(value), array("d", value))
    if kind is array:
        own = value.typecode.encode()
        return _Table(b"-", b"a", own, 1, len(value), value) if own in (b"d", b"f") else None
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        own = value.dtype.char.encode()
        if own not in _OWN[b"n"] or value.ndim not in (1, 2) or not value.dtype.isnative:
            return None
        rows, width = value.shape if value.ndim == 2 else (1, len(value))
        if rows > 1 and not width:
            return None
        return _Table(b"n" if value.ndim == 2 else b"-", b"n", own, rows, width, value.reshape(-1))
    return None


def _taken_rows(value: list[Any]) -> _Table | None:
    """Take a list of vectors that are alike; a look at the first spares most lists the others."""
    rows: list[_Table] = []
    for row in value:
        taken = _taken_row(row)
        if taken is None or taken.outer != b"-" or not taken.width or (rows and taken[:5] != rows[0][:5]):
            return None
        rows.append(taken)
    first = rows[0]
    if first.inner == b"n":
        flat = sys.modules["numpy"].concatenate([row.flat for row in rows])
    else:
        flat = array(first.flat.typecode)
        for row in rows:
            flat.extend(row.flat)
    return first._replace(outer=b"l", rows=len(rows), flat=flat)


def _fits(table: _Table, stored: bytes) -> bool:
    """Tell whether the numbers fit into a type; what is not finite fits into none but its own."""
    if not len(table.flat):
        return True
    if table.inner == b"n":
        peak = float(abs(table.flat).max())  # NaN where there is one
    else:
        peak = max(max(table.flat), -min(table.flat)) if math.isfinite(sum(table.flat)) else math.nan
    return peak <= _LARGEST[stored]


def _quantized(table: _Table) -> tuple[bytes, Any]:
    """Return the scales, and the numbers each divided by its row's and rounded."""
    flat, width = table.flat, table.width
    if table.inner == b"n":
        np = sys.modules["numpy"]
        peaks = abs(flat.reshape(table.rows, width)).max(axis=1, initial=0.0).astype("<f4")
        scales = peaks / np.float32(127)
        scales[scales < _LEAST_SCALE] = 0  # too small to be divided by: its numbers count as 0
        divisors = np.where(scales, scales, np.float32(1)).repeat(width)
        return scales.tobytes(), np.rint((flat / divisors).clip(-127, 127) * (scales.repeat(width) > 0))
    scales, numbers = array("f"), array("b")
    for at in range(0, len(flat), width or 1):
        row = flat[at : at + width]
        scale = struct.unpack("f", struct.pack("f", max(max(row), -min(row)) / 127))[0]
        scale = scale if scale >= _LEAST_SCALE else 0.0
        scales.append(scale)
        numbers.extend(max(-127, min(127, round(x / scale))) if scale else 0 for x in row)
    return _little(scales).tobytes(), numbers


def _written(numbers: Any, stored: bytes) -> bytes:
    if not isinstance(numbers, array):
        return bytes(numbers.astype(_NUMPY[stored]).tobytes())
    if stored == b"e":
        return struct.pack(f"<{len(numbers)}e", *numbers)
    letter = stored.decode()
    return _little(numbers if numbers.typecode == letter else array(letter, numbers)).tobytes()


def _read(payload: bytes, start: int, stored: bytes, rows: int, width: int) -> array[float]:
    """Return the numbers of all rows, as float64 unless they are stored as float32 and come back so."""
    if stored == b"e":
        return array("d", struct.unpack_from(f"<{rows * width}e", payload, start))
    numbers: array[Any] = array(stored.decode())
    numbers.frombytes(memoryview(payload)[start:])
    numbers = _little(numbers)
    if stored != b"b":
        return numbers
    scales = struct.unpack_from(f"<{rows}f", payload, _HEAD.size)
    flat = array("d")
    for row, scale in enumerate(scales):
        flat.extend([number * scale for number in numbers[row * width : (row + 1) * width]])
    return flat


def _read_numpy(payload: bytes, start: int, stored: bytes, own: bytes, shape: tuple[int, ...]) -> Any:
    """Return an array over the payload itself where its numbers are stored as they are."""
    from_buffer, types = _numpy()
    count = math.prod(shape)
    numbers = from_buffer(payload, types[stored], count, start)
    if stored == b"b":
        rows = shape[0] if len(shape) > 1 else 1
        scales = from_buffer(payload, types[b"f"], rows, _HEAD.size)
        if rows > 1:
            scales = scales.repeat(shape[1])
        numbers = numbers * scales if rows else numbers
    if stored != own:
        numbers = numbers.astype(types[own], copy=False)
        numbers.flags.writeable = False  # as those over the payload are: one object serves everybody
    return numbers if len(shape) == 1 else numbers.reshape(shape)


@functools.cache
def _numpy() -> tuple[Callable[..., Any], dict[bytes, Any]]:
    """Return what reading takes of numpy, which is loaded only where arrays are put in or asked for."""
    try:
        import numpy as np
    except ImportError as error:
        raise ValueError("it is an array of numpy, which is not installed here") from error
    return np.frombuffer, {letter: np.dtype(name) for letter, name in _NUMPY.items()}


def _little(numbers: array[Any]) -> array[Any]:
    """Return numbers in the order of bytes in which they travel, or back."""
    if sys.byteorder != "little":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers
