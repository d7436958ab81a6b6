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
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from perfkit.asgi.compress_counts import CompressionCounts
    from perfkit.asgi.fields import FieldCounts
    from perfkit.asgi.governor import LoadGovernor

__all__ = [
    "DURATION_BOUNDS_S",
    "OVERFLOW",
    "SERIES_LIMIT",
    "SIZE_BOUNDS",
    "RequestCounts",
    "Series",
    "SeriesKey",
]

DURATION_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper bounds of the duration buckets in seconds, those of OpenTelemetry's HTTP conventions."""
SIZE_BOUNDS: Final = tuple(4**power for power in range(4, 14))
"""Upper bounds of the size buckets in bytes, from 256 to 64 MiB; the conventions name none."""
SERIES_LIMIT: Final = 2_000
"""How many series there may be, OpenTelemetry's default."""

_FIRST_S: Final = DURATION_BOUNDS_S[0]
_METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
)
_SCHEMES: Final = frozenset(("http", "https"))
_VERSIONS: Final = frozenset(("1.0", "1.1", "2", "3"))
_OTHER: Final = "_OTHER"


class SeriesKey(NamedTuple):
    """What tells one series from others: OpenTelemetry's attributes, "" where a response has none."""

    method: str
    """`http.request.method`; one that HTTP does not define is `_OTHER`."""
    scheme: str
    """`url.scheme`."""
    status: int
    """`http.response.status_code`; 0 where the client left before there was one."""
    route: str
    """`http.route`: the pattern that was matched, never the path."""
    version: str
    """`network.protocol.version`."""
    error: str
    """`error.type`: of what the application raised, or the status from 500 on."""


Put: TypeAlias = tuple[str, str, int, str, str, str]
"""The same as servers and applications put it; a plain tuple, which is made ten times as fast."""

OVERFLOW: Final = SeriesKey(_OTHER, _OTHER, 0, "", _OTHER, "otel.metric.overflow")
"""Where all is counted that came when there were `SERIES_LIMIT` others."""


class Series:
    """The totals of responses that are alike."""

    __slots__ = ("duration_sum_s", "durations", "size_sum", "sizes")

    def __init__(self) -> None:
        self.durations = [0] * (len(DURATION_BOUNDS_S) + 1)
        """Responses in each bucket, not in it and those below; the last has no bound."""
        self.duration_sum_s = 0.0
        self.sizes = [0] * 64
        """Responses by how many bits their size in bytes less one has; no search finds a place sooner."""
        self.size_sum = 0

    def add(self, seconds: float, sent_bytes: int) -> None:
        """Count a response."""
        self.durations[0 if seconds <= _FIRST_S else bisect_left(DURATION_BOUNDS_S, seconds)] += 1
        self.duration_sum_s += seconds
        self.sizes[(sent_bytes - 1).bit_length()] += 1
        self.size_sum += sent_bytes

    @property
    def count(self) -> int:
        """How many responses these are."""
        return sum(self.durations)


class RequestCounts:
    """The totals of one middleware since it was made; what its stages count by themselves hangs on it.

    >>> counts = RequestCounts()
    >>> counts.begin("GET", "http")
    >>> counts.active()
    {('GET', 'http'): 1}
    >>> counts.find(("GET", "http", 200, "/users/{id}", "1.1", "")).add(seconds=0.004, sent_bytes=300)
    >>> [(key.route, series.count) for key, series in counts.series.items()]
    [('/users/{id}', 1)]
    >>> counts.active()
    {('GET', 'http'): 0}
    """

    __slots__ = ("_begun", "_folded", "cache", "compression", "fields", "found", "governor", "series")

    def __init__(self) -> None:
        self.series: dict[SeriesKey, Series] = {}
        self.cache: dict[str, int] = {}
        """Responses by what the response cache did: hit, stale, miss, expired, collapsed, bypass ..."""
        self.compression: CompressionCounts | None = None
        """As the stage of that name counts; None where it is off. So are the next two."""
        self.fields: FieldCounts | None = None
        self.governor: LoadGovernor | None = None
        self._begun: dict[tuple[str, str], int] = {}
        self._folded: dict[tuple[str, str], int] = {}
        """By method and scheme, how many of those that ended are counted with others."""
        self.found: dict[Put, Series] = {}
        """Series as servers and applications put them; a hot path looks here before it calls `find`."""

    def begin(self, method: str, scheme: str) -> None:
        """Count a request that has begun; it is active until a series it belongs to is found."""
        try:
            self._begun[method, scheme] += 1
        except KeyError:
            known = (_one_of(_METHODS, method), _one_of(_SCHEMES, scheme))
            self._begun[known] = self._begun.get(known, 0) + 1

    def find(self, put: Put) -> Series:
        """Return the series of a response that has ended, as the server and the application put it."""
        series = self.found.get(put)
        return self._find(put) if series is None else series

    def active(self) -> dict[tuple[str, str], int]:
        """Return how many requests have begun and not ended, by method and scheme."""
        ended = dict(self._folded)
        for key, series in list(self.series.items()):
            if key is not OVERFLOW:
                ended[key[:2]] = ended.get(key[:2], 0) + series.count
        # Those that begin while a scrape reads are counted, so that none is ever fewer than none.
        return {key: begun - ended.get(key, 0) for key, begun in list(self._begun.items())}

    def _find(self, told: Put) -> Series:
        put = SeriesKey(*told)
        known = SeriesKey(
            _one_of(_METHODS, put.method),
            _one_of(_SCHEMES, put.scheme),
            put.status,
            put.route,
            _one_of(_VERSIONS, put.version),
            put.error or (str(put.status) if put.status >= 500 else ""),
        )
        if known not in self.series and len(self.series) >= SERIES_LIMIT:
            self._folded[known[:2]] = self._folded.get(known[:2], 0) + 1
            return self.series.setdefault(OVERFLOW, Series())
        series = self.series.setdefault(known, Series())
        if known[:5] == put[:5]:  # what clients make up is not remembered
            self.found[put] = series
        return series


def _one_of(known: frozenset[str], value: str) -> str:
    return value if value in known else _OTHER
