"""What `Cache-Status` says of a request (RFC 9211), by the name of `perfkit`."""

from __future__ import annotations

__all__ = [
    "BYPASS",
    "METHOD",
    "REQUEST",
    "STALE",
    "URI_MISS",
    "VARY_MISS",
    "collapsed",
    "forwarded",
    "hit",
    "not_forwarded",
]

BYPASS, METHOD, REQUEST, STALE = b"bypass", b"method", b"request", b"stale"
URI_MISS, VARY_MISS = b"uri-miss", b"vary-miss"


def hit(ttl_seconds: float) -> bytes:
    """Return the words for an answer that was kept, fresh for so long still; a negative time is a stale one.

    >>> hit(57.9), hit(-3.2)
    (b'perfkit; hit; ttl=57', b'perfkit; hit; ttl=-3')
    """
    return b"perfkit; hit; ttl=%d" % ttl_seconds


def forwarded(why: bytes, *, status: int = 0, stored: bool = False) -> bytes:
    """Return the words for an answer of the application.

    >>> forwarded(STALE, status=304, stored=True)
    b'perfkit; fwd=stale; fwd-status=304; stored'
    """
    value = b"perfkit; fwd=" + why
    if status:
        value += b"; fwd-status=%d" % status
    return value + b"; stored" if stored else value


def collapsed(why: bytes) -> bytes:
    """Return the words for an answer of the application to another request, which this one waited for."""
    return b"perfkit; fwd=" + why + b"; collapsed"


def not_forwarded() -> bytes:
    """Return the words for a request that wanted a kept answer or none."""
    return b"perfkit; detail=only-if-cached"
