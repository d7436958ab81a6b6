"""What a check may expect of an answer, one sentence each."""

from __future__ import annotations

from collections.abc import Callable

from tests.asgi.imitated import Answer
from tests.asgi.probe.case import Seen

__all__ = [
    "bodiless",
    "coded",
    "has",
    "lacks",
    "lines",
    "members",
    "no_length",
    "plain",
    "prompt",
    "smaller",
    "untouched",
    "varies",
    "varies_not",
]


def coded(*codings: str) -> Callable[[Seen], None]:
    """The body travels in one of these codings, and is smaller for it."""

    def expectation(seen: Seen) -> None:
        assert seen.answer.get("content-encoding") in codings
        assert len(seen.answer.raw) < len(seen.sent)

    return expectation


def plain(seen: Seen) -> None:
    """The body travels as the application sent it."""
    assert seen.answer.get("content-encoding") is None
    assert seen.answer.raw == seen.sent


def varies(seen: Seen) -> None:
    """Caches are told, once, that the answer depends on what the client accepts."""
    assert seen.answer.tokens("vary").count("accept-encoding") == 1, seen.answer.get("vary")


def varies_not(seen: Seen) -> None:
    """Caches are told nothing that would make them keep one body twice."""
    assert "accept-encoding" not in seen.answer.tokens("vary")


def has(name: str, value: str) -> Callable[[Seen], None]:
    """A field has this value, in one line."""

    def expectation(seen: Seen) -> None:
        assert seen.answer.all(name) == [value]

    return expectation


def lines(name: str, *values: str) -> Callable[[Seen], None]:
    """A field has these lines, in this order."""

    def expectation(seen: Seen) -> None:
        assert seen.answer.all(name) == list(values)

    return expectation


def lacks(*names: str) -> Callable[[Seen], None]:
    """The fields are not there."""

    def expectation(seen: Seen) -> None:
        assert [name for name in names if seen.answer.all(name)] == []

    return expectation


no_length = lacks("content-length")


def smaller(seen: Seen) -> None:
    """Content-Length is that of what travels."""
    assert seen.answer.all("content-length") == [str(len(seen.answer.raw))]


def members(name: str, *values: str) -> Callable[[Seen], None]:
    """A field that is a list has these members, whatever else it has."""

    def expectation(seen: Seen) -> None:
        assert set(values) <= set(seen.answer.tokens(name))

    return expectation


def bodiless(seen: Seen) -> None:
    """Nothing is in the body, no coding is claimed, and a length is the application's."""
    assert seen.answer.raw == b""
    assert seen.answer.get("content-encoding") is None
    sent = dict(Answer(seen.script).fields)
    assert seen.answer.get("content-length") in (None, "0", sent.get(b"content-length", b"0").decode())


def untouched(seen: Seen) -> None:
    """The client got the very messages the application sent, but for fields that are new."""
    sent = [step for step in seen.script if isinstance(step, dict)]
    assert seen.answer.types == [step["type"] for step in sent]
    assert seen.answer.chunks == Answer(sent).chunks
    assert [line for line in Answer(sent).fields if line not in seen.answer.fields] == []
    assert seen.answer.get("content-encoding") == Answer(sent).get("content-encoding")


def prompt(seen: Seen) -> None:
    """When the application has sent a message, the client can read it: nothing waits for the next."""
    for step in range(1, len(seen.marks) + 1):
        assert seen.readable(step) == b"".join(seen.sent_by(step)), f"after message {step}"
