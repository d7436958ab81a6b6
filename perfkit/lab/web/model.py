"""What settings come to, request by request, from what the machine was found to take (`calibrate.py`).

    response = wait + work + line        work = request + filter + codec        line = bytes / bandwidth

The service has one thread, so requests wait for those before them: the wait is Lindley's recursion
w' = max(0, w + work − gap) over the workload's own arrivals at the measured rate, exact for one server and
first come, first served [1], and computed at once as a running sum less its running minimum. Codecs and
filters take what they took at the sizes that were timed, and lie on a straight line between them.

Where answers are kept, `keeping.py` says which requests wait for the origin. What is not modelled: requests
for one answer at one moment, threads, what a look-up in Redis takes, and what a busy machine takes from
everybody.

[1] D. V. Lindley, *The theory of queues with a single server*, Proc. Cambridge Phil. Soc. 48, 1952.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfkit.asgi.settings import AsgiSettings
from perfkit.lab.distances import stack_distances
from perfkit.lab.scenario import World
from perfkit.lab.web.calibrate import coding_key, own_sizes
from perfkit.lab.web.clients import Drawn
from perfkit.lab.web.keeping import KeptAnswers
from perfkit.lab.web.payloads import shape_of
from perfkit.lab.web.traffic import Http
from perfkit.lab.workload import Workload
from perfkit.settings import Settings

__all__ = ["ServiceModel"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_BITS = 8
_MBIT = 1e6
_CODING_LINE_BYTES = 24
"""`content-encoding: zstd` and its line end."""


class ServiceModel:
    """A workload prepared for modelling: each request's object, client, mask and time."""

    def __init__(
        self, workload: Workload, http: Http, world: World, calibration: Mapping[str, Any], *, seed: int
    ) -> None:
        self._workload = workload
        self._http = http
        self._world = world
        self._seed = seed
        self._known = calibration
        self._drawn = Drawn(http, workload.objects, seed)
        self._sizes = own_sizes(workload).astype(np.float64)
        self._shapes = np.array([shape_of(http.payload, number) for number in range(len(self._sizes))])
        self._of_coding: dict[str, tuple[Floats, Floats]] = {}
        self._kept = KeptAnswers(workload, private_share=http.private_share)

    def metrics(
        self, settings: Settings, counted: NDArray[np.int64], *, rate_per_s: float
    ) -> dict[str, float]:
        """Return what a setting comes to over some requests, which arrive so many a second."""
        request = self._known["request"]
        filter_s, asked_bytes = self._filtered(settings.asgi, counted)
        codec_s, body_bytes = self._compressed(settings.asgi, counted, asked_bytes)
        sent_bytes = body_bytes + request["head_bytes"]
        made, origin_s, kept = self._origin(settings, counted)
        cpu_s = request["cpu_s"] + filter_s + codec_s * made  # what is kept is kept compressed too
        response_s = (
            self._waits(counted, cpu_s, rate_per_s)
            + (cpu_s + max(request["response_s"] - request["cpu_s"], 0.0))
            + origin_s
            + sent_bytes * self._line_s_per_byte[self._drawn.kinds[counted]]
        )
        return {
            **_levels(response_s * 1_000),
            "bytes_per_response": float(sent_bytes.mean()),
            "server_cpu_ms_per_request": float(cpu_s.mean()) * 1_000,
            "dollars_per_million": self._http.prices.dollars_per_million(
                cpu_s=float(cpu_s.mean()), sent_bytes=float(sent_bytes.mean())
            ),
            **kept,
        }

    @property
    def _line_s_per_byte(self) -> Floats:
        rates = [client.mbit_per_s for client in self._http.clients]
        return np.array([0.0 if rate is None else _BITS / (rate * _MBIT) for rate in rates])

    def _waits(self, counted: NDArray[np.int64], work_s: Floats, rate_per_s: float) -> Floats:
        times = self._workload.times_s[counted]
        span_s = float(times[-1] - times[0])
        speed = rate_per_s * span_s / len(times) if span_s > 0 else 1.0
        gaps = np.diff(times) / speed
        drift = np.concatenate([[0.0], np.cumsum(work_s[:-1] - gaps)])
        waits: Floats = drift - np.minimum.accumulate(drift)
        return waits

    def _compressed(
        self, asgi: AsgiSettings, counted: NDArray[np.int64], asked_bytes: Floats
    ) -> tuple[Floats, Floats]:
        """Seconds in the codec and bytes of each body as it travels."""
        seconds, sent = np.zeros(len(counted)), asked_bytes.copy()
        if not asgi.compress_responses:
            return seconds, sent
        objects, kinds = self._workload.objects[counted], self._drawn.kinds[counted]
        large = asked_bytes >= asgi.compress_min_bytes
        for kind, client in enumerate(self._http.clients):
            coding = self._known["codings"][coding_key(asgi, client.accept)]
            here = large & (kinds == kind)
            if not coding or not here.any():
                continue
            took_s, out = self._at(coding, objects[here], asked_bytes[here])
            smaller = out <= (1 - asgi.compress_min_gain) * asked_bytes[here]
            seconds[here] = took_s
            sent[here] = np.where(smaller, out + _CODING_LINE_BYTES, asked_bytes[here])
        return seconds, sent

    def _at(self, coding: str, objects: NDArray[np.int64], sizes: Floats) -> tuple[Floats, Floats]:
        """Seconds and bytes of bodies in a coding, between what was timed."""
        if coding not in self._of_coding:  # of whole bodies, an object each
            self._of_coding[coding] = self._between(coding, self._shapes, self._sizes)
        whole = sizes == self._sizes[objects]
        seconds, out = (of_object[objects] for of_object in self._of_coding[coding])
        if not whole.all():
            seconds[~whole], out[~whole] = self._between(coding, self._shapes[objects[~whole]], sizes[~whole])
        return seconds, out

    def _between(self, coding: str, shapes: NDArray[Any], sizes: Floats) -> tuple[Floats, Floats]:
        seconds, out = np.zeros(len(sizes)), np.zeros(len(sizes))
        for shape, of_coding in self._known["compressed"].items():
            here = shapes == shape
            at = self._known["samples"][shape]
            seconds[here] = np.interp(sizes[here], at, [row[0] for row in of_coding[coding]])
            share = [row[1] / size for row, size in zip(of_coding[coding], at, strict=True)]
            out[here] = np.interp(sizes[here], at, share) * sizes[here]
        return seconds, out

    def _filtered(self, asgi: AsgiSettings, counted: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Seconds in the filter and bytes of each answer as it was asked for."""
        objects, masks = self._workload.objects[counted], self._drawn.masks[counted]
        seconds, sizes = np.zeros(len(counted)), self._sizes[objects].copy()
        if not asgi.optimize_payloads or not (masks >= 0).any():
            return seconds, sizes
        shapes = self._shapes[objects]
        own, builds = _decoders(masks, shapes, asgi)
        for shape, of_shape in self._known["filtered"].items():
            at = self._known["samples"][shape]
            for number, rows in of_shape.items():
                here = (shapes == shape) & (masks >= 0) & (masks % len(of_shape) == int(number))
                if not here.any():
                    continue
                whole = sizes[here]
                slow_s, fast_s, build_s = (
                    np.interp(whole, at, [row[column] for row in rows]) for column in range(3)
                )
                seconds[here] = np.where(own[here], fast_s, slow_s) + builds[here] * build_s
                share = [row[3] / size for row, size in zip(rows, at, strict=True)]
                sizes[here] = np.interp(whole, at, share) * whole
        return seconds, sizes

    def _origin(
        self, settings: Settings, counted: NDArray[np.int64]
    ) -> tuple[Mask, Floats, dict[str, float]]:
        """Whose answer is made anew, how long each waits for that, and what comes of keeping answers."""
        calls = waits = np.ones(len(counted), dtype=bool)
        ages_s = np.zeros(len(counted))
        if settings.asgi.response_cache:
            named_s = self._http.max_age_seconds
            every = self._kept.at(
                ttl_s=settings.asgi.response_cache_ttl_seconds if named_s is None else float(named_s),
                spare_s=settings.asgi.response_cache_stale_while_revalidate_seconds,
            )
            calls, waits, ages_s = every[0][counted], every[1][counted], every[2][counted]
        if not self._world.origin_ms:
            return calls, np.zeros(len(counted)), {}
        rng = np.random.default_rng([self._seed, 30])
        luck = rng.normal(0, self._world.origin_sigma, len(self._workload))[counted]
        origin_s = self._world.origin_ms / 1_000 * np.exp(luck) * waits
        shares = {
            "origin_calls_per_request": float(calls.mean()),
            "hit_ratio": 1 - float(waits.mean()),
            "age_p95_seconds": float(np.quantile(ages_s, 0.95)),
        }
        return calls, origin_s, shares


def _decoders(masks: NDArray[np.int64], shapes: NDArray[Any], asgi: AsgiSettings) -> tuple[Mask, Mask]:
    """Which requests find a decoder of their own, and which have to build one.

    A mask has one from its n-th request on, as long as not too many others were asked for since.
    """
    own, builds = np.zeros(len(masks), dtype=bool), np.zeros(len(masks), dtype=bool)
    asking = np.flatnonzero(masks >= 0)
    names, numbered = np.unique(
        [f"{shape}{mask}" for shape, mask in zip(shapes[asking], masks[asking], strict=True)],
        return_inverse=True,
    )
    distances = stack_distances(numbered.astype(np.int64))
    seen = np.zeros(len(names), dtype=np.int64)
    has = np.zeros(len(names), dtype=bool)
    for place, name, distance in zip(asking.tolist(), numbered.tolist(), distances.tolist(), strict=True):
        seen[name] += 1
        has[name] &= distance <= asgi.fields_compiled_masks
        if not has[name] and asgi.fields_compiled_masks and seen[name] >= asgi.fields_compile_after:
            builds[place] = has[name] = True
        own[place] = has[name]
    return own, builds


def _levels(response_ms: Floats) -> dict[str, float]:
    quantiles = {f"response_p{q}_ms": float(np.quantile(response_ms, q / 100)) for q in (50, 95, 99)}
    return {"response_mean_ms": float(response_ms.mean())} | quantiles
