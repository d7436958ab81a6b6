"""What the batching knobs come to on given arrivals: the shipping policies, replayed without quota.

A policy decides by arrivals alone, so it is asked itself (`perfkit.vertex.batching.replay`); nothing of it is
approximated. What the model adds is how long the model on the other side takes, drawn by the scenario's law.
What it does not know: quotas, requests that wait for a free place, refusals, and what duplicates save. Those
are simulated.

The best possible schedule, which knows every arrival in advance, is what costs are held against. Swept over
what a request is worth, it draws the bound that no policy can pass (`bound`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perfkit.lab.embed.calls import AskedCalls
from perfkit.lab.embed.traffic import Vertex
from perfkit.lab.workload import Workload
from perfkit.vertex.batching.choose import policy_of
from perfkit.vertex.batching.offline import Optimum, offline_optimum
from perfkit.vertex.batching.replay import replay
from perfkit.vertex.emulator.latency import PRESETS, Latency
from perfkit.vertex.models import embedding_spec
from perfkit.vertex.settings import VertexSettings

__all__ = ["BatchingModel", "BoundPoint", "latency_of"]

Floats = NDArray[np.float64]

_WORTHS_MS: Final = tuple(
    float(f"{step}e{power}") for power in (-1, 0, 1, 2, 3) for step in (1, 1.6, 2.5, 4, 6.3)
)
_SAME_MOMENT_S: Final = 1e-9


@dataclass(frozen=True, slots=True)
class BoundPoint:
    """The best possible schedule where a request is worth so much."""

    worth_ms: float
    requests_per_text: float
    added_wait_mean_ms: float


def latency_of(vertex: Vertex) -> Latency:
    """Return the law of answer times that a scenario names."""
    own = vertex.latency
    if isinstance(own, str):
        return PRESETS[own]
    return Latency(
        base_ms=own.base_ms, per_text_ms=own.per_text_ms, per_token_ms=own.per_token_ms, spread=own.sigma
    )


class BatchingModel:
    """The arrivals of a workload and the law of answers; models one setting after the other."""

    def __init__(self, workload: Workload, vertex: Vertex, *, seed: int) -> None:
        """Take the arrivals; `seed` draws answer times, the same for every setting."""
        self._times_s = workload.times_s
        self._calls = AskedCalls(workload, vertex, seed)
        self._tokens = self._calls.tokens
        self._vertex = vertex
        self._latency = latency_of(vertex)
        self._seed = seed

    def metrics(self, settings: VertexSettings, start: int, stop: int) -> dict[str, float]:
        """Return what the calls from `start` on come to; those before let the policy learn."""
        waits_s, requests = self._replayed(settings, stop)
        sent_s = self._times_s[:stop] + waits_s
        starts_one = np.append(True, np.diff(sent_s) > _SAME_MOMENT_S)
        # Two requests of one moment look like one here; they are shared out as they came in all.
        counted = float(starts_one[start:].sum()) * requests / float(starts_one.sum())
        waits_ms = waits_s[start:] * 1_000
        response_ms = waits_ms + self._answers_ms(np.cumsum(starts_one) - 1)[start:]
        texts = (stop - start) * self._calls.texts_per_call
        worth_s = self._vertex.request_worth_ms / 1_000
        cost_s = float(waits_ms.sum()) / 1_000 + counted * worth_s
        spec = embedding_spec(self._vertex.model)
        tokens = float(self._tokens[start:stop].sum())
        dollars = spec.dollars(tokens=int(tokens), characters=int(tokens * _CHARACTERS_PER_TOKEN))
        return {
            **_levels("response", response_ms),
            "added_wait_mean_ms": float(waits_ms.mean()),
            "added_wait_p95_ms": float(np.quantile(waits_ms, 0.95)),
            "requests_per_text": counted / texts,
            "cost_vs_offline": cost_s / self.optimum(start, stop).cost_s,
            "dollars_per_million_texts": dollars / texts * 1e6,
        }

    def optimum(self, start: int, stop: int, *, worth_ms: float | None = None) -> Optimum:
        """Return the best schedule for some of the calls."""
        return best_schedule(
            self._vertex,
            self._times_s[start:stop],
            self._tokens[start:stop],
            worth_ms=worth_ms or self._vertex.request_worth_ms,
        )

    def bound(self, start: int, stop: int, worths_ms: Sequence[float] = _WORTHS_MS) -> list[BoundPoint]:
        """Return the best schedules where requests are worth little, and so on to much."""
        calls, texts = stop - start, (stop - start) * self._calls.texts_per_call
        points = []
        for worth_ms in worths_ms:
            best = self.optimum(start, stop, worth_ms=worth_ms)
            points.append(BoundPoint(worth_ms, best.requests / texts, best.waited_s / calls * 1_000))
        return points

    def _replayed(self, settings: VertexSettings, stop: int) -> tuple[Floats, int]:
        most_texts, most_tokens = limits_of(self._vertex, settings)
        replayed = replay(
            policy_of(settings),
            self._times_s[:stop].tolist(),
            self._tokens[:stop].tolist(),
            max_texts=most_texts,
            max_tokens=most_tokens,
        )
        return np.array(replayed.waits_s), replayed.requests

    def _answers_ms(self, request_of: NDArray[np.int64]) -> Floats:
        """How long each call's request takes, by what travels in it."""
        law, count = self._latency, int(request_of[-1]) + 1
        rng = np.random.default_rng([self._seed, 7])
        base_ms = law.base_ms * np.exp(law.spread * rng.standard_normal(count))
        texts = np.bincount(request_of) * self._calls.texts_per_call
        tokens = np.bincount(request_of, weights=self._tokens[: len(request_of)])
        answer_ms = base_ms + law.per_text_ms * texts + law.per_token_ms * tokens
        answer_ms *= np.where(rng.random(count) < law.tail_share, law.tail_times, 1.0)
        by_call: Floats = answer_ms[request_of]
        return by_call


_CHARACTERS_PER_TOKEN: Final = 3.0
"""That are billed: a word of three letters is a token, and spaces cost nothing."""


def best_schedule(vertex: Vertex, times_s: Floats, tokens: NDArray[np.int64], *, worth_ms: float) -> Optimum:
    """Return the cheapest way to gather these calls within the model's own limits, known in advance."""
    spec = embedding_spec(vertex.model)
    return offline_optimum(
        times_s.tolist(),
        tokens.tolist(),
        worth_s=worth_ms / 1_000,
        max_texts=max(spec.max_texts // vertex.texts_per_call, 1),
        max_tokens=spec.max_tokens,
    )


def limits_of(vertex: Vertex, settings: VertexSettings) -> tuple[int, int]:
    """How many calls and how many tokens share a request at the most."""
    spec = embedding_spec(vertex.model)
    texts = min(settings.batch_max_texts, spec.max_texts)
    return max(texts // vertex.texts_per_call, 1), min(settings.batch_max_tokens, spec.max_tokens)


def _levels(name: str, values_ms: Floats) -> dict[str, float]:
    quantiles = {f"{name}_p{q}_ms": float(np.quantile(values_ms, q / 100)) for q in (50, 95, 99)}
    return {f"{name}_mean_ms": float(values_ms.mean())} | quantiles


def bound_of(calibration: dict[str, Any]) -> list[BoundPoint]:
    """Return the bound that a run's calibration holds."""
    return [BoundPoint(**point) for point in calibration.get("offline", ())]
