"""Answers with vectors, read from the wire and written to it without a protobuf object in between.

Google answers `Predict` with a JSON-like tree (google.protobuf.Value) in which each number of a vector is a
message of its own. A parser makes 192,000 objects of 250 vectors of 768 numbers, then a list of each vector:
with the obvious code 300 ms in which the event loop stands still. But such a number always has the same 11
bytes,

    0a 09          a Value of 9 bytes, in the list
       11          whose number_value follows
          8 bytes  little-endian double

so a list of numbers is an array with a stride of 11, which numpy reads in one step. What stands around the
lists is a few dozen bytes a text, walked here in Python (https://protobuf.dev/programming-guides/encoding/).
A list that is not of this shape is walked number by number; what cannot be read at all is a `Garbled`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perfkit.vertex.protocols import EmbedReply, Vector

__all__ = ["Garbled", "read_embedding", "read_predictions", "write_embedding", "write_predictions"]

_NUMBER: Final = np.dtype([("in_list", "<u2"), ("is_number", "u1"), ("value", "<f8")])
_IN_LIST: Final = 0x090A
_IS_NUMBER: Final = 0x11
_DOUBLE: Final = Struct("<d")

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
# A tag is a field's number and the kind of what follows.
_PREDICTION, _METADATA = 1 << 3 | _BYTES, 6 << 3 | _BYTES  # PredictResponse
_NUMBER_VALUE, _BOOL_VALUE = 2 << 3 | _EIGHT, 4 << 3 | _VARINT  # Value
_STRUCT_VALUE, _LIST_VALUE = 5 << 3 | _BYTES, 6 << 3 | _BYTES
_ENTRY, _KEY, _VALUE = 1 << 3 | _BYTES, 1 << 3 | _BYTES, 2 << 3 | _BYTES  # Struct, and its map's entries
_ITEM = 1 << 3 | _BYTES  # ListValue
_EMBEDDING, _USAGE, _TRUNCATED = 1 << 3 | _BYTES, 2 << 3 | _BYTES, 4 << 3 | _VARINT  # EmbedContentResponse
_FLOATS, _PROMPT_TOKENS = 1 << 3 | _BYTES, 1 << 3 | _VARINT  # Embedding, UsageMetadata

_Span = tuple[int, int]


class Garbled(ValueError):
    """The bytes are no such answer."""


def read_predictions(data: bytes) -> EmbedReply:
    """Return the vectors of a `PredictResponse` as they came, and the characters it bills.

    >>> sent = EmbedReply([Vector(np.array([0.5, -1], np.float32), token_count=3)], billable_characters=12)
    >>> reply = read_predictions(write_predictions(sent))
    >>> reply.vectors[0].values.tolist(), reply.vectors[0].token_count, reply.billable_characters
    ([0.5, -1.0], 3, 12)

    Raises:
        Garbled: these bytes are no answer with vectors.
    """
    vectors: list[Vector] = []
    billable = 0
    for tag, start, stop in _walk(data, 0, len(data)):
        if tag == _PREDICTION:
            vectors.append(_vector(data, start, stop))
        elif tag == _METADATA:
            billable = int(_number(data, _fields(data, (start, stop)).get(b"billableCharacterCount")))
    return EmbedReply(vectors, billable)


def read_embedding(data: bytes) -> EmbedReply:
    """Return the one vector of an `EmbedContentResponse`; its floats are packed, four bytes each.

    Raises:
        Garbled: these bytes are no answer with a vector.
    """
    values: NDArray[np.float32] | None = None
    tokens, truncated = 0, False
    for tag, start, stop in _walk(data, 0, len(data)):
        if tag == _EMBEDDING:
            packed = [span for inner, *span in _walk(data, start, stop) if inner == _FLOATS]
            if len(packed) != 1 or (packed[0][1] - packed[0][0]) % 4:
                raise Garbled("an embedding without packed floats")
            at, end = packed[0]
            values = np.frombuffer(data, np.dtype("<f4"), (end - at) // 4, at).astype(np.float32)
        elif tag == _USAGE:
            for inner, at, end in _walk(data, start, stop):
                if inner == _PROMPT_TOKENS:
                    tokens = _varint(data, at, end)[0]
        elif tag == _TRUNCATED:
            truncated = _varint(data, start, stop)[0] != 0
    if values is None:
        raise Garbled("no embedding")
    return EmbedReply([Vector(values, tokens, truncated)])


def write_predictions(reply: EmbedReply) -> bytes:
    """Return a `PredictResponse` as Vertex AI writes one for its text embedding models."""
    answer = bytearray()
    for vector in reply.vectors:
        statistics = _struct({b"token_count": _a_number(vector.token_count), b"truncated": _a_bool(vector)})
        values = _message(_LIST_VALUE, _numbers(vector.values))
        embeddings = _struct({b"values": values, b"statistics": statistics})
        answer += _message(_PREDICTION, _struct({b"embeddings": embeddings}))
    billable = _struct({b"billableCharacterCount": _a_number(reply.billable_characters)})
    answer += _message(_METADATA, billable)
    return bytes(answer)


def write_embedding(vector: Vector) -> bytes:
    """Return an `EmbedContentResponse`."""
    floats = vector.values.astype("<f4", copy=False).tobytes()
    answer = _message(_EMBEDDING, _message(_FLOATS, floats))
    answer += _message(_USAGE, bytes([_PROMPT_TOKENS]) + _as_varint(vector.token_count))
    return answer + (bytes([_TRUNCATED, 1]) if vector.truncated else b"")


def _vector(data: bytes, start: int, stop: int) -> Vector:
    embeddings = _fields(data, (start, stop)).get(b"embeddings")
    inner = _fields(data, embeddings)
    values = inner.get(b"values")
    if values is None:
        raise Garbled("a prediction without embeddings.values")
    statistics = _fields(data, inner.get(b"statistics"))
    return Vector(
        _floats(data, values),
        int(_number(data, statistics.get(b"token_count"))),
        _is_true(data, statistics.get(b"truncated")),
    )


def _floats(data: bytes, value: _Span) -> NDArray[np.float32]:
    """Return a Value's list of numbers: by stride where it has the usual shape, one by one otherwise."""
    spans = [(start, stop) for tag, start, stop in _walk(data, *value) if tag == _LIST_VALUE]
    if len(spans) != 1:
        raise Garbled("embeddings.values is no list")
    start, stop = spans[0]
    count, rest = divmod(stop - start, _NUMBER.itemsize)
    if not rest:
        numbers = np.frombuffer(data, _NUMBER, count, start)
        if (numbers["in_list"] == _IN_LIST).all() and (numbers["is_number"] == _IS_NUMBER).all():
            return numbers["value"].astype(np.float32)
    items = [(at, end) for tag, at, end in _walk(data, start, stop) if tag == _ITEM]
    return np.array([_number(data, item, needed=True) for item in items], np.float32)


def _fields(data: bytes, value: _Span | None) -> dict[bytes, _Span]:
    """Return where the values of a Value's struct are; nothing where it holds none."""
    found: dict[bytes, _Span] = {}
    if value is None:
        return found
    for tag, start, stop in _walk(data, *value):
        if tag != _STRUCT_VALUE:
            continue
        for inner, at, end in _walk(data, start, stop):
            if inner != _ENTRY:
                continue
            key, span = b"", None
            for part, first, last in _walk(data, at, end):
                if part == _KEY:
                    key = data[first:last]
                elif part == _VALUE:
                    span = (first, last)
            if span is not None:
                found[key] = span
    return found


def _number(data: bytes, value: _Span | None, *, needed: bool = False) -> float:
    if value is not None:
        for tag, start, _stop in _walk(data, *value):
            if tag == _NUMBER_VALUE:
                number: float = _DOUBLE.unpack_from(data, start)[0]
                return number
    if needed:
        raise Garbled("embeddings.values holds something else than numbers")
    return 0.0


def _is_true(data: bytes, value: _Span | None) -> bool:
    if value is None:
        return False
    return any(tag == _BOOL_VALUE and data[start] != 0 for tag, start, _stop in _walk(data, *value))


def _walk(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield each field's tag, and where its content starts and stops."""
    while at < end:
        tag = data[at]
        at += 1
        if tag >= 0x80:
            tag, at = _varint(data, at - 1, end)
        kind = tag & 7
        if kind == _BYTES:
            size, at = _varint(data, at, end)
            stop = at + size
        elif kind == _EIGHT:
            stop = at + 8
        elif kind == _VARINT:
            stop = _varint(data, at, end)[1]
        elif kind == _FOUR:
            stop = at + 4
        else:
            raise Garbled("a field of an unknown kind")
        if stop > end:
            raise Garbled("a field that is longer than what holds it")
        yield tag, at, stop
        at = stop


def _varint(data: bytes, at: int, end: int) -> _Span:
    value = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Garbled("a number without an end")


def _as_varint(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _message(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + _as_varint(len(content)) + content


def _struct(fields: dict[bytes, bytes]) -> bytes:
    entries: Iterable[bytes] = (
        _message(_ENTRY, _message(_KEY, key) + _message(_VALUE, value)) for key, value in fields.items()
    )
    return _message(_STRUCT_VALUE, b"".join(entries))


def _numbers(values: NDArray[np.float32] | Sequence[float]) -> bytes:
    numbers = np.empty(len(values), _NUMBER)
    numbers["in_list"], numbers["is_number"], numbers["value"] = _IN_LIST, _IS_NUMBER, values
    return numbers.tobytes()


def _a_number(value: float) -> bytes:
    return bytes([_NUMBER_VALUE]) + _DOUBLE.pack(value)


def _a_bool(vector: Vector) -> bytes:
    return bytes([_BOOL_VALUE, vector.truncated])
