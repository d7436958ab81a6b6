"""The service that is measured: a few lines of application behind the middleware that ships.

Run as `python -m perfkit.lab.web.service` it reads its plan from the first line of its pipe and its settings
from the environment, as a deployed service would; uvicorn serves it on a Unix socket. Each further line is an
order, answered by a line. When the pipe closes it ends: however its starter ended, nothing is left behind.

The application answers `/answers/7` with the body of object 7, made before the first request. Where the
question is caching, making it takes an imitated origin's time, and each time is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perfkit.asgi import add_performance_middlewares
from perfkit.asgi.messages import App, Fields, Message, Receive, Scope, Send
from perfkit.events import null_probe
from perfkit.lab.web.payloads import body_of
from perfkit.lab.web.traffic import Payload
from perfkit.settings import Settings

__all__ = ["Answers", "Counts", "Plan", "is_private"]

_BACKLOG = 1_024
_IDLE_S = 3_600
_STARTED_POLL_S = 0.005
_SPREAD = 2_654_435_761  # Knuth's multiplier: neighbours in number are none in what comes out

MarkScope = Callable[[Scope], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a service process is told before it starts."""

    socket: str
    payload: Payload
    sizes: list[int]
    """The bytes of each object's body."""
    private_share: float = 0.0
    max_age_seconds: int | None = None
    origin_ms: float = 0.0
    origin_sigma: float = 0.0
    seed: int = 0
    redis_url: str = ""
    key_prefix: str = "perfkit:"

    def to_json(self) -> str:
        """Return what `from_json` reads, on one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str | bytes) -> Plan:
        """Return the plan that `to_json` wrote."""
        return cls(**json.loads(line))


@dataclass(frozen=True, slots=True)
class Counts:
    """What a service process has come to since it began."""

    cpu_s: float = 0.0
    """Processor time of all its threads."""
    peak_bytes: int = 0
    requests: int = 0
    origin_calls: int = 0
    waited_for: int = 0
    """Calls of the origin that a request waited for; the others renewed an answer behind its back."""


def is_private(number: int, share: float) -> bool:
    """Tell whether an object's answer is one user's own: the same for every arm, a share of all objects.

    >>> sum(is_private(number, 0.25) for number in range(10_000))
    2502
    """
    return number * _SPREAD % 2**32 < share * 2**32


class Answers:
    """The application: an answer for each object, and how often it was asked.

    >>> plan = Plan("", "orders", [400, 900])
    >>> async def asked(path: str) -> list[Message]:
    ...     sent: list[Message] = []
    ...     async def send(message: Message) -> None:
    ...         sent.append(message)
    ...     await Answers(plan)({"type": "http", "path": path}, None, send)
    ...     return sent
    >>> [message.get("status") for message in asyncio.run(asked("/answers/1"))]
    [200, None]
    >>> asyncio.run(asked("/elsewhere"))[0]["status"]
    404
    """

    def __init__(self, plan: Plan) -> None:
        self._bodies = [body_of(plan.payload, number, size) for number, size in enumerate(plan.sizes)]
        shared = b"public" if plan.max_age_seconds is None else b"public, max-age=%d" % plan.max_age_seconds
        self._heads = [
            _fields(body, b"private" if is_private(number, plan.private_share) else shared)
            for number, body in enumerate(self._bodies)
        ]
        self._origin: Callable[[str], Awaitable[None]] | None = _origin(plan)
        self.origin_answers_at_once = False
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        number = _number(scope["path"])
        if number is None or number >= len(self._bodies):
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        self.calls += 1
        if called := scope.get("perfkit.lab"):
            called.append(number)
        if self._origin is not None and not self.origin_answers_at_once:
            await self._origin(str(number))
        await send({"type": "http.response.start", "status": 200, "headers": self._heads[number]})
        await send({"type": "http.response.body", "body": self._bodies[number]})


class _Counting:
    """Outermost: how many requests there were, and how many of them waited for the application."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.requests = 0
        self.waited_for = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.requests += 1
        called: list[int] = [-1]
        scope["perfkit.lab"] = called

        async def heard(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.waited_for += len(called) > 1
            await send(message)

        await self._app(scope, receive, heard)


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
        counting = _Counting(app)
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
        _answer({"ready": True})
        while line := await orders.readline():
            _answer(_obeyed(json.loads(line), answers, counting, clock))
        server.should_exit = True
        await serving


def _obeyed(order: dict[str, Any], answers: Answers, counting: _Counting, clock: Any) -> dict[str, Any]:
    """Do what one line asks for, and say what there is to say."""
    if "origin_answers_at_once" in order:
        answers.origin_answers_at_once = order["origin_answers_at_once"]
    if clock is not None and "stand_at_s" in order:
        clock.stand_at(order["stand_at_s"])
    if clock is not None and "run_from_s" in order:
        clock.run_from(order["run_from_s"], speed=order["speed"])
    return asdict(
        Counts(time.process_time(), _peak_bytes(), counting.requests, answers.calls, counting.waited_for)
    )


def _peak_bytes() -> int:
    """The most memory this process held; `ru_maxrss` alone would count what its starter held at the fork."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1_024)


def _origin(plan: Plan) -> Callable[[str], Awaitable[None]] | None:
    if not plan.origin_ms:
        return None
    from perfkit.lab.scenario import World
    from perfkit.lab.world import ImitatedOrigin

    return ImitatedOrigin(World(origin_ms=plan.origin_ms, origin_sigma=plan.origin_sigma), plan.seed)


def _fields(body: bytes, cache_control: bytes) -> Fields:
    length = str(len(body)).encode()
    return [
        (b"content-type", b"application/json"),
        (b"content-length", length),
        (b"cache-control", cache_control),
    ]


def _number(path: str) -> int | None:
    place, _slash, number = path.rpartition("/")
    return int(number) if place == "/answers" and number.isdecimal() else None


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
