"""How long answers took: told to the client in two fields, and to whoever reads the counts.

Fields travel before the body, so `X-Response-Time` and `Server-Timing` can say only when the response began.
The counts hear of its end: the last message of the body, however long that streams. What an application does
after it (background tasks) is no part of the duration; nobody waits for it.

`X-Response-Time` has no standard. The form here is milliseconds with their unit, `12.345ms`, as Express's
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
_REASONS: Final = frozenset(("bypass", "method", "miss", "request", "partial"))
_MISSES: Final = {"uri-miss": "miss", "vary-miss": "miss", "stale": "expired"}


class Timing:
    """The first stage of a request and the last of its response; one a middleware.

    >>> now = iter([10.0, 10.0125, 10.5])
    >>> timing = Timing(AsgiSettings(), fingerprint="0b7e", clock=lambda: next(now))
    >>> request = Request({"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": []})
    >>> head, started = Head(200, []), timing.begin(request)
    >>> timing.head(head, started)
    >>> head.get(b"x-response-time"), head.get(b"server-timing")
    (b'12.500ms', b'app;dur=12.500, perfkit;desc="0b7e"')
    >>> timing.end(request, head.status, started, sent_bytes=2)
    >>> [series.duration_sum_s for series in timing.counts.series.values()]
    [0.5]

    Args:
        settings: With `track_response_time` off all three methods do nothing.
        fingerprint: Of the settings the service runs with, as `Settings.fingerprint` is; "" is not told.
        clock: Shows seconds.
        counts: Where responses are counted; default: counts of its own.
    """

    __slots__ = ("_begin", "_clock", "_find", "_on", "_settings", "_template", "counts")

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
        self._begin, self._find = self.counts.begin, self.counts.find

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
        took_ms = b"%.3f" % ((self._clock() - started) * 1e3)
        if head.get(_TOLD) is None:
            head.set(_TOLD, took_ms + b"ms")
        if not cache:
            told = b"app;dur=" + took_ms + self._settings
        else:
            word, start = _by_cache(cache)
            self.counts.cache[word] = self.counts.cache.get(word, 0) + 1
            told = start + took_ms + self._settings
        own = head.get(_METRICS)
        head.set(_METRICS, told if own is None else own + b", " + told)

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
        self._find(
            request.method,
            request.scheme,
            status,
            self._template(scope),
            scope.get("http_version", "1.1"),
            error,
        ).add(took_s, sent_bytes)


def error_type(error: BaseException) -> str:
    """Return the `error.type` of an exception: its class, with the module where it is no builtin.

    >>> error_type(ValueError("no")), error_type(TimeoutError())
    ('ValueError', 'TimeoutError')
    """
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


@lru_cache(maxsize=1024)
def _by_cache(status: bytes) -> tuple[str, bytes]:
    """Return in one word what a `Cache-Status` says (RFC 9211), and the metrics up to the time."""
    _name, *parameters = (part.strip() for part in status.decode("ascii", "replace").split(";"))
    values = dict(part.partition("=")[::2] for part in parameters)
    if "hit" in values:
        word = "stale" if values.get("ttl", "").startswith("-") else "hit"
        return word, b"cache;desc=%b;dur=" % word.encode()
    reason = values.get("fwd", "")
    word = (
        "collapsed"
        if "collapsed" in values
        else _MISSES.get(reason, reason if reason in _REASONS else "other")
    )
    return word, b"cache;desc=%b, app;dur=" % word.encode()
