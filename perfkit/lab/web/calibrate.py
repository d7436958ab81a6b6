"""What compressing and filtering take on this machine, for the answers of this workload.

No formula knows how long brotli takes for these bodies on this processor, so the shipping stages are timed
once a run: every coding and level that the axes can come to, on bodies of the workload itself, one for each
of a few sizes of each shape. Times are processor time of the thread, the least of several, so that what else
runs here does not count. What a request costs beside that is asked of a real service that compresses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from perfkit.asgi.compress import Compression
from perfkit.asgi.fields import FieldFilter
from perfkit.asgi.head import Head
from perfkit.asgi.request import Request
from perfkit.asgi.settings import AsgiSettings
from perfkit.knobs import replaced
from perfkit.lab.virtual import run_real
from perfkit.lab.web.client import HttpClient
from perfkit.lab.web.clients import Drawn, mask_of
from perfkit.lab.web.payloads import Shape, body_of, shape_of
from perfkit.lab.web.process import ServiceProcess
from perfkit.lab.web.service import Plan
from perfkit.lab.web.traffic import Http
from perfkit.lab.workload import Workload
from perfkit.settings import Settings

__all__ = ["calibration_of", "coding_key", "own_sizes"]

T = TypeVar("T")

_SIZES_A_SHAPE = 5
_LEAST_TIMES = 3
_ENOUGH_S = 0.004
_PROBE_BYTES = 4_096
_ASKED = 300
_MASKS = 4


class Sample(NamedTuple):
    """One body that stands for those of its shape and about its size."""

    number: int
    size: int
    body: bytes


def calibration_of(settings: Sequence[Settings], http: Http, workload: Workload) -> dict[str, Any]:
    """Time what these settings come to for this workload, in a few seconds.

    Returns:
        `samples` (sizes a shape), `codings` (which coding a client is served in), `compressed` (seconds and
        bytes at each sample, by shape and coding), `filtered` (the same for masks) and `request` (what is
        left of a request when nothing is done to its answer).

    Raises:
        Unavailable: the service did not start.
    """
    samples = _samples(http, workload)
    codings: dict[str, str] = {}
    compressed: dict[str, dict[str, list[list[float]]]] = {shape: {} for shape in samples}
    for asgi in _distinct(one.asgi for one in settings):
        for client in http.clients:
            key = coding_key(asgi, client.accept)
            if key in codings:
                continue
            codings[key] = coding = _coding(asgi, client.accept)
            for shape, of_shape in samples.items():
                if coding and coding not in compressed[shape]:
                    compressed[shape][coding] = [_compressed(asgi, client.accept, s.body) for s in of_shape]
    return {
        "samples": {shape: [len(s.body) for s in of_shape] for shape, of_shape in samples.items()},
        "codings": codings,
        "compressed": compressed,
        "filtered": {shape: _filtered(shape, s) for shape, s in samples.items()} if http.masks else {},
        "request": _request(http, workload),
    }


def coding_key(asgi: AsgiSettings, accept: str) -> str:
    """Name what decides the coding a client is served in, and its level."""
    levels = asgi.compress_zstd_level, asgi.compress_brotli_level, asgi.compress_gzip_level
    aim = asgi.compress_objective if not all(levels) else "-"
    return f"{accept}|{asgi.compress_codings}|{aim}|{'/'.join(map(str, levels))}"


def own_sizes(workload: Workload) -> NDArray[np.int64]:
    """Return the bytes of each object's body; a trace may know several, and any will do."""
    sizes = np.zeros(workload.n_objects, dtype=np.int64)
    sizes[workload.objects] = workload.sizes
    return sizes


def _samples(http: Http, workload: Workload) -> dict[Shape, list[Sample]]:
    """Bodies of a few sizes from the least to the largest, for each shape there is."""
    sizes = own_sizes(workload)
    by_shape: dict[Shape, list[int]] = {}
    for number in np.argsort(sizes, kind="stable").tolist():
        by_shape.setdefault(shape_of(http.payload, number), []).append(number)
    samples = {}
    for shape, numbers in sorted(by_shape.items()):
        places = np.unique(np.linspace(0, len(numbers) - 1, _SIZES_A_SHAPE).astype(int))
        chosen = [numbers[place] for place in places]
        made = (Sample(n, int(sizes[n]), body_of(http.payload, n, int(sizes[n]))) for n in chosen)
        samples[shape] = sorted(made, key=lambda sample: len(sample.body))
    return samples


def _distinct(settings: Iterable[AsgiSettings]) -> list[AsgiSettings]:
    return list(dict.fromkeys(settings))


def _eager(asgi: AsgiSettings) -> AsgiSettings:
    """The same, except that everything is compressed, here and now, whatever comes of it."""
    return replaced(
        asgi,
        {
            "compress_responses": True,
            "compress_min_bytes": 0,
            "compress_min_gain": 0.0,
            "compress_offload_ms": 1_000.0,
            "compress_lag_ms": 0.0,
            "compress_noise_bytes": 0,
        },
    )


def _coding(asgi: AsgiSettings, accept: str) -> str:
    """The coding and the level that a client is served with, empty for none."""
    body = body_of("orders", 0, _PROBE_BYTES)
    _out, head = _through(Compression(_eager(asgi)), accept, body)
    coding = (head.get(b"content-encoding") or b"").decode()
    if not coding:
        return ""
    knob = {"br": "brotli", "deflate": "gzip"}.get(coding, coding)
    level = getattr(asgi, f"compress_{knob}_level")
    return f"{coding} {level}" if level else f"{coding} {asgi.compress_objective}"


def _compressed(asgi: AsgiSettings, accept: str, body: bytes) -> list[float]:
    """Seconds and bytes of one body."""
    stage = Compression(_eager(asgi))
    seconds, (out, _head) = _least_s(lambda: _through(stage, accept, body))
    return [seconds, float(len(out))]


def _through(stage: Compression, accept: str, body: bytes) -> tuple[bytes, Head]:
    fields = [(b"accept-encoding", accept.encode())] if accept else []
    scope = {"type": "http", "method": "GET", "path": "/", "headers": fields, "http_version": "1.1"}
    head = Head(200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))])
    out = stage.whole(Request(scope), head, body)
    if not isinstance(out, bytes):
        waited_for = out

        async def thread() -> bytes:
            return await waited_for

        out = run_real(thread())
    return out, head


def _filtered(shape: Shape, samples: Sequence[Sample]) -> dict[str, list[list[float]]]:
    """For each mask: seconds the general way, seconds with a decoder of its own, to build it, and bytes."""
    return {
        str(number): [_masked(mask_of(shape, number), sample.body) for sample in samples]
        for number in range(_MASKS)
    }


def _masked(mask: str, body: bytes) -> list[float]:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [],
        "query_string": f"fields={mask}".encode(),
    }

    def applied(fields: FieldFilter) -> bytes:
        found = fields.mask_of(Request(scope))
        out = found.apply(body) if found is not None else None
        return body if out is None else out

    general = FieldFilter(replaced(AsgiSettings(), {"fields_compile_after": 1_000}))
    slow_s, out = _least_s(lambda: applied(general))
    own = FieldFilter(replaced(AsgiSettings(), {"fields_compile_after": 1}))
    began_s = time.thread_time()
    applied(own)
    first_s = time.thread_time() - began_s
    fast_s, _same = _least_s(lambda: applied(own))
    return [slow_s, fast_s, max(first_s - fast_s, 0.0), float(len(out))]


def _least_s(work: Callable[[], T]) -> tuple[float, T]:
    """The least processor time of several runs, and what the last one gave."""
    least, spent, runs = float("inf"), 0.0, 0
    while True:
        began_s = time.thread_time()
        out = work()
        took_s = time.thread_time() - began_s
        least, spent, runs = min(least, took_s), spent + took_s, runs + 1
        if runs >= _LEAST_TIMES and spent >= _ENOUGH_S:
            return least, out


def _request(http: Http, workload: Workload) -> dict[str, float]:
    """What is left of a request when nothing is done to its answer: processor, response, head."""
    sizes = own_sizes(workload)[:_ASKED]
    plain = replaced(Settings(), {"asgi.compress_responses": False, "asgi.response_cache": False})
    plan = Plan("", http.payload, sizes.tolist())
    with ServiceProcess.start(plain, plan) as service:
        return run_real(_asked(service, http, len(sizes), workload))


async def _asked(service: ServiceProcess, http: Http, objects: int, workload: Workload) -> dict[str, float]:
    whole = http.model_copy(update={"masks": None, "private_share": 0.0})
    numbers = np.arange(_ASKED, dtype=np.int64) % objects
    drawn = Drawn(whole, numbers, 0)
    client = HttpClient(service.address)
    sizes = own_sizes(workload)
    bodies = {n: len(body_of(http.payload, n, int(sizes[n]))) for n in range(objects)}
    for index in range(_ASKED // 3):
        await client.ask(drawn.request(index))
    before, took, heads = service.counts(), [], []
    for index in range(_ASKED):
        began_s = time.perf_counter()
        answered = await client.ask(drawn.request(index))
        took.append(time.perf_counter() - began_s)
        heads.append(answered.wire_bytes - bodies[int(numbers[index])])
    after = service.counts()
    await client.aclose()
    cpu_s = (after.cpu_s - before.cpu_s) / _ASKED
    return {"cpu_s": cpu_s, "response_s": float(np.median(took)), "head_bytes": float(np.median(heads))}
