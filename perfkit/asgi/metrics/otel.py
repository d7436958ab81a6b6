"""Responses for OpenTelemetry: observable instruments that read the counts when a reader collects.

A histogram can only be *recorded* there, one call a request, which costs several times what the middleware
does; there is no observable one. So distributions are told as what they are: counters, named as the
convention has it with `.bucket` and the attribute `le` (responses that took no longer, as Prometheus counts
them, so `histogram_quantile` reads them), `.sum` and `.count` behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "register_otel needs opentelemetry-api, which is not installed. Install perfkit[metrics].",
        name=missing.name,
    ) from None

from perfkit.asgi.counts import RequestCounts
from perfkit.asgi.metrics.figures import FIGURES, HISTOGRAMS, Histogram, attributes_of, samples
from perfkit.pools.metrics.figures import Figure

__all__ = ["register_otel"]


def register_otel(counts: RequestCounts, meter: Meter) -> None:
    """Let a meter read the counts of a middleware, from now until the meter's end; register them once.

    >>> from opentelemetry.metrics import get_meter
    >>> register_otel(RequestCounts(), get_meter("perfkit"))
    """
    create = {
        "counter": meter.create_observable_counter,
        "updown": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }
    for figure in FIGURES:
        create[figure.kind](
            figure.name,
            callbacks=[_observing(figure, counts)],
            unit=figure.unit,
            description=figure.summary,
        )
    for histogram in HISTOGRAMS:
        for part, unit, read in (
            ("bucket", "{response}", _buckets),
            ("sum", histogram.unit, _sum),
            ("count", "{response}", _count),
        ):
            meter.create_observable_counter(
                f"{histogram.name}.{part}",
                callbacks=[_distributing(read, histogram, counts)],
                unit=unit,
                description=histogram.summary,
            )


def _observing(
    figure: Figure[RequestCounts], counts: RequestCounts
) -> Callable[[CallbackOptions], Iterator[Observation]]:
    def observe(_options: CallbackOptions) -> Iterator[Observation]:
        for values, value in figure.read(counts):
            yield Observation(value, dict(zip(figure.attributes, values, strict=True)))

    return observe


def _distributing(
    read: Callable[[list[tuple[str, int]], float], Iterable[tuple[float, dict[str, str]]]],
    histogram: Histogram,
    counts: RequestCounts,
) -> Callable[[CallbackOptions], Iterator[Observation]]:
    def observe(_options: CallbackOptions) -> Iterator[Observation]:
        for key, series in samples(counts):
            attributes = attributes_of(key)
            for value, more in read(*histogram.up_to_bounds(series)):
                yield Observation(value, {**attributes, **more})

    return observe


def _buckets(buckets: list[tuple[str, int]], _total: float) -> Iterable[tuple[float, dict[str, str]]]:
    return [(count, {"le": bound}) for bound, count in buckets]


def _sum(_buckets: list[tuple[str, int]], total: float) -> Iterable[tuple[float, dict[str, str]]]:
    return [(total, {})]


def _count(buckets: list[tuple[str, int]], _total: float) -> Iterable[tuple[float, dict[str, str]]]:
    return [(buckets[-1][1], {})]
