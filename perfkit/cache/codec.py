"""Values to bytes and back: what was put in comes out, of the same types, or is refused on the way in.

Never pickle: whoever can write to Redis could then run code here. JSON alone would silently turn a tuple
into a list and a dictionary's 1 into "1", so that a value changed its type when it came from Redis and not
from memory. So a value is looked through first:

    kind B  bytes, as they are
    kind J  plain JSON: None, bool, int, float, str, lists, dictionaries with text keys
    kind T  JSON with tags, where tuples or bytes stand inside: {"$tuple": […]}, {"$bytes": "base64"}, and
            {"$dict": {…}} around a dictionary that would look like a tag

Compression is Brotli at quality 4 (RFC 7932), from a size on, and only where it makes the payload smaller.
"""

from __future__ import annotations

import base64
import json

import brotli  # type: ignore[import-untyped]  # the wheel ships no type information

from perfkit.cache.entry import TornEnvelope

__all__ = ["NotEncodable", "decode", "encode"]

_ATOMS = frozenset({type(None), bool, int, float, str})
_TAGS = frozenset({"$tuple", "$bytes", "$dict"})
_BROTLI_QUALITY = 4


class NotEncodable(TypeError):
    """A value of a type that would not come back the same; the remote tier leaves it to the memory tier."""


def encode(value: object, *, compress_min_bytes: int) -> tuple[bytes, bytes, bytes]:
    """Return the kind, the compression and the payload of a value.

    Raises:
        NotEncodable: the value holds something else than the types named above.

    >>> encode({"a": [1, 2.5, None]}, compress_min_bytes=4096)
    (b'J', b'-', b'{"a":[1,2.5,null]}')
    >>> decode(*encode(("a", b"b"), compress_min_bytes=4096))
    ('a', b'b')
    """
    kind, payload = (b"B", value) if type(value) is bytes else _as_json(value)
    if len(payload) >= compress_min_bytes:
        smaller = brotli.compress(payload, quality=_BROTLI_QUALITY)
        if len(smaller) < len(payload):
            return kind, b"b", smaller
    return kind, b"-", payload


def decode(kind: bytes, compression: bytes, payload: bytes) -> object:
    """Return the value that `encode` was given.

    Raises:
        TornEnvelope: no `encode` of this version could have written these bytes.
    """
    try:
        if compression == b"b":
            payload = brotli.decompress(payload)
        elif compression != b"-":
            raise TornEnvelope(f"compression {compression!r} is not known")
        if kind == b"B":
            return payload
        if kind not in (b"J", b"T"):
            raise TornEnvelope(f"kind {kind!r} is not known")
        text = payload.decode("utf-8", "surrogatepass")
        tree: object = json.loads(text)
        return _untagged(tree) if kind == b"T" else tree
    except TornEnvelope:
        raise
    except (ValueError, TypeError, RecursionError, brotli.error) as error:
        raise TornEnvelope(f"{len(payload)} bytes of kind {kind!r} cannot be decoded: {error}") from error


def _as_json(value: object) -> tuple[bytes, bytes]:
    try:
        plain = _is_plain(value)
        tree = value if plain else _tagged(value)
        text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError) as error:
        raise NotEncodable(f"{type(value).__name__} cannot be written as JSON: {error}") from error
    return b"J" if plain else b"T", text.encode("utf-8", "surrogatepass")


def _is_plain(value: object) -> bool:
    """Tell whether JSON brings the value back as it is, by exact types: subclasses would come back bare."""
    kind = type(value)
    if kind in _ATOMS:
        return True
    if isinstance(value, list) and kind is list:
        return all(map(_is_plain, value))
    if isinstance(value, dict) and kind is dict:
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    return False


def _tagged(value: object) -> object:
    kind = type(value)
    if kind in _ATOMS:
        return value
    if isinstance(value, list) and kind is list:
        return [_tagged(item) for item in value]
    if isinstance(value, tuple) and kind is tuple:
        return {"$tuple": [_tagged(item) for item in value]}
    if isinstance(value, bytes) and kind is bytes:
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict) and kind is dict and all(type(key) is str for key in value):
        tree = {key: _tagged(item) for key, item in value.items()}
        return {"$dict": tree} if len(tree) == 1 and not _TAGS.isdisjoint(tree) else tree
    raise NotEncodable(
        f"a {kind.__module__}.{kind.__qualname__} would not come back from Redis as it is; "
        "cache None, bool, int, float, str, bytes, lists, tuples and dictionaries with text keys"
    )


def _untagged(tree: object) -> object:
    """Undo `_tagged`, outermost first, so that what stands in a `$dict` is not taken for a tag."""
    if isinstance(tree, list):
        return [_untagged(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        match tree:
            case {"$tuple": list(items)}:
                return tuple(_untagged(item) for item in items)
            case {"$bytes": str(text)}:
                return base64.b64decode(text, validate=True)
            case {"$dict": dict(inner)}:
                tree = inner
    return {key: _untagged(item) for key, item in tree.items()}
