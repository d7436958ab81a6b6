"""Server-sent events: whether each arrives before the next is made, in how many bytes and at what cost."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable
from typing import Any

from asgi_questions.apps import BARE, CODINGS, OURS, Wrap, peers, perfkit
from asgi_questions.direct import nothing, requests, scope_of
from harness import PROCESSOR, Arm, Estimate, Timed, interleaved, level, shown, table
from perfkit.asgi.messages import App, Message, Receive, Scope, Send

EVENTS = 500
RATIO = 10


async def delivered(rounds: int) -> str:
    """Stream 500 events of a language model's answer, one message each."""
    events = made(EVENTS)
    plain = sum(map(len, events))
    scope = scope_of(CODINGS)
    absent: dict[str, str] = {}
    wraps: dict[str, Wrap] = {BARE: lambda app: app, **perfkit(), **peers(absent)}
    arms: dict[str, Arm] = {}
    rows = {}
    for name, wrap in wraps.items():
        seen = Seen(events)
        await wrap(seen.app)({**scope, "state": {}}, nothing, seen.send)
        arms[name] = Timed(requests(wrap(streamed(events)), scope))
        rows[name] = seen
    readings = await interleaved(arms, rounds)
    lines = []
    for name, seen in rows.items():
        ratio = plain / seen.sent_bytes
        over = level((readings[name][PROCESSOR] - readings[BARE][PROCESSOR]) / EVENTS)
        ours = name == OURS
        met = seen.head_came_first and seen.late == 0 and ratio >= RATIO
        lines.append(
            [
                name,
                seen.coding,
                "yes" if seen.head_came_first else "no",
                str(seen.late),
                f"{ratio:.1f}×",
                "" if name == BARE else shown(Estimate(over.point, over.low, over.high)),
                f"0 events, ≥ {RATIO}×" if ours else "",
                ("yes" if met else "**no**") if ours else "",
            ]
        )
    lines += [[f"{name}: {why}", *[""] * 7] for name, why in absent.items()]
    header = ["", "coding", "head before the first event", "events late at most", "ratio"]
    return table([*header, "added processor µs an event", "target", "met"], lines)


def made(events: int) -> list[bytes]:
    """Return the events of a chat completion, as OpenAI's API has them, from a seed."""
    rng = random.Random(1)  # noqa: S311  # text, not a secret
    words = ("the", "a", "model", "answer", "token", "stream", "cache", "of", "and", "to", "with", "for")
    return [
        b"data: "
        + json.dumps(
            {
                "id": "chatcmpl-9f8e7d6c5b4a39281706",
                "object": "chat.completion.chunk",
                "created": 1_764_000_000,
                "model": "text-large",
                "choices": [
                    {"index": 0, "delta": {"content": f" {rng.choice(words)}"}, "finish_reason": None}
                ],
            },
            separators=(",", ":"),
        ).encode()
        + b"\n\n"
        for _ in range(events)
    ]


def streamed(events: list[bytes]) -> App:
    """Return an application that streams events."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(_start())
        for event in events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


def _start() -> Message:
    return {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"text/event-stream; charset=utf-8")],
    }


class Seen:
    """A client that decodes what it gets at once, and an application that looks after each event."""

    def __init__(self, events: list[bytes]) -> None:
        self._events = events
        self._read: Callable[[bytes], bytes] = bytes
        self._arrived = 0
        self.coding = ""
        self.head_came_first = False
        self.late = 0
        """How many events had been sent and not arrived, at most."""
        self.sent_bytes = 0

    async def app(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Stream the events, and look after each what the client can read."""
        await send(_start())
        self.head_came_first = bool(self.coding)
        sent = 0
        for number, event in enumerate(self._events, 1):
            await send({"type": "http.response.body", "body": event, "more_body": True})
            sent += len(event)
            behind = 0
            while sum(map(len, self._events[: number - behind])) > self._arrived:
                behind += 1
            self.late = max(self.late, behind)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def send(self, message: Message) -> None:
        """Take a message as a browser does."""
        if message["type"] == "http.response.start":
            fields = {bytes(name).lower(): value for name, value in message["headers"]}
            self.coding = fields.get(b"content-encoding", b"identity").decode()
            self._read = _reader(self.coding)
        elif body := message.get("body", b""):
            self.sent_bytes += len(body)
            self._arrived += len(self._read(body))


def _reader(coding: str) -> Callable[[bytes], bytes]:
    decoder: Any
    if coding == "zstd":
        import zstandard

        decoder = zstandard.ZstdDecompressor().decompressobj()
        return decoder.decompress  # type: ignore[no-any-return]  # untyped there
    if coding == "br":
        import brotli

        return brotli.Decompressor().process  # type: ignore[no-any-return]  # untyped there
    if coding == "gzip":
        return zlib.decompressobj(wbits=31).decompress
    return bytes
