"""Where a workload comes from: a generator or a recorded trace, as the scenario says."""

from __future__ import annotations

from pathlib import Path

from perfkit.lab.arrivals import TokenLaw
from perfkit.lab.generate import generate
from perfkit.lab.scenario import GeneratedWorkload, TraceWorkload
from perfkit.lab.traces import read_trace
from perfkit.lab.workload import Stretch, Workload

__all__ = ["load_workload"]


def load_workload(spec: GeneratedWorkload | TraceWorkload, *, seed: int, folder: Path) -> Workload:
    """Make or read the workload a scenario asks for; a relative path is looked up in `folder`.

    Raises:
        WorkloadError: a trace cannot be read.
    """
    tokens = folder / spec.tokens if spec.tokens else None
    if isinstance(spec, GeneratedWorkload):
        made = generate(spec, seed)
        if tokens is None:
            return made
        return made.sized(TokenLaw.read(tokens).sizes(made.n_objects, seed), by=tokens.name)
    return read_trace(
        folder / spec.path,
        format=spec.format,
        rate_per_s=spec.rate_per_s,
        stretch=Stretch(spec.start_s, spec.span_s, spec.requests),
        speed=spec.speed,
        tokens=tokens,
        seed=seed,
    )
