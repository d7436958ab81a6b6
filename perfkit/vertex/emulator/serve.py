"""The emulator's servers: both faces in one process, for `perfkit emulator` and for `EmulatorProcess`.

`python -m perfkit.vertex.emulator.serve` is the far end of `perfkit.vertex.emulator.process`: it reads a plan
from the first line of a pipe, says where it listens, answers each further line with what it has come to, and
ends when the pipe closes, however its starter ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from perfkit.errors import Unavailable, VertexError
from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.plan import EmulatorPlan

__all__ = ["Addresses", "RestServer", "serve_rest", "serving", "serving_forever"]

_BACKLOG: Final = 1_024
_STARTED_POLL_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where an emulator listens."""

    endpoint: str
    """`host:port` of gRPC."""
    base_url: str = ""
    """Of REST; empty where it is not served."""

    def to_text(self) -> str:
        """Return how to point perfkit and google-genai here, in lines for a shell.

        >>> print(Addresses("127.0.0.1:8300").to_text())
        # perfkit, over gRPC
        export PERFKIT_VERTEX_ENDPOINT=127.0.0.1:8300
        """
        lines = ["# perfkit, over gRPC", f"export PERFKIT_VERTEX_ENDPOINT={self.endpoint}"]
        if self.base_url:
            lines += [
                "# google-genai, over REST",
                f"export GOOGLE_GENAI_USE_VERTEXAI=true GOOGLE_API_KEY=emulator "
                f"GOOGLE_VERTEX_BASE_URL={self.base_url}",
            ]
        return "\n".join(lines)


class RestServer:
    """A uvicorn that serves the REST face on the running loop."""

    def __init__(self, server: Any, task: asyncio.Task[None], host: str, port: int) -> None:
        self._server = server
        self._task = task
        self.host = host
        self.port = port

    @property
    def base_url(self) -> str:
        """As `GenaiTransport(base_url=…)` and `GOOGLE_VERTEX_BASE_URL` take it."""
        return f"http://{self.host}:{self.port}"

    async def aclose(self) -> None:
        """Stop; what is under way is broken off, as by a server that restarts."""
        self._server.should_exit = self._server.force_exit = True
        await self._task


async def serve_rest(core: EmulatedVertex, host: str = "127.0.0.1", port: int = 0) -> RestServer:
    """Serve an emulator on the running loop; port 0 takes a free one.

    Raises:
        Unavailable: the port is taken.
        VertexError: uvicorn is not installed.
    """
    try:
        import uvicorn
    except ImportError:
        raise VertexError(
            "The emulator cannot answer over REST: uvicorn is not installed. Run `pip install "
            "'perfkit[lab]'`, or use gRPC alone."
        ) from None
    from perfkit.vertex.emulator.rest_face import rest_app

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Leave Ctrl-C to whoever runs the loop."""
            yield

    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as trouble:
        listening.close()
        raise Unavailable(
            f"The emulator cannot listen at {host}:{port} ({trouble.strerror}). Name another port, or 0 for "
            "a free one.",
            dependency="vertex emulator",
        ) from None
    listening.listen(_BACKLOG)
    config = uvicorn.Config(rest_app(core), lifespan="off", log_level="warning", access_log=False)
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not (server.started or task.done()):  # noqa: ASYNC110  # uvicorn sets no event
        await asyncio.sleep(_STARTED_POLL_S)
    if task.done():
        await task
    return RestServer(server, task, host, listening.getsockname()[1])


@asynccontextmanager
async def serving(
    core: EmulatedVertex,
    *,
    host: str = "127.0.0.1",
    grpc_port: int = 0,
    rest_port: int | None = 0,
) -> AsyncIterator[Addresses]:
    """Serve both faces for as long as the block runs; `rest_port=None` leaves REST out.

    Raises:
        Unavailable: a port is taken.
        VertexError: the packages of `perfkit[vertex]` are not installed.
    """
    try:
        from perfkit.vertex.emulator.grpc_face import serve_grpc
    except ImportError as missing:
        from perfkit.vertex.google import missing_extra

        raise missing_extra(missing) from None
    async with contextlib.AsyncExitStack() as servers:
        grpc = await serve_grpc(core, host, grpc_port)
        servers.push_async_callback(grpc.aclose)
        base_url = ""
        if rest_port is not None:
            rest = await serve_rest(core, host, rest_port)
            servers.push_async_callback(rest.aclose)
            base_url = rest.base_url
        yield Addresses(grpc.endpoint, base_url)


async def serving_forever(
    plan: EmulatorPlan,
    tell: Callable[[Addresses], object],
    *,
    host: str = "127.0.0.1",
    grpc_port: int = 0,
    rest_port: int | None = 0,
) -> None:
    """Serve an emulator until the task is cancelled, as Ctrl-C does."""
    async with serving(EmulatedVertex(plan), host=host, grpc_port=grpc_port, rest_port=rest_port) as where:
        tell(where)
        await asyncio.Event().wait()


async def _obeying() -> None:
    """Serve for as long as the pipe is open."""
    orders = asyncio.StreamReader()
    pipe, _protocol = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    with contextlib.closing(pipe):
        first = await orders.readline()
        if not first:
            return
        asked = json.loads(first)
        core = EmulatedVertex(EmulatorPlan.from_data(asked["plan"]))
        async with serving(core, rest_port=0 if asked["rest"] else None) as where:
            _say(asdict(where))
            while await orders.readline():
                _say({**asdict(core.counts), "cpu_s": time.process_time()})


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        asyncio.run(_obeying())
