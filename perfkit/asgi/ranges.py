"""Parts of a stored response (RFC 9110 §14): a client that has some of the bytes fetches the others.

One range is answered as it is, several as `multipart/byteranges`. What makes the answer larger than the whole
is refused by sending the whole: many ranges, ranges that overlap, a part list that is longer than the body.
A `Range` that breaks the grammar, or counts in another unit than bytes, is ignored (§14.2), and so is one
whose `If-Range` does not name this very representation, strongly (§13.1.5).
"""

from __future__ import annotations

from itertools import pairwise

from xxhash import xxh3_64_hexdigest

from perfkit.asgi.dates import epoch_s_of
from perfkit.asgi.head import Head
from perfkit.asgi.remembered import remembered
from perfkit.asgi.request import Request

__all__ = ["ranged"]

_RANGES_AT_MOST = 16
_LONGEST_DIGITS = 18

_Span = tuple[int, int]
"""The first byte, and the one after the last."""


def ranged(request: Request, head: Head, body: bytes) -> tuple[Head, bytes] | None:
    """Return the 206 or 416 in place of a whole 200, or None where the whole is to be sent.

    >>> request = Request({"method": "GET", "headers": [(b"range", b"bytes=-3")]})
    >>> part, some = ranged(request, Head(200, []), b"0123456789")
    >>> part.status, some, part.get(b"content-range")
    (206, b'789', b'bytes 7-9/10')
    """
    if request.method != "GET" or head.status != 200:
        return None
    wanted = request.get(b"range")
    asked = None if wanted is None else _asked(wanted)
    if asked is None or not _is_this(request.get(b"if-range"), head):
        return None
    if head.get(b"accept-ranges") == b"none":
        return None
    size = len(body)
    spans = [span for first, last in asked if (span := _span(first, last, size)) is not None]
    if not spans:
        return _not_satisfiable(head, size)
    if len(spans) > 1 and _wasteful(spans, size):
        return None
    part = Head(206, head.fields)
    part.drop(b"content-digest", b"content-md5", b"digest")
    if len(spans) == 1:
        first, end = spans[0]
        part.set(b"content-range", b"bytes %d-%d/%d" % (first, end - 1, size))
        some = body[first:end]
    else:
        some = _several(part, spans, body)
    part.set(b"content-length", b"%d" % len(some))
    return part, some


@remembered(256)
def _asked(value: bytes) -> tuple[tuple[int | None, int | None], ...] | None:
    """Return the first and last positions asked for; None for what is no list of byte ranges."""
    unit, equals, ranges = value.strip(b" \t").partition(b"=")
    if unit.lower() != b"bytes" or not equals:
        return None
    asked: list[tuple[int | None, int | None]] = []
    for piece in ranges.split(b","):
        piece = piece.strip(b" \t")
        if not piece:
            continue
        first, dash, last = piece.partition(b"-")
        digits = (first or b"0") + (last or b"0")
        if not dash or not digits.isdigit() or not (first or last) or len(digits) > 2 * _LONGEST_DIGITS:
            return None
        begin, end = int(first) if first else None, int(last) if last else None
        if begin is not None and end is not None and begin > end:
            return None
        asked.append((begin, end))
    return tuple(asked) if 0 < len(asked) <= _RANGES_AT_MOST else None


def _span(first: int | None, last: int | None, size: int) -> _Span | None:
    if first is None:  # the last so many bytes
        return (max(size - (last or 0), 0), size) if last and size else None
    if first >= size:
        return None
    return first, size if last is None else min(last + 1, size)


def _wasteful(spans: list[_Span], size: int) -> bool:
    """Tell whether ranges overlap or ask for more than there is: nobody needs that, and it is an attack."""
    ordered = sorted(spans)
    overlap = any(end > first for (_, end), (first, _) in pairwise(ordered))
    return overlap or sum(end - first for first, end in spans) >= size


def _several(part: Head, spans: list[_Span], body: bytes) -> bytes:
    """Return the parts as one body, and name their boundary in the head."""
    boundary = xxh3_64_hexdigest(body).encode("ascii")
    kind, size = part.get(b"content-type"), len(body)
    pieces = []
    for first, end in spans:
        described = b"" if kind is None else b"content-type: %b\r\n" % kind
        place = b"content-range: bytes %d-%d/%d" % (first, end - 1, size)
        pieces.append(b"\r\n--%b\r\n%b%b\r\n\r\n%b" % (boundary, described, place, body[first:end]))
    part.set(b"content-type", b"multipart/byteranges; boundary=" + boundary)
    return b"".join(pieces) + b"\r\n--%b--\r\n" % boundary


def _not_satisfiable(head: Head, size: int) -> tuple[Head, bytes]:
    kept = (b"date", b"server", b"vary", b"etag", b"cache-control")
    refused = Head(416, [field for field in head.fields if field[0] in kept])
    refused.set(b"content-range", b"bytes */%d" % size)
    refused.set(b"content-length", b"0")
    return refused, b""


def _is_this(condition: bytes | None, head: Head) -> bool:
    """Tell whether an `If-Range` names this representation: by a strong tag, or by the very date."""
    if condition is None:
        return True
    if condition[:1] == b'"':
        return condition == head.get(b"etag")
    changed, date = epoch_s_of(condition), head.get(b"date")
    if changed is None or condition != head.get(b"last-modified") or date is None:
        return False
    sent = epoch_s_of(date)
    return sent is not None and sent - changed >= 1  # else it may have changed within the second (§8.8.2.2)
