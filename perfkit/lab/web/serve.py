"""The far end of `perfkit.lab.web.process`: the service, under a real uvicorn, obeying a pipe.

`python -m perfkit.lab.web.serve` reads its plan from the first line of the pipe and its settings from the
environment, as a deployed service would; uvicorn serves it on a Unix socket. Each further line is an order,
answered by a line. When the pipe closes it ends: however its starter ended, nothing is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import resource
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perfkit.asgi import add_performance_middlewares
from perfkit.asgi.messages import App, Message, Receive, Scope, Send
from perfkit.events import null_probe
from perfkit.lab.web.service import CALLED, FOLDER, Answers, Counts, Plan
from perfkit.settings import Settings

__all__: list[str] = []

_BACKLOG = 1_024
_IDLE_S = 3_600
_STARTED_POLL_S = 0.005


class _Counting:
    """Outermost: how many requests there were, how many waited for the application, how old answers were."""

    def __init__(self, app: App, *, ages: bool) -> None:
        self._app = app
        self._reads_ages = ages
        self.ages_s: list[int] = []
        self.requests = 0
        self.waited_for = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.requests += 1
        called: list[int] = []
        scope[CALLED] = called

        async def heard(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.waited_for += bool(called)
                if self._reads_ages:
                    self.ages_s.append(next((int(v) for k, v in message["headers"] if k == b"age"), 0))
            await send(message)

        await self._app(scope, receive, heard)

    @property
    def age_p95_s(self) -> float:
        """The age that 95 of 100 answers did not exceed; 0 without answers."""
        ordered = sorted(self.ages_s)
        return float(ordered[math.ceil(0.95 * len(ordered)) - 1]) if ordered else 0.0


@asynccontextmanager
async def _deployed(plan: Plan, settings: Settings, answers: Answers) -> AsyncIterator[tuple[App, Any]]:
    """The application behind the middleware, as the settings say, and the clock that kept answers end by."""
    if not settings.asgi.response_cache:
        yield add_performance_middlewares(answers, settings=settings.asgi), None
        return
    from perfkit.lab.load import PlayedClock
    from perfkit.lab.removal import remove_keys
    from perfkit.stack import Outside, Stack

    clock = PlayedClock()
    outside = Outside(clock=clock, epoch=clock.epoch, probe=null_probe, key_prefix=plan.key_prefix)
    async with Stack.open(settings, outside=outside) as stack:
        try:
            yield add_performance_middlewares(answers, settings=settings.asgi, cache=stack.cache), clock
        finally:
            await remove_keys(stack.pools, plan.key_prefix)


async def _serve(plan: Plan, orders: asyncio.StreamReader) -> None:
    import uvicorn

    answers = Answers(plan)
    async with _deployed(plan, Settings.from_env(), answers) as (app, clock):
        counting = _Counting(app, ages=clock is not None)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(plan.socket)
        listening.listen(_BACKLOG)
        config = uvicorn.Config(
            counting, http="httptools", lifespan="off", log_level="warning", access_log=False,
            timeout_keep_alive=_IDLE_S, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not (server.started or serving.done()):  # noqa: ASYNC110  # uvicorn sets no event
            await asyncio.sleep(_STARTED_POLL_S)
        if serving.done():
            await serving
        _answer({"ready": True})
        while line := await orders.readline():
            _answer(_obeyed(json.loads(line), answers, counting, clock))
        server.should_exit = True
        await serving
    _leave_nothing(Path(plan.socket).parent)


def _obeyed(order: dict[str, Any], answers: Answers, counting: _Counting, clock: Any) -> dict[str, Any]:
    """Do what one line asks for, and say what there is to say."""
    if "origin_answers_at_once" in order:
        answers.origin_answers_at_once = order["origin_answers_at_once"]
    counts = Counts(
        cpu_s=time.process_time(),
        peak_bytes=_peak_bytes(),
        requests=counting.requests,
        origin_calls=answers.calls,
        waited_for=counting.waited_for,
        age_p95_s=counting.age_p95_s,
    )
    if clock is not None and "stand_at_s" in order:
        clock.stand_at(order["stand_at_s"])
        counting.ages_s.clear()
    if clock is not None and "run_from_s" in order:
        clock.run_from(order["run_from_s"], speed=order["speed"])
        counting.ages_s.clear()
    return asdict(counts)


def _leave_nothing(folder: Path) -> None:
    """Remove the folder that was made for us: a starter that was killed cannot."""
    if folder.name.startswith(FOLDER):
        shutil.rmtree(folder, ignore_errors=True)


def _peak_bytes() -> int:
    """The most memory this process held; `ru_maxrss` alone would count what its starter held at the fork."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1_024)


def _answer(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


async def _main() -> None:
    orders = asyncio.StreamReader(limit=1 << 26)  # the plan has a number an object
    transport, _protocol = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    with contextlib.closing(transport):
        if first := await orders.readline():
            await _serve(Plan.from_json(first), orders)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        asyncio.run(_main())
