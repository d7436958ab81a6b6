"""On what terms a response may be kept: whether at all, and for how long (RFC 9111 §3, §4.2).

Freshness is what the response says, in this order: `CDN-Cache-Control` (RFC 9213), `s-maxage`, `max-age`,
`Expires` − `Date`. Nothing is guessed from `Last-Modified`. A public response that names no time gets that of
`asgi.response_cache_ttl_seconds`.

What belongs to one user is not kept: no `private`, no `Set-Cookie`, no answer to a request with
`Authorization` unless it says that it is for all (§3.5), and none to a request with `Cookie` unless it is
`public` or has an `s-maxage`, although the RFC would allow that: too many applications forget to say so.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfkit.asgi.cache_control import LONGEST_SECONDS, Directives, directives_of, targeted_directives_of
from perfkit.asgi.dates import epoch_s_of
from perfkit.asgi.head import Head
from perfkit.asgi.request import Request
from perfkit.asgi.settings import AsgiSettings

__all__ = ["Terms", "age_of", "may_be_shared", "terms_of"]

_UNDERSTOOD = frozenset({200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501})
"""Status codes whose rules of caching are known here (for `must-understand`, §5.2.2.3)."""

_NEVER = frozenset({206, 304})


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a response is fresh, counted from age 0, and what it allows past its end; in seconds."""

    lifetime_seconds: float
    stale_while_revalidate_seconds: float
    stale_if_error_seconds: float
    must_ask: bool
    """Not even a fresh one is served without asking (`no-cache`)."""
    never_stale: bool
    """It is not served past its end, whoever would take it so."""
    for_all: bool
    """It says that credentials in the request do not matter."""


def effective_directives(head: Head) -> Directives:
    """Return the directives a shared cache heeds: the targeted field's where it can be read."""
    targeted = targeted_directives_of(head.get(b"cdn-cache-control"))
    return directives_of(head.get(b"cache-control")) if targeted is None else targeted


def may_be_shared(request: Request, head: Head) -> bool:
    """Tell whether others may be given a response to this request, whatever its freshness."""
    status, get = head.status, request.get
    if status < 200 or status in _NEVER or head.get(b"set-cookie") is not None:
        return False
    said = effective_directives(head)
    if said.must_understand and status not in _UNDERSTOOD:
        return False
    if said.private or (said.no_store and not said.must_understand):
        return False
    shared = said.public or said.s_maxage is not None
    if get(b"authorization") is not None and not (shared or said.must_revalidate):
        return False
    if get(b"cookie") is not None and not shared:
        return False
    return not directives_of(get(b"cache-control")).no_store


def terms_of(head: Head, received_epoch_s: float, settings: AsgiSettings) -> Terms | None:
    """Return the terms of a response that may be shared; None when keeping it would serve nobody."""
    said = effective_directives(head)
    lifetime = _lifetime(head, said, received_epoch_s)
    if lifetime is None and said.public and settings.response_cache_ttl_seconds:
        lifetime = settings.response_cache_ttl_seconds
    if lifetime is None and not said.no_cache:
        return None
    must_ask = said.no_cache
    strict = must_ask or said.must_revalidate or said.proxy_revalidate
    bounded = strict or said.s_maxage is not None
    renew, error = said.stale_while_revalidate, said.stale_if_error
    return Terms(
        lifetime or 0.0,
        _stale_for(renew, strict, bounded, settings.response_cache_stale_while_revalidate_seconds),
        _stale_for(error, strict, bounded, settings.response_cache_stale_if_error_seconds),
        must_ask,
        bounded,
        said.public or said.s_maxage is not None or said.must_revalidate,
    )


def age_of(head: Head, asked_epoch_s: float, received_epoch_s: float) -> float:
    """Return how old a response was when it was received (§4.2.3); an age that cannot be read is great."""
    value = head.get(b"age")
    age = 0.0
    if value is not None:
        if not value.isdigit():
            return float(LONGEST_SECONDS)
        age = float(min(int(value[:20]), LONGEST_SECONDS)) + received_epoch_s - asked_epoch_s
    date = epoch_s_of(head.get(b"date") or b"")
    apparent = 0.0 if date is None else received_epoch_s - date
    return max(age, apparent if apparent >= 1 else 0.0, 0.0)  # a date has no fractions of a second


def _lifetime(head: Head, said: Directives, received_epoch_s: float) -> float | None:
    seconds = said.max_age if said.s_maxage is None else said.s_maxage
    if seconds is not None:
        return float(seconds)
    expires = head.get(b"expires")
    if expires is None or targeted_directives_of(head.get(b"cdn-cache-control")) is not None:
        return None
    end = epoch_s_of(expires)
    if end is None:
        return 0.0
    date = epoch_s_of(head.get(b"date") or b"")
    return max(end - (received_epoch_s if date is None else date), 0.0)


def _stale_for(said: int | None, strict: bool, bounded: bool, default: float) -> float:
    """Return how long past its end: as the response says, else as the knob says where nothing forbids it."""
    if strict:
        return 0.0
    if said is not None:
        return float(said)
    return 0.0 if bounded else default
