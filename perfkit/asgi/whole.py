"""What is done to a body that is known as a whole, before it is coded: fields, entity tag, 304."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.asgi.conditional import etag_of, not_modified
from perfkit.asgi.fields import as_filtered
from perfkit.asgi.head import Head
from perfkit.asgi.request import Request

if TYPE_CHECKING:
    from perfkit.asgi.fields import Mask
    from perfkit.asgi.stages import Stages

__all__ = ["WITHOUT_BODY", "filtered", "form_of", "has_body", "is_not_modified", "tag"]

WITHOUT_BODY = frozenset({204, 205, 304})
_SAFE = frozenset({"GET", "HEAD"})


def has_body(request: Request, head: Head) -> bool:
    """Tell whether a response has a body at all (RFC 9110 §6.4.1)."""
    return request.method != "HEAD" and head.status >= 200 and head.status not in WITHOUT_BODY


def form_of(stages: Stages, head: Head) -> str:
    """Return how a response's fields can be filtered: `json`, `lines`, or "" for not at all."""
    return "" if stages.fields is None else stages.fields.form_of(head)


def filtered(stages: Stages, mask: Mask, head: Head, body: bytes) -> bytes:
    """Return a body of the wanted fields alone, its head changed to match; or the body, if that fails."""
    form = form_of(stages, head)
    if not form or (form == "json" and len(body) > stages.fields_max_bytes):  # lines are bounded one by one
        return body
    fewer = mask.apply(body) if form == "json" else mask.lines().end(body)
    if fewer is None:
        return body
    as_filtered(head)
    head.set(b"content-length", b"%d" % len(fewer))
    return fewer


def tag(request: Request, head: Head, body: bytes) -> None:
    """Give the body of a 200 its entity tag, unless the application did or nobody may keep it."""
    if (
        head.get(b"etag") is None
        and request.method in _SAFE
        and b"no-store" not in (head.get(b"cache-control") or b"")
    ):
        head.set(b"etag", etag_of(body))


def is_not_modified(request: Request, head: Head) -> bool:
    """Tell whether the client has this 200 already (RFC 9110 §13.2.2)."""
    get = request.get
    return (
        (get(b"if-none-match") is not None or get(b"if-modified-since") is not None)
        and request.method in _SAFE
        and not_modified(request, head)
    )
