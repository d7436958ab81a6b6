"""The service that is measured: a few lines of application that answer as they were told.

It answers `/answers/7` with the body of object 7, made before the first request. Where the question is
caching, making it takes an imitated origin's time, and each time is counted. `serve.py` puts it behind the
middleware.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

from perfkit.asgi.messages import Fields, Receive, Scope, Send
from perfkit.lab.web.payloads import body_of
from perfkit.lab.web.traffic import Payload

__all__ = ["CALLED", "FOLDER", "Answers", "Counts", "Plan", "is_private"]

CALLED = "perfkit.lab"
"""Where a request's scope notes that the application was called for it."""

FOLDER = "perfkit-service-"
"""How the name of the folder begins that a service's socket is in."""

_SPREAD = 2_654_435_761  # Knuth's multiplier: neighbours in number are none in what comes out


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
    age_p95_s: float = 0.0
    """The `Age` that 95 of 100 answers did not exceed, since the clock was last set."""


def is_private(number: int, share: float) -> bool:
    """Tell whether an object's answer is one user's own: the same for every arm, a share of all objects.

    >>> sum(is_private(number, 0.25) for number in range(10_000))
    2502
    """
    return number * _SPREAD % 2**32 < share * 2**32


class Answers:
    """The application: an answer for each object, and how often it was asked.

    >>> import asyncio
    >>> plan = Plan("", "orders", [400, 900])
    >>> async def asked(path: str) -> list:
    ...     sent = []
    ...     async def send(message):
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
        if (called := scope.get(CALLED)) is not None:
            called.append(number)
        if self._origin is not None and not self.origin_answers_at_once:
            await self._origin(str(number))
        await send({"type": "http.response.start", "status": 200, "headers": self._heads[number]})
        await send({"type": "http.response.body", "body": self._bodies[number]})


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
