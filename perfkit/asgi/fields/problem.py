"""The answer to a request whose choice of fields cannot be read: problem details, RFC 9457."""

from __future__ import annotations

import json

from perfkit.asgi.head import Head
from perfkit.errors import FieldsError

__all__ = ["problem"]


def problem(error: FieldsError) -> tuple[Head, bytes]:
    """Return a 400 that says what is wrong and where (`position` counts characters of the value from 0).

    It repeats nothing the client sent, so it is safe to show wherever it lands.

    >>> head, body = problem(FieldsError("At position 0 of the chosen fields a name is missing.", position=0))
    >>> head.status, head.get(b"content-type"), json.loads(body)["detail"]
    (400, b'application/problem+json', 'At position 0 of the chosen fields a name is missing.')
    """
    body = json.dumps(
        {
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": str(error),
            "position": error.position,
        },
        separators=(",", ":"),
    ).encode()
    fields = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    return Head(400, fields), body
