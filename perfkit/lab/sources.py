"""Where a workload comes from: a generator or a recorded trace, as the scenario says."""

from __future__ import annotations

from pathlib import Path

from perfkit.lab.generate import generate
from perfkit.lab.scenario import GeneratedWorkload, TraceWorkload
from perfkit.lab.traces import read_trace
from perfkit.lab.workload import Workload

__all__ = ["load_workload"]


def load_workload(spec: GeneratedWorkload | TraceWorkload, *, seed: int, folder: Path) -> Workload:
    """Make or read the workload a scenario asks for; a relative path is looked up in `folder`.

    Raises:
        WorkloadError: a trace cannot be read.
    """
    if isinstance(spec, GeneratedWorkload):
        return generate(spec, seed)
    return read_trace(folder / spec.path, format=spec.format, rate_per_s=spec.rate_per_s)
