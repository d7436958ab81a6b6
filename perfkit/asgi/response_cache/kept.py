"""A response as it is kept: the form in which it travels to Redis, and the form in which it is served.

What is stored is a tuple of plain values, which every codec of the tiered cache takes; what is served has its
instants worked out on this process's clock, so that a hit parses nothing. One becomes the other where it
lies: the first request that finds the tuple in memory puts the `Kept` in its place.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, TypeAlias

from perfkit.asgi.head import Head
from perfkit.asgi.messages import Fields
from perfkit.asgi.response_cache.terms import terms_of
from perfkit.asgi.response_cache.vary import Variants
from perfkit.asgi.settings import AsgiSettings
from perfkit.clock import Clock

__all__ = ["Kept", "Stored", "keepable_fields", "opened", "written_response", "written_variants"]

Stored: TypeAlias = tuple[Any, ...]

_BYTES = frozenset({bytes})
_RESPONSE, _VARIANTS = "response/1", "variants/1"

_OF_THE_CONNECTION = frozenset(
    {b"age", b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authentication-info"}
    | {b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
"""Fields that are of one connection, or of one moment, and not of the response (RFC 9111 §3.1)."""


class Kept:
    """A stored response: status, fields without `Age`, the whole body before any coding of ours.

    `prepared` holds ready-made variants of whoever answers with it; it lives as long as the response is in
    this instance's memory and never reaches Redis.
    """

    __slots__ = (
        "body",
        "born_s",
        "etag",
        "fields",
        "for_all",
        "fresh_until_s",
        "if_error_until_s",
        "last_modified",
        "must_ask",
        "never_stale",
        "prepared",
        "rests_until_s",
        "status",
        "value",
        "while_renewed_until_s",
    )

    def __init__(self, value: Stored, settings: AsgiSettings, *, clock: Clock, epoch: Clock) -> None:
        _, self.status, lines, self.body, born_epoch_s, received_epoch_s = value
        self.value = value
        self.fields: Fields = list(zip(lines[::2], lines[1::2], strict=True))
        self.prepared: dict[Any, Any] = {}
        head = Head(self.status, self.fields)
        self.etag = head.get(b"etag")
        self.last_modified = head.get(b"last-modified")
        terms = terms_of(head, received_epoch_s, settings)
        self.born_s: float = clock() - (epoch() - born_epoch_s)
        self.rests_until_s = self.born_s
        self.must_ask = terms is None or terms.must_ask
        self.never_stale = terms is None or terms.never_stale
        self.for_all = terms is not None and terms.for_all
        end = self.born_s + (0.0 if terms is None else terms.lifetime_seconds)
        self.fresh_until_s = self.born_s if self.must_ask else end
        """The end of its freshness on the cache's clock; what must be asked about is never fresh."""
        self.while_renewed_until_s = end + (0.0 if terms is None else terms.stale_while_revalidate_seconds)
        self.if_error_until_s = end + (0.0 if terms is None else terms.stale_if_error_seconds)

    @property
    def can_be_validated(self) -> bool:
        """Whether the application can be asked if it is still true."""
        return self.etag is not None or self.last_modified is not None

    def __repr__(self) -> str:
        """Show what it is and not what it says, which may be private."""
        return f"Kept({self.status}, {len(self.body)} bytes)"


def keepable_fields(fields: Fields) -> Fields:
    """Return the fields that are kept: none of the connection, and none that `Connection` names.

    >>> keepable_fields([(b"connection", b"close, x-hop"), (b"x-hop", b"1"), (b"etag", b'"a"')])
    [(b'etag', b'"a"')]
    """
    away = set(_OF_THE_CONNECTION)
    for name, value in fields:
        if name == b"connection":
            away.update(token.strip(b" \t").lower() for token in value.split(b","))
    return [field for field in fields if field[0] not in away]


def written_response(
    status: int, fields: Fields, body: bytes, *, born_epoch_s: float, received_epoch_s: float
) -> Stored:
    """Return what is stored of a response that had age 0 at `born_epoch_s`."""
    return _RESPONSE, status, list(chain.from_iterable(fields)), body, born_epoch_s, received_epoch_s


def written_variants(variants: Variants) -> Stored:
    """Return what is stored of the names a target's answers vary by."""
    return _VARIANTS, list(variants.names), variants.generation


def opened(value: object, settings: AsgiSettings, *, clock: Clock, epoch: Clock) -> Kept | Variants | None:
    """Return what a stored value says; None for what no version known here has written."""
    match value:
        case Kept() | Variants():
            return value
        case (kind, int(), list() as lines, bytes(), float(), float()) if kind == _RESPONSE:
            if len(lines) % 2 or not _BYTES.issuperset(map(type, lines)):
                return None
            return Kept(value, settings, clock=clock, epoch=epoch)  # type: ignore[arg-type]  # a tuple of these
        case (kind, list() as names, str() as generation) if kind == _VARIANTS:
            if not _BYTES.issuperset(map(type, names)):
                return None
            return Variants(tuple(names), generation)
    return None
