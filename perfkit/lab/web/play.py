"""One arm of the rig `asgi`: its service in a process of its own, asked by the clients of a traffic.

Requests come as the workload says, open loop, and a response counts from when it was due to its last byte,
compressed as it came. The service's processor time is its process's own, over the round, shared out over the
round's requests. An answer that is neither a success nor "not modified" makes the round worthless.
"""

from __future__ import annotations

import asyncio
import gc

import numpy as np
from numpy.typing import NDArray

from perfkit.errors import MeasurementError
from perfkit.lab.histogram import from_ms
from perfkit.lab.load import play
from perfkit.lab.rigs.rig import Observation
from perfkit.lab.web.clients import Clients, Drawn
from perfkit.lab.web.process import ServiceProcess
from perfkit.lab.web.service import Counts
from perfkit.lab.web.traffic import Prices
from perfkit.lab.workload import Workload

__all__ = ["OpenService"]

_FINE = frozenset({200, 206, 304})
_WARM_AT_ONCE = 8
_WARM_ENOUGH = 400


class OpenService:
    """One arm's service, standing at a position of the workload."""

    def __init__(
        self,
        service: ServiceProcess,
        clients: Clients,
        workload: Workload,
        drawn: Drawn,
        prices: Prices,
        *,
        keeps_answers: bool,
    ) -> None:
        """Take a started arm. `keeps_answers` says that what was asked before decides what is fresh now."""
        self._service = service
        self._clients = clients
        self._workload = workload
        self._drawn = drawn
        self._prices = prices
        self._keeps_answers = keeps_answers
        self.position = 0

    async def warm(self, stop: int) -> None:
        """Ask what came before: all of it in its own time where answers are kept, else enough to be warm."""
        if stop <= self.position:
            return
        self._service.tell(origin_answers_at_once=True)
        if self._keeps_answers:
            for index in range(self.position, stop):
                self._service.tell(stand_at_s=float(self._workload.times_s[index]))
                _checked([(await self._clients.ask_near(self._drawn.request(index))).status])
        else:
            requests = [self._drawn.request(i) for i in range(max(self.position, stop - _WARM_ENOUGH), stop)]
            for start in range(0, len(requests), _WARM_AT_ONCE):
                asked = map(self._clients.ask_near, requests[start : start + _WARM_AT_ONCE])
                _checked([answered.status for answered in await asyncio.gather(*asked)])
        self.position = stop

    async def play(self, stop: int, *, rate_per_s: float | None) -> Observation:
        """Ask the requests from the position up to `stop` as they are due and say what came of it."""
        start, self.position = self.position, stop
        times = self._workload.times_s[start:stop]
        span_s = float(times[-1] - times[0])
        speed = 1.0 if rate_per_s is None or span_s <= 0 else rate_per_s * span_s / len(times)
        requests = [self._drawn.request(index) for index in range(start, stop)]
        kinds: list[int] = self._drawn.kinds[start:stop].tolist()
        statuses, sizes = [0] * len(times), [0] * len(times)

        async def send(index: int) -> None:
            answered = await self._clients.ask(kinds[index], requests[index])
            statuses[index], sizes[index] = answered.status, answered.wire_bytes

        gc.collect()  # now, because `play` lets none happen while requests are due
        before = self._service.tell(origin_answers_at_once=False, run_from_s=float(times[0]), speed=speed)
        played = await play((times - times[0]) / speed, send)
        after = self._service.tell(stand_at_s=float(times[-1]))
        _checked([status for status in statuses if status])
        answered = np.isfinite(played.end_s)
        response_ms = played.response_ms
        sent = np.array(sizes)[answered]
        metrics = _levels(response_ms) | self._costs(before, after, sent)
        return Observation(metrics, from_ms(response_ms), played.validity(virtual=False))

    def _costs(self, before: Counts, after: Counts, sent: NDArray[np.int64]) -> dict[str, float]:
        requests = max(after.requests - before.requests, 1)
        cpu_s = (after.cpu_s - before.cpu_s) / requests
        mean_bytes = float(sent.mean()) if len(sent) else 0.0
        costs = {
            "bytes_per_response": mean_bytes,
            "server_cpu_ms_per_request": cpu_s * 1_000,
            "dollars_per_million": self._prices.dollars_per_million(cpu_s=cpu_s, sent_bytes=mean_bytes),
            "server_peak_bytes": float(after.peak_bytes),
        }
        if self._keeps_answers:
            waited_for = after.waited_for - before.waited_for
            costs["origin_calls_per_request"] = (after.origin_calls - before.origin_calls) / requests
            costs["hit_ratio"] = 1 - waited_for / requests
            costs["age_p95_seconds"] = after.age_p95_s
        return costs


def _checked(statuses: list[int]) -> None:
    wrong = [status for status in statuses if status not in _FINE]
    if wrong:
        raise MeasurementError(
            f"{len(wrong)} of {len(statuses)} answers were no success, the first a {wrong[0]}: such a "
            "service is not measured. The trials before are kept; see what it wrote, and go on with --resume."
        )


def _levels(response_ms: NDArray[np.float64]) -> dict[str, float]:
    if not len(response_ms):
        return {}
    quantiles = {f"response_p{q}_ms": float(np.quantile(response_ms, q / 100)) for q in (50, 95, 99)}
    return {"response_mean_ms": float(response_ms.mean())} | quantiles
