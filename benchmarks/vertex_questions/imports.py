"""What loading costs: the package, and Google's client when the service is warmed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from harness import table
from perfkit.vertex.emulator.plan import EmulatorPlan
from vertex_questions.served import emulator

__all__ = ["weighed"]

TRIES = 5
WARM_S = 1.5
HEAVY = {"google", "grpc", "vertexai", "numpy", "pandas", "matplotlib"}
MEASURED = """
import json, sys, time
there = set(sys.modules)
{before}
begin = time.process_time()
{work}
took = time.process_time() - begin
fresh = set(sys.modules) - there
print(json.dumps([took, len(fresh), sorted({{name.split(".")[0] for name in fresh}} & {heavy})]))
"""
IMPORT = "import perfkit.vertex"
SERVICE = "from perfkit.vertex import OptimizedVertexAIService"
PREPARED = "import asyncio\nfrom perfkit.vertex.google import GoogleTransport"
WARM = "asyncio.run(GoogleTransport('local', endpoint={endpoint!r}).warm())"


async def weighed(_rounds: int) -> str:
    """Load in fresh interpreters, with compiled bytecode, and take the least of five."""
    async with emulator(EmulatorPlan()) as served:
        rows = [
            _row(f"`{IMPORT}`", "", IMPORT),
            _row(f"`{SERVICE}`", "", SERVICE),
            _row(
                "Google's client, by `warm()`", PREPARED, WARM.format(endpoint=served.grpc), at_most_s=WARM_S
            ),
        ]
    return table(["measured", "processor s", "modules", "of them heavy", "target", "met"], rows)


def _row(name: str, before: str, work: str, *, at_most_s: float | None = None) -> list[str]:
    took_s, modules, loaded = _least(before, work)
    if at_most_s is None:
        target, met = "no google, no grpc, no numpy", not {"google", "grpc", "numpy"} & set(loaded)
    else:
        target, met = f"≤ {at_most_s:g} s", took_s <= at_most_s
    return [name, f"{took_s:.2f}", f"{modules:,}", ", ".join(loaded), target, "yes" if met else "**no**"]


def _least(before: str, work: str) -> tuple[float, int, list[str]]:
    source = MEASURED.format(before=before, work=work, heavy=HEAVY)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    tries = []
    for _try in range(1 + TRIES):  # the first compiles
        done = subprocess.run(  # noqa: S603  # this interpreter, and our own words
            [sys.executable, "-c", source], capture_output=True, text=True, check=True, env=environment
        )
        tries.append(json.loads(done.stdout))
    took_s, modules, loaded = min(tries[1:])
    return took_s, modules, loaded
