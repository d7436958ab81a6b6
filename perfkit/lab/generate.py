"""Workloads made up from the laws that real ones follow, the same for the same seed.

Popularity falls with rank as rank^-α: web and key-value caches measure α between 0.6 and 1.2 [1, 2].
Arrivals are independent (Poisson), evenly spaced, come in bursts, or have gamma-distributed gaps as uneven as
they were recorded before language models [4, 5]; sizes are lognormal, one an object.

Four laws more, each off unless it is asked for:

- scans: runs of objects asked for once. Over stretches of a tenth of a trace's objects, 72 % of the objects
  are asked for only once in the median of 6,594 traces [3].
- drift: popularity passes to new objects. Each place in the order changes hands evenly spaced in time, with a
  phase of its own, as new posts and products take the place of old ones.
- chains: what follows what. Neighbours in the order of popularity form rings, in which one follows the next.
- callers: who asks, all alike, and which objects are one caller's own.

[1] Breslau, Cao, Fan, Phillips, Shenker, INFOCOM 1999. [2] Yang, Yue, Rashmi, OSDI 2020.
[3] Yang, Zhang, Qiu, Yue, Rashmi, *FIFO queues are all you need for cache eviction*, SOSP 2023, section 3.
[4] Patel et al., *Splitwise*, ISCA 2024: a coefficient of variation of 1.09 for chat, 13 for code completion.
[5] Xiang et al., *ServeGen*, arXiv:2505.09999: gamma and Weibull gaps, client by client.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfkit.lab.scenario import GeneratedWorkload
from perfkit.lab.workload import Workload

__all__ = ["generate"]

Ints = NDArray[np.int64]

_BURST_SHARE = 0.1
_BURST_SPAN = 200
"""Requests in a burst and the calm after it, together."""


def generate(spec: GeneratedWorkload, seed: int) -> Workload:
    """Return the workload of a specification and a seed."""
    rng = np.random.default_rng(seed)
    ranks = np.arange(1, spec.objects + 1, dtype=np.float64)
    reached = np.cumsum(ranks**-spec.zipf_alpha)
    drawn = np.searchsorted(reached, rng.random(spec.requests) * reached[-1])
    own_sizes = _sizes(spec, rng)
    times = np.cumsum(_gaps(spec, rng))
    # Every other law draws from a stream of its own, so that none disturbs what the others draw.
    chains, scans, drift, callers = (np.random.default_rng([seed, number]) for number in range(1, 5))
    drawn = _chained(spec, drawn, chains)
    drawn = _drifted(spec, drawn, times, drift)
    drawn = _scanned(spec, drawn, scans)
    names, objects = np.unique(drawn, return_inverse=True)
    return Workload(
        "generated",
        f"generated: zipf {spec.zipf_alpha:g}, {_arrivals(spec)}, seed {seed}",
        times - times[0],
        objects.astype(np.int64),
        own_sizes[names % spec.objects][objects],
        callers=_callers(spec, objects.astype(np.int64), callers),
    )


def _chained(spec: GeneratedWorkload, drawn: Ints, rng: np.random.Generator) -> Ints:
    """Let a share of the requests ask for the successor of the object before them."""
    if not spec.chain_share:
        return drawn
    follows = rng.random(len(drawn)) < spec.chain_share
    follows[0] = False
    first = np.maximum.accumulate(np.where(follows, 0, np.arange(len(drawn))))
    steps = np.arange(len(drawn)) - first
    start = drawn[first]
    ring = start - start % spec.chain_length
    length = np.minimum(spec.chain_length, spec.objects - ring)  # the last ring may be short
    followed: Ints = ring + (start - ring + steps) % length
    return followed


def _drifted(
    spec: GeneratedWorkload, drawn: Ints, times: NDArray[np.float64], rng: np.random.Generator
) -> Ints:
    """Let each place in the order be another object's from time to time."""
    if not spec.drift_per_hour:
        return drawn
    phases = rng.random(spec.objects)
    holders = np.floor(phases[drawn] + times / 3_600 * spec.drift_per_hour).astype(np.int64)
    return drawn + holders * spec.objects


def _scanned(spec: GeneratedWorkload, drawn: Ints, rng: np.random.Generator) -> Ints:
    """Put runs of objects that are asked for once in the place of what was drawn."""
    if not spec.scan_share:
        return drawn
    count = round(len(drawn) * spec.scan_share / spec.scan_length)
    slots = len(drawn) // spec.scan_length
    begins = rng.choice(slots, size=min(max(count, 1), slots), replace=False) * spec.scan_length
    at = (begins[:, None] + np.arange(spec.scan_length)).reshape(-1)
    scanned = drawn.copy()
    scanned[at] = int(drawn.max()) + 1 + np.arange(len(at))
    return scanned


def _callers(spec: GeneratedWorkload, objects: Ints, rng: np.random.Generator) -> NDArray[np.int32] | None:
    """Say who asks for each: its owner where it has one, else anybody."""
    if not spec.callers:
        return None
    anybody = rng.integers(spec.callers, size=len(objects))
    names = int(objects.max()) + 1
    owners = rng.integers(spec.callers, size=names)
    owned = rng.random(names) < spec.own_share
    return np.where(owned[objects], owners[objects], anybody).astype(np.int32)


def _arrivals(spec: GeneratedWorkload) -> str:
    uneven = f" of CV {spec.arrivals_cv:g}" if spec.arrivals == "gamma" else ""
    return f"{spec.arrivals}{uneven} {spec.rate_per_s:g}/s"


def _gaps(spec: GeneratedWorkload, rng: np.random.Generator) -> NDArray[np.float64]:
    mean = 1 / spec.rate_per_s
    if spec.arrivals == "constant":
        return np.full(spec.requests, mean)
    if spec.arrivals == "gamma":
        uneven = spec.arrivals_cv**2
        return rng.gamma(1 / uneven, mean * uneven, spec.requests)
    gaps = rng.exponential(mean, spec.requests)
    if spec.arrivals == "poisson":
        return gaps
    in_burst = (np.arange(spec.requests) % _BURST_SPAN) < _BURST_SPAN * min(
        _BURST_SHARE * spec.burst_factor, 0.9
    )
    share = float(in_burst.mean())
    calm = (1 - share / spec.burst_factor) / (1 - share)  # so that the average rate stays what was asked
    scaled: NDArray[np.float64] = gaps * np.where(in_burst, 1 / spec.burst_factor, calm)
    return scaled


def _sizes(spec: GeneratedWorkload, rng: np.random.Generator) -> NDArray[np.int32]:
    """One size an object, with the mean that was asked for."""
    sigma = spec.size_sigma
    drawn = rng.lognormal(np.log(spec.mean_bytes) - sigma**2 / 2, sigma, spec.objects)
    return np.clip(np.rint(drawn), 1, 2**30).astype(np.int32)
