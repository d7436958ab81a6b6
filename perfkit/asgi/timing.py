"""How long answers took: told to the client in two fields, and to whoever reads the counts.

Fields travel before the body, so `X-Response-Time` and `Server-Timing` can say only when the response began.
The counts hear of its end: the last message of the body, however long that streams. What an application does
after it (background tasks) is no part of the duration; nobody waits for it.

`X-Response-Time` has no standard. The form here is milliseconds with their unit, `12.34ms`, as Express's
`response-time` has it; like there, an application that has set it is not contradicted. `Server-Timing` is the
W3C's (https://www.w3.org/TR/server-timing/), which browsers show: the application's own metrics come first,
then what the response cache did, then `app`, and last which settings the answer was made under. An answer out
of the cache has no `app`, for it was not asked; the time stands with `cache`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from perfkit.asgi.counts import RequestCounts
from perfkit.asgi.head import Head
from perfkit.asgi.request import Request
from perfkit.asgi.route_template import RouteTemplates
from perfkit.asgi.settings import AsgiSettings
from perfkit.clock import Clock, now_s

__all__ = ["Timing", "error_type"]

_TOLD: Final = b"x-response-time"
_METRICS: Final = b"server-timing"
_FROM_CACHE: Final = frozenset(("hit", "stale"))
_REASONS: Final = {
    "bypass": "bypass",
    "method": "method",
    "miss": "miss",
    "partial": "partial",
    "request": "request",
    "stale": "expired",
    "uri-miss": "miss",
    "vary-miss": "miss",
}
"""What `fwd` gives as reason, in the words of caches' logs."""


class Timing:
    """The first stage of a request and the last of its response; one a middleware.

    >>> now = iter([10.0, 10.0125, 10.5])
    >>> timing = Timing(AsgiSettings(), fingerprint="0b7e", clock=lambda: next(now))
    >>> request = Request({"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": []})
    >>> head, started = Head(200, []), timing.begin(request)
    >>> timing.head(head, started)
    >>> [value for _name, value in head.fields]
    [b'12.50ms', b'app;dur=12.50, perfkit;desc="0b7e"']
    >>> timing.end(request, head.status, started, sent_bytes=2)
    >>> [series.duration_sum_s for series in timing.counts.series.values()]
    [0.5]

    Args:
        settings: With `track_response_time` off all three methods do nothing.
        fingerprint: Of the settings the service runs with, as `Settings.fingerprint` is; "" is not told.
        clock: Shows seconds.
        counts: Where responses are counted; default: counts of its own.
    """

    __slots__ = ("_begin", "_clock", "_find", "_found", "_on", "_settings", "_template", "counts")

    def __init__(
        self,
        settings: AsgiSettings,
        *,
        fingerprint: str = "",
        clock: Clock = now_s,
        counts: RequestCounts | None = None,
    ) -> None:
        self._clock = clock
        self._on = settings.track_response_time
        self._settings = b', perfkit;desc="%b"' % fingerprint.encode("ascii") if fingerprint else b""
        self._template = RouteTemplates().of
        self.counts = RequestCounts() if counts is None else counts
        self._begin, self._find, self._found = self.counts.begin, self.counts.find, self.counts.found

    def begin(self, request: Request) -> float:
        """Count a request that has come, and return when that was."""
        if not self._on:
            return 0.0
        self._begin(request.method, request.scheme)
        return self._clock()

    def head(self, head: Head, started: float, cache: bytes = b"") -> None:
        """Say in a head how long the response took to begin.

        Args:
            head: Is changed.
            started: What `begin` returned.
            cache: The value of `Cache-Status`; b"" where there is no response cache.
        """
        if not self._on:
            return
        known, fields = head.get, head.fields
        hundredths = int((self._clock() - started) * 1e5 + 0.5)
        if cache:
            word = _in_a_word(cache)
            self.counts.cache[word] = self.counts.cache.get(word, 0) + 1
            told, metrics = _told(hundredths, self._settings, word)
        else:
            told, metrics = _told(hundredths, self._settings)
        # The last stage: nobody will ask this head by name, so what is new is put in its place and no more.
        if known(_TOLD) is None:
            fields.append(told)
        if (own := known(_METRICS)) is None:
            fields.append(metrics)
        else:
            head.fields = [field for field in fields if field[0] != _METRICS]
            head.fields.append((_METRICS, own + b", " + metrics[1]))

    def end(self, request: Request, status: int, started: float, sent_bytes: int, error: str = "") -> None:
        """Count a response that has ended: once, at the last message of the body, or when none will come.

        Args:
            request: Its scope is the one the application was given, which holds the route it found.
            status: As it was sent; 500 where the application raised before, 0 where the client left before.
            started: What `begin` returned.
            sent_bytes: Of the body, as it travelled.
            error: `error_type` of what was raised, also after the start.
        """
        if not self._on:
            return
        took_s = self._clock() - started
        scope = request.scope
        version = scope.get("http_version", "1.1")
        put = (request.method, request.scheme, status, self._template(scope), version, error)
        series = self._found.get(put)
        (self._find(put) if series is None else series).add(took_s, sent_bytes)


def error_type(error: BaseException) -> str:
    """Return the `error.type` of an exception: its class, with the module where it is no builtin.

    >>> error_type(ValueError("no")), error_type(TimeoutError())
    ('ValueError', 'TimeoutError')
    """
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


@lru_cache(maxsize=1024)
def _told(
    hundredths: int, settings: bytes, cache: str = ""
) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """Return both fields. Formatting takes longer than all else here, and fast answers take alike."""
    took_ms = b"%.2f" % (hundredths / 100)
    if not cache:
        metrics = b"app;dur=%b" % took_ms
    elif cache in _FROM_CACHE:
        metrics = b"cache;desc=%b;dur=%b" % (cache.encode(), took_ms)
    else:
        metrics = b"cache;desc=%b, app;dur=%b" % (cache.encode(), took_ms)
    return (_TOLD, took_ms + b"ms"), (_METRICS, metrics + settings)


@lru_cache(maxsize=1024)
def _in_a_word(cache_status: bytes) -> str:
    """Return what a `Cache-Status` says (RFC 9211), in one of a few words."""
    _name, *parameters = (part.strip() for part in cache_status.decode("latin-1").split(";"))
    values = dict(part.partition("=")[::2] for part in parameters)
    if "hit" in values:
        return "stale" if values.get("ttl", "").startswith("-") else "hit"
    if "collapsed" in values:
        return "collapsed"
    return _REASONS.get(values.get("fwd", ""), "other")
