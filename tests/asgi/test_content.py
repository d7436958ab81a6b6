"""Which media types are worth compressing, and which must not wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.asgi.content import content_of, streams_at_once

SHRINKS = [
    "text/html",
    "text/plain",
    "text/css",
    "text/csv",
    "text/event-stream",
    "text/markdown",
    "text/x-anything",
    "application/json",
    "application/problem+json",
    "application/vnd.api+json",
    "application/ld+json",
    "application/geo+json-seq",
    "application/ndjson",
    "application/x-ndjson",
    "application/jsonl",
    "application/json-seq",
    "application/javascript",
    "application/xml",
    "application/xhtml+xml",
    "application/atom+xml",
    "image/svg+xml",
    "application/wasm",
    "application/x-protobuf",
    "application/protobuf",
    "application/vnd.google.protobuf",
    "application/yaml",
    "application/openmetrics-text",
    "font/ttf",
    "font/otf",
    "application/vnd.ms-fontobject",
    "image/bmp",
    "image/x-icon",
    "application/manifest+json",
    "application/connect+json",
]
LEFT = [
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/gif",
    "video/mp4",
    "audio/mpeg",
    "application/zip",
    "application/gzip",
    "application/zstd",
    "application/x-7z-compressed",
    "application/pdf",
    "application/octet-stream",
    "font/woff",
    "font/woff2",
    "application/grpc",
    "application/grpc+proto",
    "application/grpc+json",
    "application/grpc-web",
    "application/grpc-web+proto",
    "multipart/form-data",
    "multipart/byteranges",
    "multipart/x-mixed-replace",
    "application/epub+zip",
    "application/x-unheard-of",
    "model/gltf-binary",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
]


@pytest.mark.parametrize("media", SHRINKS)
@pytest.mark.parametrize("form", ["{}", "{}; charset=utf-8", "{};charset=utf-8", " {} ; a=b"])
def test_what_shrinks_is_known_by_its_structure(media: str, form: str) -> None:
    """In any letters, with any parameters."""
    assert content_of(form.format(media).encode()).compressible
    assert content_of(form.format(media).upper().encode()).compressible


@pytest.mark.parametrize("media", LEFT)
def test_what_is_packed_framed_or_unknown_is_left(media: str) -> None:
    """Compressing it costs time and gains nothing, or breaks it."""
    assert not content_of(media.encode()).compressible


@pytest.mark.parametrize(
    "value", [b"", b"json", b"/", b"text/", b"/html", b"text", b"x" * 300, b"\xff\xfe/\x00"]
)
def test_what_is_no_media_type_is_left(value: bytes | None) -> None:
    """Unknown means no."""
    assert not content_of(value).compressible
    assert not streams_at_once(value)


@pytest.mark.parametrize(
    ("media", "at_once"),
    [
        (b"text/event-stream", True),
        (b"Text/Event-Stream; charset=utf-8", True),
        (b"application/x-ndjson", True),
        (b"application/jsonl", True),
        (b"application/json-seq", True),
        (b"application/geo+json-seq", True),
        (b"multipart/x-mixed-replace; boundary=x", True),
        (b"application/json", False),
        (b"text/html", False),
    ],
)
def test_messages_that_mean_something_alone_do_not_wait(media: bytes, at_once: bool) -> None:
    """Events and lines are read one by one; a page is not."""
    assert streams_at_once(media) is at_once


@given(st.binary(max_size=60))
def test_any_bytes_are_judged(value: bytes) -> None:
    """And never lead to an error."""
    assert content_of(value).compressible in (True, False)


def test_what_has_no_media_type_is_tried() -> None:
    """Nothing is said against it, and what does not shrink is sent as it is."""
    content = content_of(None)
    assert content.compressible
    assert not content.at_once
