"""What the middleware has answered, in plain integers: counted where it happens, read when somebody asks.

An instrument of a metrics library costs more than the middleware does. So nothing here calls one: a response
adds to integers, and `perfkit.asgi.metrics` turns them into Prometheus or OpenTelemetry at scrape time.

Clients choose methods, paths and more; a series for each would fill memory. So what names a series comes from
a short list (method, scheme, version) or from the application (route, status, error), and past `SERIES_LIMIT`
all that is new is counted together, as OpenTelemetry's SDKs do
(https://opentelemetry.io/docs/specs/otel/metrics/sdk/#cardinality-limits).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, NamedTuple

__all__ = ["DURATION_BOUNDS_S", "SERIES_LIMIT", "SIZE_BOUNDS", "Active", "RequestCounts", "Series", "SeriesKey"]

DURATION_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper bounds of the duration buckets in seconds, those of OpenTelemetry's HTTP conventions."""
SIZE_BOUNDS: Final = tuple(4**power for power in range(4, 14))
"""Upper bounds of the size buckets in bytes, from 256 to 64 MiB; the conventions name none."""
SERIES_LIMIT: Final = 2_000
"""How many series there may be, OpenTelemetry's default."""

METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
)
_SCHEMES: Final = frozenset(("http", "https"))
_VERSIONS: Final = frozenset(("1.0", "1.1", "2", "3"))
_OTHER: Final = "_OTHER"


class SeriesKey(NamedTuple):
    """What tells the responses of one series from others: OpenTelemetry's attributes, "" where there is none."""

    method: str
    """`http.request.method`; one that HTTP does not define is `_OTHER`."""
    scheme: str
    """`url.scheme`."""
    status: int
    """`http.response.status_code`; 0 when the client left before there was one."""
    route: str
    """`http.route`: the pattern that was matched, never the path."""
    version: str
    """`network.protocol.version`."""
    error: str
    """`error.type`: of what the application raised, or the status from 500 on."""


OVERFLOW: Final = SeriesKey(_OTHER, "", 0, "", "", "otel_metric_overflow")
"""Where all is counted that came after `SERIES_LIMIT` others."""


class Active:
    """How many requests of a method and scheme have begun and not ended."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0


class Series:
    """The totals of responses that are alike."""

    __slots__ = ("duration_sum_s", "durations", "size_sum", "sizes")

    def __init__(self) -> None:
        self.durations = [0] * (len(DURATION_BOUNDS_S) + 1)
        """Responses in each bucket, not in it and those below; the last has no bound."""
        self.duration_sum_s = 0.0
        self.sizes = [0] * (len(SIZE_BOUNDS) + 1)
        self.size_sum = 0

    @property
    def count(self) -> int:
        """How many responses these are."""
        return sum(self.durations)


class RequestCounts:
    """The totals of one middleware since it was made.

    >>> counts = RequestCounts()
    >>> counts.begin("GET", "http")
    >>> counts.end("GET", "http", 200, "/users/{id}", "1.1", "", seconds=0.004, sent_bytes=300)
    >>> [(key, series) for key, series in counts.series.items()] # doctest: +ELLIPSIS
    [(SeriesKey(method='GET', scheme='http', status=200, route='/users/{id}', version='1.1', error=''), ...)]
    >>> counts.active[("GET", "http")].now
    0
    """

    __slots__ = ("_found", "active", "cache", "fields", "series")

    def __init__(self) -> None:
        self.series: dict[SeriesKey, Series] = {}
        self.active: dict[tuple[str, str], Active] = {}
        self.cache: dict[str, int] = {}
        """Responses by what the response cache did: hit, stale, miss ..."""
        self.fields: dict[str, int] = {}
        """Requests that named fields, by what came of it: filtered, whole, refused."""
        self._found: dict[tuple[str, str, int, str, str, str], Series] = {}

    def begin(self, method: str, scheme: str) -> None:
        """Count a request that has begun."""
        active = self.active.get((method, scheme))
        if active is None:
            active = self._active(method, scheme)
        active.now += 1

    def end(
        self,
        method: str,
        scheme: str,
        status: int,
        route: str,
        version: str,
        error: str,
        *,
        seconds: float,
        sent_bytes: int,
    ) -> None:
        """Count a response that has ended, as it was told by the server and the application."""
        active = self.active.get((method, scheme))
        if active is None:
            active = self._active(method, scheme)
        active.now -= 1
        series = self._found.get((method, scheme, status, route, version, error))
        if series is None:
            series = self._series(method, scheme, status, route, version, error)
        series.durations[bisect_left(DURATION_BOUNDS_S, seconds)] += 1
        series.duration_sum_s += seconds
        series.sizes[bisect_left(SIZE_BOUNDS, sent_bytes)] += 1
        series.size_sum += sent_bytes

    def _active(self, method: str, scheme: str) -> Active:
        known = (_one_of(METHODS, method), _one_of(_SCHEMES, scheme))
        return self.active.setdefault(known, Active())

    def _series(
        self, method: str, scheme: str, status: int, route: str, version: str, error: str
    ) -> Series:
        known = SeriesKey(
            _one_of(METHODS, method), _one_of(_SCHEMES, scheme), status, route, _one_of(_VERSIONS, version), error
        )
        if known.status >= 500 and not error:
            known = known._replace(error=str(status))
        if known not in self.series and len(self.series) >= SERIES_LIMIT:
            known = OVERFLOW
        series = self.series.setdefault(known, Series())
        if len(self._found) < SERIES_LIMIT:
            self._found[method, scheme, status, route, version, error] = series
        return series


def _one_of(known: frozenset[str], value: str) -> str:
    return value if value in known else _OTHER
