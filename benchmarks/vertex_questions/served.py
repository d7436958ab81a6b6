"""The emulator as a process of its own, over gRPC and over REST, on ports the system chooses.

python -m vertex_questions.served PLAN
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.plan import EmulatorPlan

__all__ = ["Served", "emulator"]

PATIENCE_S = 30.0


class Served(NamedTuple):
    """Where an emulator listens."""

    grpc: str
    rest: str


@asynccontextmanager
async def emulator(plan: EmulatorPlan) -> AsyncIterator[Served]:
    """Start an emulator, and end it with the question."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "vertex_questions.served",
        json.dumps(plan.to_data()),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    try:
        assert process.stdout is not None  # noqa: S101  # asked for above
        async with asyncio.timeout(PATIENCE_S):
            grpc, rest = (await process.stdout.readline()).split()
        yield Served(f"127.0.0.1:{int(grpc)}", f"http://127.0.0.1:{int(rest)}")
    finally:
        process.terminate()
        await process.wait()


async def main(plan: dict[str, Any]) -> None:
    """Serve until the process is told to end."""
    import uvicorn

    from perfkit.vertex.emulator.grpc_face import serve_grpc
    from perfkit.vertex.emulator.rest_face import rest_app

    core = EmulatedVertex(EmulatorPlan.from_data(plan))
    grpc = await serve_grpc(core)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    print(grpc.port, listener.getsockname()[1], flush=True)
    config = uvicorn.Config(rest_app(core), log_level="critical", access_log=False, lifespan="off")
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
