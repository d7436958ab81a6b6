"""What is told of responses, once for every exporter: name, kind, unit, words, and where the number is read.

Names under `http.server` are those of OpenTelemetry's conventions for HTTP
(https://opentelemetry.io/docs/specs/semconv/http/http-metrics/); what they have no name for is under
`perfkit.http`. Ratios are left to whoever reads: two counters give them over any span.

A scrape runs in a thread of its own. It copies what it reads and changes nothing, so it needs no lock: each
number is right for its moment, and together they may be a few requests apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from perfkit.asgi.counts import DURATION_BOUNDS_S, OVERFLOW, SIZE_BOUNDS, RequestCounts, Series, SeriesKey
from perfkit.pools.metrics.figures import Figure, Sample

if TYPE_CHECKING:
    from perfkit.asgi.compress_counts import CodingCounts

__all__ = ["ATTRIBUTES", "FIGURES", "HISTOGRAMS", "Histogram", "attributes_of", "samples"]

Counts: TypeAlias = RequestCounts

ATTRIBUTES: Final = (
    "http.request.method",
    "url.scheme",
    "http.response.status_code",
    "http.route",
    "network.protocol.version",
    "error.type",
)
"""What the names of a `SeriesKey` are called, in its order."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """A distribution over all series, which each exporter writes in its own way."""

    name: str
    unit: str
    summary: str
    read: Callable[[Series], tuple[list[int], float]]
    """Returns how many are in each bucket, not in it and those below, and the sum of them all."""
    bounds: tuple[float, ...]

    def up_to_bounds(self, series: Series) -> tuple[list[tuple[str, int]], float]:
        """Return each bound, the last without end, with how many were no more; and the sum of all."""
        buckets, total = self.read(series)
        below, found = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), buckets, strict=True):
            below += count
            found.append((bound, below))
        return found, total


def samples(counts: Counts) -> Iterator[tuple[SeriesKey, Series]]:
    """Yield the series there are."""
    yield from list(counts.series.items())


def attributes_of(key: SeriesKey) -> dict[str, str | int | bool]:
    """Return a series' attributes as OpenTelemetry has them; what is not there is left out."""
    if key is OVERFLOW:
        return {"otel.metric.overflow": True}
    named: Iterable[tuple[str, str | int]] = zip(ATTRIBUTES, key, strict=True)
    return {name: value for name, value in named if value}


def _sizes(series: Series) -> tuple[list[int], float]:
    """Return the sizes by powers of four; they are counted by powers of two."""
    counted, found, start = series.sizes.copy(), [], 0
    for bound in SIZE_BOUNDS:
        end = bound.bit_length()
        found.append(sum(counted[start:end]))
        start = end
    return [*found, sum(counted[start:])], float(series.size_sum)


HISTOGRAMS: Final = (
    Histogram(
        "http.server.request.duration",
        "s",
        "From a request's coming to the last of its response; background tasks are no part of it.",
        lambda series: (series.durations.copy(), series.duration_sum_s),
        DURATION_BOUNDS_S,
    ),
    Histogram(
        "http.server.response.body.size",
        "By",
        "Bytes of response bodies as they travelled, compressed where they were.",
        _sizes,
        SIZE_BOUNDS,
    ),
)


def _compressed(name: str) -> Callable[[Counts], Iterable[Sample]]:
    return lambda counts: [((coding,), getattr(done, name)) for coding, done in _codings(counts)]


def _codings(counts: Counts) -> list[tuple[str, CodingCounts]]:
    return [] if counts.compression is None else list(counts.compression.by_coding.items())


def _outcomes(counts: Counts) -> Iterator[Sample]:
    if counts.compression is None:
        return
    for coding, done in _codings(counts):
        yield (coding, "compressed"), done.responses
    for reason, responses in list(counts.compression.left_alone.items()):
        yield ("identity", reason), responses


def _step(counts: Counts) -> Iterator[Sample]:
    if counts.governor is not None:
        yield (), int(counts.governor.step)


def _fields(*names: str) -> Callable[[Counts], Iterable[Sample]]:
    def read(counts: Counts) -> Iterator[Sample]:
        if counts.fields is not None:
            for name in names:
                yield (name,), getattr(counts.fields, name)

    return read


FIGURES: Final[tuple[Figure[Counts], ...]] = (
    Figure(
        "http.server.active_requests",
        "updown",
        "{request}",
        "Requests whose response has not ended.",
        lambda counts: counts.active().items(),
        ("http.request.method", "url.scheme"),
    ),
    Figure(
        "perfkit.http.compress",
        "counter",
        "{response}",
        "Responses by the coding they travelled in, and why those in none (identity) did.",
        _outcomes,
        ("encoding", "outcome"),
    ),
    Figure(
        "perfkit.http.compress.offloaded",
        "counter",
        "{response}",
        "Those of the compressed that a thread compressed.",
        _compressed("offloaded"),
        ("encoding",),
    ),
    Figure(
        "perfkit.http.compress.input",
        "counter",
        "By",
        "Bytes of the compressed bodies before.",
        _compressed("bytes_in"),
        ("encoding",),
    ),
    Figure(
        "perfkit.http.compress.output",
        "counter",
        "By",
        "Bytes of the compressed bodies after.",
        _compressed("bytes_out"),
        ("encoding",),
    ),
    Figure(
        "perfkit.http.compress.duration",
        "counter",
        "s",
        "Time spent in codecs, of the event loop or of a thread.",
        _compressed("codec_seconds"),
        ("encoding",),
    ),
    Figure(
        "perfkit.http.compress.step",
        "gauge",
        "1",
        "How much work a byte is worth now: 0 as for cost, 1 as for latency, 2 the least, 3 none.",
        _step,
    ),
    Figure(
        "perfkit.http.cache",
        "counter",
        "{response}",
        "Responses by what the response cache did: hit, stale, miss, expired, collapsed, bypass and others.",
        lambda counts: [((word,), count) for word, count in list(counts.cache.items())],
        ("status",),
    ),
    Figure(
        "perfkit.http.fields",
        "counter",
        "{document}",
        "Documents some fields of which were asked for: filtered (compiled, generic), sent whole (too_large, "
        "unreadable), and requests that were refused.",
        _fields("compiled", "generic", "too_large", "unreadable", "refused"),
        ("outcome",),
    ),
    Figure(
        "perfkit.http.fields.size",
        "counter",
        "By",
        "Bytes of the filtered documents, before (bytes_in) and after (bytes_out).",
        _fields("bytes_in", "bytes_out"),
        ("side",),
    ),
)
"""Everything but the distributions."""
