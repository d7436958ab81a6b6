"""Pools for OpenTelemetry: observable instruments that read the counts when a reader collects.

A histogram can only be *recorded* there, one call a command, which costs more than the command does; there is
no observable one. So the durations keep their convention's name for themselves, and are told as what they
are: counters, `perfkit.redis.duration.bucket` with the attribute `le` (replies that took no longer, as
Prometheus counts them, so `histogram_quantile` reads them), `.sum` and `.count`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "register_otel needs opentelemetry-api, which is not installed. Install perfkit[metrics].",
        name=missing.name,
    ) from None

from perfkit.pools.metrics.figures import FIGURES, Figure, Reading, readings
from perfkit.pools.pools import RedisPools

__all__ = ["register_otel"]

_Attributes: TypeAlias = Mapping[str, str | int]

_DURATIONS: Final[tuple[Figure[Reading], ...]] = (
    Figure(
        "perfkit.redis.duration.bucket",
        "counter",
        "{reply}",
        "Replies by the time from sent to answered: those that took no longer than `le` seconds.",
        lambda reading: [((bound,), count) for bound, count in reading.up_to_bounds()],
        ("le",),
    ),
    Figure(
        "perfkit.redis.duration.sum",
        "counter",
        "s",
        "The time from sent to answered of all replies, added up.",
        lambda reading: [((), reading.duration_sum_s)],
    ),
    Figure(
        "perfkit.redis.duration.count",
        "counter",
        "{reply}",
        "Replies whose time was taken.",
        lambda reading: [((), sum(reading.durations))],
    ),
)


def register_otel(pools: RedisPools, meter: Meter) -> None:
    """Let a meter read every open pool of a `RedisPools`, from now until the meter's end.

    Pools are told apart by `db.client.connection.pool.name`, and those of several `RedisPools` by
    `server.address` and `server.port` too. Register each `RedisPools` once.

    >>> from opentelemetry.metrics import get_meter
    >>> from perfkit.pools import Endpoint
    >>> register_otel(RedisPools(endpoint=Endpoint.embedded()), get_meter("perfkit"))
    """
    server: _Attributes = {"db.system.name": "redis", **_address(pools)}
    create = {
        "counter": meter.create_observable_counter,
        "updown": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }
    for figure in (*FIGURES, *_DURATIONS):
        create[figure.kind](
            figure.name,
            callbacks=[_observing(figure, pools, server)],
            unit=figure.unit,
            description=figure.summary,
        )


def _observing(
    figure: Figure[Reading], pools: RedisPools, server: _Attributes
) -> Callable[[CallbackOptions], Iterator[Observation]]:
    def observe(_options: CallbackOptions) -> Iterator[Observation]:
        for reading in readings(pools):
            pool = {**server, "db.client.connection.pool.name": reading.pool}
            for values, value in figure.read(reading):
                yield Observation(value, {**pool, **dict(zip(figure.attributes, values, strict=True))})

    return observe


def _address(pools: RedisPools) -> _Attributes:
    connection = pools.endpoint.connection
    if path := connection.get("path"):
        return {"server.address": str(path)}
    if pools.endpoint.backend == "fakeredis":
        return {}
    return {
        "server.address": str(connection.get("host", "localhost")),
        "server.port": int(connection.get("port", 6379)),
    }
