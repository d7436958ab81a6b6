"""Applications called as a server would call them, and what a middleware adds to a request.

What a middleware adds is the cost of a request with it less that of the bare application in the same round.
Only these differences are compared: the application and the way it is called cost the same in all arms.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness import PROCESSOR, Estimate, Readings, Target, level, ratio, shown, table, times, verdict
from perfkit.asgi.messages import App, Message, Scope
from perfkit.errors import MeasurementError

__all__ = ["Answer", "added", "added_table", "ask", "decoded", "requests", "scope_of"]

FLOOR_US = 0.05
"""What is taken for a difference that is not above the clock's grain."""


def scope_of(accept_encoding: str, path: str = "/", query: bytes = b"", **fields: str) -> Scope:
    """Return a request as uvicorn gives it for a browser's."""
    more = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 40000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [
            (b"host", b"127.0.0.1:8000"),
            (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.0.0"),
            (b"accept", b"application/json"),
            *([(b"accept-encoding", accept_encoding.encode())] if accept_encoding else []),
            *more,
        ],
        "state": {},
    }


@dataclass
class Answer:
    """What an application sent."""

    status: int = 0
    fields: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    messages: int = 0

    async def __call__(self, message: Message) -> None:
        """Take a message."""
        self.messages += 1
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.fields = {bytes(name).lower(): bytes(value) for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")


async def nothing() -> Message:
    """Stand for a request without a body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def ask(app: App, scope: Scope) -> Answer:
    """Call an application once and return what it sent."""
    answer = Answer()
    await app({**scope, "state": {}}, nothing, answer)
    return answer


def decoded(answer: Answer) -> bytes:
    """Return a body in no coding."""
    coding = answer.fields.get(b"content-encoding", b"identity").decode()
    if coding == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(answer.body)
    if coding == "br":
        import brotli

        found: bytes = brotli.decompress(answer.body)
        return found
    if coding == "gzip":
        return gzip.decompress(answer.body)
    return zlib.decompress(answer.body) if coding == "deflate" else answer.body


def requests(app: App, scope: Scope) -> Callable[[int], Awaitable[int]]:
    """Return work that asks an application again and again."""

    async def swallow(_message: Message) -> None:
        return

    async def work(operations: int) -> int:
        for _ in range(operations):
            await app({**scope, "state": {}}, nothing, swallow)
        return operations

    return work


async def check(app: App, scope: Scope, body: bytes) -> Answer:
    """Ask once and make sure that the body arrives whole."""
    answer = await ask(app, scope)
    if answer.status != 200 or decoded(answer) != body:
        raise MeasurementError(
            f"An application answered {answer.status} with another body than it was given, so what it costs "
            "says nothing."
        )
    return answer


def added(readings: Readings, name: str, bare: str) -> NDArray[np.float64]:
    """Return what an arm costs more than the bare application, in processor time, round by round."""
    return np.maximum(readings[name][PROCESSOR] - readings[bare][PROCESSOR], FLOOR_US)


def added_table(
    readings: Readings,
    targets: Mapping[str, Target],
    *,
    bare: str,
    absent: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    note: str = "",
) -> str:
    """Return the table of what each arm adds to the bare application.

    Args:
        readings: Of the rounds; the first arm but the bare one is perfkit's, and held against the others.
        targets: By arm, what perfkit's added cost over the arm's shall be.
        bare: The arm of the bare application.
        absent: By arm, why it could not be measured.
        notes: By arm, what else is to be said; `note` heads that column.
    """
    ours = next(name for name in readings if name != bare)
    rows = []
    for name, theirs in readings.items():
        more = [] if notes is None else [notes.get(name, "")]
        total = shown(Estimate(level(theirs[PROCESSOR]).point))
        if name == bare:
            rows.append([name, total, "", "", "", "", *more])
            continue
        cost = added(readings, name, bare)
        found = None if name == ours else ratio(added(readings, ours, bare), cost)
        target = targets.get(name)
        rows.append(
            [
                name,
                total,
                shown(level(cost)),
                "" if found is None else times(found),
                str(target or ""),
                "" if found is None else verdict(found, target),
                *more,
            ]
        )
    for name, why in (absent or {}).items():
        rows.append(
            [f"{name}: {why}", "", "", "", str(targets.get(name, "")), "", *([] if notes is None else [""])]
        )
    header = ["", "processor µs a request", "added µs", "perfkit's added ÷ this", "target", "met"]
    return table([*header, *([] if notes is None else [note])], rows)
