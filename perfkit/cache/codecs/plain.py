"""Bytes, and JSON: what a person with redis-cli, or a program in another language, reads at once.

JSON would silently turn a tuple into a list and a dictionary's 1 into "1". So a value is looked through
first, by exact types, since an instance of a subclass would come back bare. Most is then written and read by
msgspec; what msgspec does not bring back (NaN, infinities, halves of surrogate pairs) by `json`, whose JSON
is Python's own. Either reads what the other wrote.
"""

from __future__ import annotations

import json
import math

import msgspec

from perfkit.cache.codecs.base import NotEncodable

__all__ = ["ATOMS", "BytesCodec", "JsonCodec", "read_json", "written_json"]

ATOMS = frozenset({type(None), bool, int, float, str})
"""The types JSON has itself."""

_TEXT = frozenset({str})
_ROUND = ATOMS - {float}
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


class BytesCodec:
    """Bytes, as they are."""

    kind, schema, compressible = b"B", b"", True

    def encode(self, value: object) -> bytes | None:
        """Return the bytes themselves."""
        return value if type(value) is bytes else None

    def decode(self, payload: bytes) -> object:
        """Return the bytes themselves."""
        return payload


class JsonCodec:
    """None, bool, int, float, str, and lists and dictionaries with text keys of them.

    >>> JsonCodec().encode({"a": [1, 2.5, None]})
    b'{"a":[1,2.5,null]}'
    >>> JsonCodec().encode({"a": (1, 2)}) is None
    True
    """

    kind, schema, compressible = b"J", b"", True

    def encode(self, value: object) -> bytes | None:
        """Return a value's JSON, or None where JSON would not bring it back as it is."""
        try:
            return written_json(value) if _is_plain(value) else None
        except RecursionError as error:
            raise endless(value) from error

    def decode(self, payload: bytes) -> object:
        """Return the value of its JSON."""
        return read_json(payload)


def written_json(value: object) -> bytes:
    """Return the JSON of what JSON has types for."""
    try:
        text = _encoder.encode(value)
        if b"null" not in text or _is_finite(value):  # msgspec writes null for what is not finite
            return text
    except UnicodeEncodeError:
        pass  # half a surrogate pair
    except (ValueError, OverflowError) as error:
        raise _not_json(value, error) from error
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    except ValueError as error:
        raise _not_json(value, error) from error


def read_json(payload: bytes) -> object:
    """Return the value of JSON, Python's own included."""
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        value: object = json.loads(payload.decode("utf-8", "surrogatepass"))
        return value


def endless(value: object) -> NotEncodable:
    """Return the refusal of a value that contains itself."""
    return NotEncodable(
        f"a {type(value).__name__} cannot be written as JSON: it contains itself, or is nested too deep"
    )


def _not_json(value: object, error: Exception) -> NotEncodable:
    return NotEncodable(f"{type(value).__name__} cannot be written as JSON: {error}")


def _is_plain(value: object) -> bool:
    """Tell whether JSON brings the value back as it is. Whole lists are looked through at once, in C."""
    kind = type(value)
    if kind in ATOMS:
        return True
    if isinstance(value, dict) and kind is dict:
        if value and set(map(type, value)) != _TEXT:
            return False
        inside = value.values()
    elif isinstance(value, list) and kind is list:
        inside = value  # type: ignore[assignment]  # any iterable will do
    else:
        return False
    others = set(map(type, inside)) - ATOMS
    if not others:
        return True
    if not others <= {list, dict}:
        return False
    return all(_is_plain(item) for item in inside if type(item) not in ATOMS)


def _is_finite(value: object) -> bool:
    """Tell whether no float in a plain value is NaN or infinite."""
    if type(value) is float:
        return math.isfinite(value)
    if not isinstance(value, list | dict):
        return True
    inside = value.values() if isinstance(value, dict) else value
    for item in inside:
        kind = type(item)
        if kind is float:
            if not math.isfinite(item):
                return False
        elif kind not in _ROUND and not _is_finite(item):
            return False
    return True
