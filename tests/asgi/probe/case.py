"""A check of the probe: what is asked, what the application sends, and what must come of it.

The probe looks at a middleware from outside, as messages in and messages out, so that it judges any ASGI
middleware by the same words. Its rows come from RFC 9110 and the ASGI specification, and from what went wrong
in middleware that is in use. Every check also holds that the client reads the bytes the application sent, and
that a server may be sent the messages; a check about broken applications says `broken`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from perfkit.asgi.messages import App
from tests.asgi.imitated import Answer, Field, Reader, Scripted, Step, hear, legal, scope

__all__ = ["BIG", "NOISE", "SMALL", "Check", "Expectation", "Factory", "Seen", "verify"]

Factory = Callable[[App], App]

BIG = b"".join(
    b'{"id": %d, "name": "member %d", "email": "m%d@example.org"},\n' % (n, n, n) for n in range(200)
)
"""Twelve thousand bytes that compress well."""

SMALL = b"Nobody compresses so few bytes."


def _noise(count: int) -> bytes:
    """Return bytes no codec makes smaller: the low bytes of a congruential sequence (Knuth, MMIX)."""
    state, found = 1, bytearray()
    for _ in range(count):
        state = (state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        found.append(state >> 56)
    return bytes(found)


NOISE = _noise(4_000)


@dataclass
class Seen:
    """What a check has to judge."""

    check: Check
    app: Scripted
    answer: Answer = field(default_factory=Answer)
    marks: list[int] = field(default_factory=list)
    """How many messages had reached the client when each of the application's had been sent."""

    def __post_init__(self) -> None:
        self.script = list(self.check.sends())
        """What the application was to send, in fresh messages: middleware may have changed those it got."""

    @property
    def sent(self) -> bytes:
        """All the body the application sent."""
        return b"".join(self.sent_by(len(self.script)))

    def sent_by(self, step: int) -> list[bytes]:
        """Return the body of the application's first steps."""
        return [bytes(step.get("body", b"")) for step in self.script[:step] if isinstance(step, dict)]

    def readable(self, step: int) -> bytes:
        """Return what the client can read when the application has sent its message number `step`."""
        messages = self.answer.messages[: self.marks[step - 1]]
        if not messages:
            return b""
        reader = Reader(Answer(messages).coding)
        return b"".join(reader.feed(bytes(message.get("body", b""))) for message in messages)


Expectation = Callable[[Seen], Any]


@dataclass(frozen=True)
class Check:
    """A row of the probe.

    `accept` is Accept-Encoding, or its lines, or None for a request without it; `reads` is what the client is
    to read when that is not what the application sent; a `strict` server raises at messages out of order.
    """

    sentence: str
    accept: str | Sequence[str] | None
    sends: Callable[[], Sequence[Step]]
    expects: tuple[Expectation, ...]
    fields: Sequence[Field] = ()
    method: str = "GET"
    scope: dict[str, Any] = field(default_factory=dict)
    reads: bytes | None = None
    broken: bool = False
    strict: bool = False


async def verify(factory: Factory, check: Check) -> None:
    """Put a middleware to a check; raises AssertionError, or what the middleware raised."""
    seen = Seen(check, Scripted(check.sends()))
    seen.app.after_each = lambda: seen.marks.append(len(seen.answer.messages))
    lines = [check.accept] if isinstance(check.accept, str) else check.accept or ()
    accepts = [("accept-encoding", line) for line in lines]
    request = scope(check.method, "/", [*accepts, *check.fields], **check.scope)
    await hear(factory(seen.app), request, into=seen.answer, strict=check.strict)
    if not check.broken:
        if seen.answer.error is not None:
            raise seen.answer.error
        legal(seen.answer, method=check.method)
        if check.method != "HEAD":
            reads = seen.sent if check.reads is None else check.reads
            assert seen.answer.body == reads, "the client reads other bytes than the application sent"
    for expectation in check.expects:
        expectation(seen)
