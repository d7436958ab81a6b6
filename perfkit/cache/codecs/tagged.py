"""JSON with tags, for what has no other form: older versions wrote every tuple and all bytes so.

`{"$tuple": […]}`, `{"$bytes": "base64"}`, and `{"$dict": {…}}` around a dictionary that would look like one.
"""

from __future__ import annotations

import base64

from perfkit.cache.codecs.base import NotEncodable
from perfkit.cache.codecs.plain import ATOMS, endless, read_json, written_json

__all__ = ["TaggedJsonCodec"]

_TAGS = frozenset({"$tuple", "$bytes", "$dict"})


class TaggedJsonCodec:
    """Tuples or bytes beside an integer beyond 64 bits or half a surrogate pair.

    >>> TaggedJsonCodec().encode((2**64, b"x"))
    b'{"$tuple":[18446744073709551616,{"$bytes":"eA=="}]}'
    """

    kind, schema, compressible = b"T", b"", True

    def encode(self, value: object) -> bytes | None:
        """Return a value's JSON.

        Raises:
            NotEncodable: something inside would not come back as it is.
        """
        try:
            return written_json(_tagged(value))
        except RecursionError as error:
            raise endless(value) from error

    def decode(self, payload: bytes) -> object:
        """Return the value of its JSON."""
        return _untagged(read_json(payload))


def _tagged(value: object) -> object:
    kind = type(value)
    if kind in ATOMS:
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
