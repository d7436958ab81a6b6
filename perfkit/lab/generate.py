"""Workloads made up from the laws that real ones follow, the same for the same seed.

Popularity falls with rank as rank^-α: web and key-value caches measure α between 0.6 and 1.2 (Breslau et
al., INFOCOM 1999; Yang, Yue, Rashmi, OSDI 2020). Arrivals are independent (Poisson), evenly spaced, or come
in bursts; sizes are lognormal, one an object.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfkit.lab.scenario import GeneratedWorkload
from perfkit.lab.workload import Workload

__all__ = ["generate"]

_BURST_SHARE = 0.1
_BURST_SPAN = 200
"""Requests in a burst and the calm after it, together."""


def generate(spec: GeneratedWorkload, seed: int) -> Workload:
    """Return the workload of a specification and a seed."""
    rng = np.random.default_rng(seed)
    ranks = np.arange(1, spec.objects + 1, dtype=np.float64)
    reached = np.cumsum(ranks**-spec.zipf_alpha)
    drawn = np.searchsorted(reached, rng.random(spec.requests) * reached[-1])
    names, objects = np.unique(drawn, return_inverse=True)
    sizes = _sizes(spec, rng)[names][objects]
    origin = f"generated: zipf {spec.zipf_alpha:g}, {spec.arrivals} {spec.rate_per_s:g}/s, seed {seed}"
    times = np.cumsum(_gaps(spec, rng))
    return Workload("generated", origin, times - times[0], objects.astype(np.int64), sizes)


def _gaps(spec: GeneratedWorkload, rng: np.random.Generator) -> NDArray[np.float64]:
    mean = 1 / spec.rate_per_s
    if spec.arrivals == "constant":
        return np.full(spec.requests, mean)
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
