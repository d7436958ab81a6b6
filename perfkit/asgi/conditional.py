"""Conditional requests (RFC 9110 §13): a client that has an answer already is told so, without the answer.

`If-None-Match` counts before `If-Modified-Since`, entity tags are compared weakly (§8.8.3.2), and both are
looked at only where the answer would be a 200 to a GET or HEAD. A list of tags that breaks the grammar
matches up to the break, and a date that is none is as if it were not there: the price of doubt is one body
too many, never a body too old.

Tags made here are weak. A weak tag outlives compression, which changes the bytes and not their meaning.
"""

from __future__ import annotations

from xxhash import xxh3_128_hexdigest

from perfkit.asgi.dates import epoch_s_of
from perfkit.asgi.head import Head
from perfkit.asgi.remembered import remembered
from perfkit.asgi.request import Request

__all__ = ["as_not_modified", "etag_of", "not_modified", "opaque_tags"]

_OF_A_NOT_MODIFIED = frozenset(
    {b"content-length", b"content-encoding", b"content-type", b"content-range", b"content-language"}
    | {b"transfer-encoding", b"trailer", b"content-md5", b"content-digest", b"repr-digest", b"digest"}
)
"""Fields that describe a body; a 304 has none, and would only repeat what the client knows."""


def etag_of(body: bytes) -> bytes:
    """Return a weak entity tag of a body, from its xxHash (XXH3, 128 bits).

    >>> etag_of(b"hello")
    b'W/"b5e9c1ad071b3e7fc779cfaa5e523818"'
    """
    return b'W/"%b"' % xxh3_128_hexdigest(body).encode("ascii")


def not_modified(request: Request, head: Head) -> bool:
    """Tell whether this 200 is to be a 304, because the client of a GET or HEAD has it already.

    >>> request = Request({"method": "GET", "headers": [(b"if-none-match", b'"a", W/"b"')]})
    >>> not_modified(request, Head(200, [(b"etag", b'"b"')]))
    True
    """
    if head.status != 200 or request.method not in ("GET", "HEAD"):
        return False
    wanted = request.get(b"if-none-match")
    if wanted is not None:
        tags = opaque_tags(wanted)
        if tags is None:
            return True
        own = head.get(b"etag")
        return own is not None and _opaque(own) in tags
    since = request.get(b"if-modified-since")
    if since is None:
        return False
    limit = epoch_s_of(since)
    if limit is None:
        return False
    changed = epoch_s_of(head.get(b"last-modified") or b"")
    return changed is not None and changed <= limit


def as_not_modified(head: Head) -> Head:
    """Return the head of the 304 in place of a 200: the fields that say what is kept and for how long.

    RFC 9110 §15.4.5 asks for `Cache-Control`, `Content-Location`, `Date`, `ETag`, `Expires` and `Vary`;
    what describes a body is left out, and so is `Last-Modified` beside an `ETag`.
    """
    away = _OF_A_NOT_MODIFIED
    if head.get(b"etag") is not None:
        away = away | {b"last-modified"}
    return Head(304, [field for field in head.fields if field[0] not in away])


@remembered(1_024)
def opaque_tags(value: bytes) -> frozenset[bytes] | None:
    """Return the tags of an `If-None-Match`, without what makes them weak; None for `*`, which any matches.

    >>> sorted(opaque_tags(b'"a", W/"b,c", broken'))
    [b'"a"', b'"b,c"']
    >>> opaque_tags(b"*") is None
    True
    """
    value = value.strip(b" \t")
    if value == b"*":
        return None
    tags, at, end = set(), 0, len(value)
    while at < end:
        while value[at : at + 1] in (b" ", b"\t", b","):
            at += 1
        begin = at + 2 if value[at : at + 2] == b"W/" else at
        close = value.find(b'"', begin + 1)
        if value[begin : begin + 1] != b'"' or close < 0:
            break
        tag, at = value[begin : close + 1], close + 1
        while value[at : at + 1] in (b" ", b"\t"):
            at += 1
        if value[at : at + 1] not in (b"", b","):
            break
        tags.add(tag)
    return frozenset(tags)


def _opaque(tag: bytes) -> bytes:
    return tag[2:] if tag[:2] == b"W/" else tag
