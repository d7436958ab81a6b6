"""What a media type says of a body: whether compressing it is worth the work, and whether it may wait.

The list is of what may be compressed, by structure and not by name: all `text/*`, whatever ends in `+json`,
`+xml` or another text syntax (RFC 6839), and the few that are text or loose binary without saying so. What is
packed already (images, video, zip, woff2) would cost time and grow; a type nobody knows may be either, and is
left alone. gRPC frames its messages and compresses them itself, so a coding around them is never welcome.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["Content", "content_of", "streams_at_once"]

_LONGEST_BYTES: Final = 256

_SUFFIXES: Final = frozenset(("json", "xml", "yaml", "json-seq", "protobuf", "wasm", "cbor", "text"))
_JSON: Final = frozenset(
    (
        "application/json",
        "application/jsonl",
        "application/jsonlines",
        "application/json-seq",
        "application/ndjson",
        "application/x-jsonlines",
        "application/x-ndjson",
    )
)
_TEXT: Final = _JSON | frozenset(
    (
        "application/ecmascript",
        "application/graphql",
        "application/javascript",
        "application/n-quads",
        "application/n-triples",
        "application/openmetrics-text",
        "application/rtf",
        "application/sparql-query",
        "application/sql",
        "application/toml",
        "application/trig",
        "application/x-javascript",
        "application/x-sh",
        "application/x-tex",
        "application/x-yaml",
        "application/xml",
        "application/xml-dtd",
        "application/yaml",
    )
)
_BINARY: Final = frozenset(
    (
        "application/cbor",
        "application/connect+proto",
        "application/font-sfnt",
        "application/msgpack",
        "application/proto",
        "application/protobuf",
        "application/vnd.apache.arrow.stream",
        "application/vnd.google.protobuf",
        "application/vnd.mapbox-vector-tile",
        "application/vnd.ms-fontobject",
        "application/vnd.msgpack",
        "application/wasm",
        "application/x-font-otf",
        "application/x-font-ttf",
        "application/x-msgpack",
        "application/x-protobuf",
        "font/collection",
        "font/otf",
        "font/sfnt",
        "font/ttf",
        "image/bmp",
        "image/vnd.microsoft.icon",
        "image/x-icon",
        "image/x-ms-bmp",
    )
)
_AT_ONCE: Final = frozenset(
    (
        "application/json-seq",
        "application/jsonl",
        "application/jsonlines",
        "application/ndjson",
        "application/stream+json",
        "application/x-jsonlines",
        "application/x-ndjson",
        "multipart/x-mixed-replace",
        "text/event-stream",
        "text/jsonl",
        "text/x-ndjson",
    )
)


class Content(NamedTuple):
    """What a media type says of a body."""

    compressible: bool
    """Whether compressing such a body is worth a try."""
    text: bool
    """Whether it is made of words, not of machine data."""
    json: bool
    """Whether it is JSON, of one value or of many, and so may be full of numbers."""
    at_once: bool
    """Whether each message means something by itself and must not wait for the next one."""


_UNKNOWN: Final = Content(compressible=False, text=False, json=False, at_once=False)
_UNSAID: Final = _UNKNOWN._replace(compressible=True)


def content_of(content_type: bytes | None) -> Content:
    """Return what the value of a `Content-Type` says; nothing good when it is unknown or unreadable.

    Where there is none, nothing is said against trying.

    >>> content_of(b"application/problem+json; charset=utf-8").compressible
    True
    >>> content_of(b"image/png").compressible, content_of(b"application/grpc+json").compressible
    (False, False)
    """
    if content_type is None:
        return _UNSAID
    if len(content_type) > _LONGEST_BYTES:
        return _UNKNOWN
    return _content(content_type)


def streams_at_once(content_type: bytes | None) -> bool:
    """Return whether a response's head is to be sent at once, and each message as soon as it is there.

    >>> streams_at_once(b"text/event-stream"), streams_at_once(b"application/json")
    (True, False)
    """
    return content_of(content_type).at_once


@lru_cache(maxsize=512)
def _content(content_type: bytes) -> Content:
    media = content_type.partition(b";")[0].decode("latin-1").strip(" \t").lower()
    kind, slash, name = media.partition("/")
    if not slash or not name or name.startswith("grpc"):
        return _UNKNOWN
    suffix = name.rpartition("+")[2] if "+" in name else ""
    json = media in _JSON or suffix in ("json", "json-seq") or name in ("json", "jsonl", "x-ndjson")
    text = json or kind == "text" or media in _TEXT or suffix in ("xml", "yaml", "text")
    compressible = text or suffix in _SUFFIXES or media in _BINARY
    return Content(compressible, text, json, media in _AT_ONCE or suffix == "json-seq")
